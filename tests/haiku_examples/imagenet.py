"""ImageNet's recipe: a residual network, trained with momentum, smoothed labels and, if asked to, in mixed precision."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jmp
import numpy as np
import optax

NUM_CLASSES = 10
IMAGE_SIZE = 32
BATCH_SIZE = 8
WEIGHT_DECAY = 1e-4
LABEL_SMOOTHING = 0.1
PEAK_LEARNING_RATE = 0.01


class Batch(NamedTuple):
    image: np.ndarray  # [B, H, W, 3]
    label: np.ndarray  # [B]


class TrainState(NamedTuple):
    params: Any
    state: Any  # of batch normalization
    opt_state: Any
    loss_scale: Any


def batches(seed: int) -> Iterator[Batch]:
    """Yields noisy copies of one picture for each class."""
    random = np.random.default_rng(seed)
    pictures = random.standard_normal([NUM_CLASSES, IMAGE_SIZE, IMAGE_SIZE, 3])
    while True:
        label = random.integers(0, NUM_CLASSES, BATCH_SIZE)
        noise = random.standard_normal([BATCH_SIZE, IMAGE_SIZE, IMAGE_SIZE, 3])
        yield Batch((pictures[label] + 0.3 * noise).astype(np.float32), label)


def small_resnet(L: Any) -> Any:
    """ResNet50's groups and bottlenecks with one block each and few channels."""
    return L.nets.ResNet(
        blocks_per_group=(1, 1, 1, 1),
        num_classes=NUM_CLASSES,
        bn_config={"decay_rate": 0.9},
        resnet_v2=True,
        channels_per_group=(16, 32, 64, 128),
    )


def resnet50(L: Any) -> Any:
    return L.nets.ResNet50(NUM_CLASSES, bn_config={"decay_rate": 0.9}, resnet_v2=True)


@contextlib.contextmanager
def policies(L: Any, network: type, half: str) -> Iterator[None]:
    """Computes the network in a half precision, apart from normalization; both keep their parameters in float32."""
    of_network = jmp.get_policy(f"params=float32,compute={half},output=float32")
    of_normalization = jmp.get_policy(f"params=float32,compute=float32,output={half}")
    L.mixed_precision.set_policy(network, of_network)
    L.mixed_precision.set_policy(L.BatchNorm, of_normalization)
    try:
        yield
    finally:
        L.mixed_precision.clear_policy(network)
        L.mixed_precision.clear_policy(L.BatchNorm)


def train(
    L: Any,
    steps: int = 20,
    make_network: Callable[[Any], Any] = small_resnet,
    half: str | None = None,
) -> tuple[list[float], Any]:
    """Returns the loss of each step, and all that is left at the end.

    Args:
      L: dm-haiku or purestate.
      steps: how many.
      make_network: `make_network(L)`, which returns the module.
      half: "float16" or "bfloat16", to compute in that.
    """
    if half is not None:
        network = {small_resnet: L.nets.ResNet, resnet50: L.nets.ResNet50}[make_network]
        with policies(L, network, half):
            return _train(
                L, steps, make_network, jmp.DynamicLossScale(jnp.float32(2**15), period=4)
            )
    return _train(L, steps, make_network, jmp.NoOpLossScale())


def _train(
    L: Any, steps: int, make_network: Callable[[Any], Any], loss_scale: Any
) -> tuple[list[float], Any]:
    model = L.without_apply_rng(
        L.transform_with_state(lambda image, train: make_network(L)(image, is_training=train))
    )
    learning_rate = optax.warmup_cosine_decay_schedule(
        0.0, PEAK_LEARNING_RATE, warmup_steps=5, decay_steps=max(steps, 6)
    )
    optimizer = optax.sgd(learning_rate, momentum=0.9, nesterov=True)

    def loss_of(params: Any, state: Any, loss_scale: Any, batch: Batch) -> Any:
        logits, state = model.apply(params, state, batch.image, True)
        labels = optax.smooth_labels(jax.nn.one_hot(batch.label, NUM_CLASSES), LABEL_SMOOTHING)
        loss = optax.softmax_cross_entropy(logits, labels).mean()
        decayed = L.data_structures.filter(
            lambda module, name, value: "batchnorm" not in module, params
        )
        loss += WEIGHT_DECAY * 0.5 * sum(jnp.sum(w**2) for w in jax.tree.leaves(decayed))
        return loss_scale.scale(loss), (loss, state)

    @jax.jit
    def update(old: TrainState, batch: Batch) -> tuple[jax.Array, TrainState]:
        gradients, (loss, state) = jax.grad(loss_of, has_aux=True)(
            old.params, old.state, old.loss_scale, batch
        )
        gradients = old.loss_scale.unscale(gradients)
        changes, opt_state = optimizer.update(gradients, old.opt_state)
        new = TrainState(optax.apply_updates(old.params, changes), state, opt_state, old.loss_scale)
        if isinstance(old.loss_scale, jmp.NoOpLossScale):
            return loss, new
        # Where gradients overflow, the step is left out and the scale made smaller.
        is_finite = jmp.all_finite(gradients)
        kept = jmp.select_tree(is_finite, new._replace(loss_scale=()), old._replace(loss_scale=()))
        return loss, kept._replace(loss_scale=old.loss_scale.adjust(is_finite))

    data = batches(seed=0)
    params, state = model.init(jax.random.key(0), next(data).image, True)
    now = TrainState(params, state, optimizer.init(params), loss_scale)

    found: list[float] = []
    for _ in range(steps):
        loss, now = update(now, next(data))
        found.append(float(loss))

    logits, _ = jax.jit(model.apply, static_argnums=3)(
        now.params, now.state, next(data).image, False
    )
    return found, {"train_state": now, "logits": logits}


def losses(L: Any, steps: int = 20) -> list[float]:
    """Returns the loss of each training step with `L`, dm-haiku or purestate."""
    return train(L, steps)[0]
