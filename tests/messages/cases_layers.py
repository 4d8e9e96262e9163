"""Messages of the layers: one table for each kind."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps
from tests.messages.helpers import X, init, key, run, zeros

IMAGES = zeros(2, 8, 8, 3)
SEQUENCE = zeros(5, 2, 3)


def call(layer: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[[], Any]:
    """Makes a layer, and calls it; in `init`."""
    return lambda: init(lambda: layer()(*args, **kwargs))


def make(layer: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[[], Any]:
    """Makes a layer."""
    return lambda: init(lambda: layer(*args, **kwargs))


# --- linear layers, embeddings, simple ones ---


def twice_adapted() -> Any:
    with ps.lora(2), ps.lora(4):
        ps.Linear(2)(X)


def one_of_two(layer: Any, *inputs: Any) -> None:
    """Chooses adapters for three examples."""
    with ps.lora(2, adapter=["french", "german"], which=zeros(3, dtype=int)):
        layer(*inputs)


def lora_params(**others: Any) -> Any:
    """The parameters of a Linear layer from 3 to 4 features, with `lora` of rank 2."""
    both = {"lora_a": zeros(3, 2), "lora_b": zeros(2, 4)}
    return {"linear": {"w": zeros(3, 4), **both, **others}}


SIMPLE: dict[str, Callable[[], Any]] = {
    "Linear of a scalar": call(lambda: ps.Linear(2), zeros()),
    "Bias over the batch": call(lambda: ps.Bias(bias_dims=[0]), X),
    "Bias over an axis that is not there": call(lambda: ps.Bias(bias_dims=[2]), X),
    "Bias of one axis": call(lambda: ps.Bias(), zeros(3)),
    "Bias declared for another shape": call(lambda: ps.Bias([4]), X),
    "DenseGeneral over an axis that is not there": call(lambda: ps.DenseGeneral(4, axis=3), X),
    "Einsum without a weight": make(ps.Einsum, "bd->bd", [3, 4]),
    "Einsum with a shape that does not fit": make(ps.Einsum, "bd,dk->bk", [3]),
    "Einsum of another input": call(lambda: ps.Einsum("bd,dk->bk", [5, 4], w_init=jnp.zeros), X),
    "Einsum with a bias that does not fit": call(
        lambda: ps.Einsum("bd,dk->bk", [3, 4], [5], w_init=jnp.zeros), X
    ),
    "Embed without sizes": make(ps.Embed),
    "Embed with two sizes": lambda: init(lambda: ps.Embed(4, 3, embedding_matrix=zeros(5, 3))),
    "Embed of floats": call(lambda: ps.Embed(4, 3, w_init=jnp.zeros), X),
    "Embed, no such style": call(
        lambda: ps.Embed(4, 3, w_init=jnp.zeros), zeros(2, dtype=int), lookup_style="hash"
    ),
    "Embed, attend": lambda: init(lambda: ps.Embed(4, 3, w_init=jnp.zeros).attend(zeros(2, 5))),
    "Sequential of two arguments": make(ps.Sequential, 3),
    "Parallel of two arguments": make(ps.Parallel, jnp.tanh, jnp.sin),
    "Parallel, combine": make(ps.Parallel, [jnp.tanh], "sum"),
    "Residual of a list": make(ps.Residual, [jnp.tanh, jnp.sin]),
    "Residual of a number": make(ps.Residual, 3),
    "Residual of another shape": call(lambda: ps.Residual(lambda x: x[:, :2]), X),
    "Residual, a layer that returns two": call(lambda: ps.Residual(lambda x: (x, x)), X),
    "PReLU of integers": call(lambda: ps.PReLU(), zeros(2, dtype=int)),
    "Scaler, an initializer for nothing": make(ps.Scaler, offset_init=jnp.ones),
    "MixtureOfExperts, top_k": make(ps.MixtureOfExperts, 4, 8, top_k=5),
    "MixtureOfExperts, capacity_factor": make(ps.MixtureOfExperts, 4, 8, capacity_factor=0),
    "MixtureOfExperts of one token": call(lambda: ps.MixtureOfExperts(4, 8), zeros(3)),
    "MixtureOfExperts of ids": call(lambda: ps.MixtureOfExperts(4, 8), zeros(2, 3, dtype=int)),
    "MixtureOfExperts, mask": call(lambda: ps.MixtureOfExperts(4, 8), X, zeros(3)),
    "to_module called with an input": lambda: init(lambda: ps.to_module(jnp.tanh)(X)),
    "Reshape of all axes": make(ps.Reshape, [2, 3], preserve_dims=0),
    "Reshape with several sizes to find": make(ps.Reshape, [-1, -1]),
    "lora, rank": lambda: init(lambda: ps.lora(0).__enter__()),
    "lora, twice": lambda: init(twice_adapted),
    "lora, rank_stabilized without alpha": lambda: ps.lora(2, rank_stabilized=True),
    "lora, the name of an adapter": lambda: ps.lora(2, adapter="my lora"),
    "lora, one name twice": lambda: ps.lora(2, adapter=["french", "french"], which=0),
    "lora, adapters and no choice": lambda: ps.lora(2, adapter=["french", "german"]),
    "lora, a choice that is no index": lambda: ps.lora(2, adapter=["french"], which=X),
    "lora, another number of examples": lambda: init(lambda: one_of_two(ps.Linear(4), X)),
    "lora, examples of a weight in parts": lambda: init(
        lambda: one_of_two(ps.GRU(3), X, zeros(2, 3))
    ),
    "of_lora of no name": lambda: ps.surgery.of_lora("my lora"),
    "merge_lora, another adapter": lambda: ps.merge_lora(lora_params(), adapter="french"),
    "merge_lora, another shape": lambda: ps.merge_lora(lora_params(lora_b=zeros(2, 5))),
    "merge_lora, halves": lambda: ps.merge_lora({"linear": {"lora_a": X, "lora_b": X}}),
    "merge_lora, normalized factors": lambda: ps.merge_lora(lora_params(lora_a_g=zeros(2))),
    "merge_lora, normalized weights": lambda: ps.merge_lora(lora_params(w_g=zeros(4))),
    "merge_lora, another length": lambda: ps.merge_lora(
        lora_params(w_g=zeros(5)), weight_norm_eps=1e-12
    ),
    "Deferred before it is made": lambda: init(
        lambda: ps.Deferred(lambda: ps.Linear(2)).output_size
    ),
    "BatchApply without axes": lambda: ps.BatchApply(jnp.tanh)(zeros(3)),
    "BatchApply in two orders": lambda: ps.BatchApply(jnp.add)(zeros(2, 3, 4), zeros(3, 2, 4)),
    "expand_apply, axis": lambda: ps.expand_apply(jnp.tanh, axis=1),
    "dropout, rate": lambda: ps.dropout(key(), 1.0, X),
    "dropout, axis": lambda: ps.dropout(key(), 0.5, X, broadcast_dims=[2]),
    "Dropout, rate": make(ps.Dropout, -0.5),
    "Dropout, is_training is traced": lambda: jax.jit(
        ps.transform(lambda t: ps.Dropout(0.5)(X, t)).apply
    )({}, key(), True),
    "initializer of integers": lambda: init(lambda: ps.Linear(2)(zeros(2, 3, dtype=int))),
    "VarianceScaling, scale": lambda: ps.initializers.VarianceScaling(-1.0),
    "VarianceScaling, mode": lambda: ps.initializers.VarianceScaling(1.0, "fan"),
    "VarianceScaling, distribution": lambda: ps.initializers.VarianceScaling(
        1.0, "fan_in", "laplace"
    ),
    "Orthogonal of one axis": lambda: ps.initializers.Orthogonal()([3], jnp.float32),
    "Identity of one axis": lambda: ps.initializers.Identity()([3], jnp.float32),
}

# --- convolutions and pooling ---

CONVOLUTIONS: dict[str, Callable[[], Any]] = {
    "ConvND of no axes": make(ps.ConvND, 0, 4, 3),
    "Conv2D of too few axes": call(lambda: ps.Conv2D(4, 3), X),
    "Conv2D, padding": make(ps.Conv2D, 4, 3, padding="FULL"),
    "Conv2D, mask": call(lambda: ps.Conv2D(4, 3, mask=zeros(3, 3)), IMAGES),
    "Conv2D, data format": make(ps.Conv2D, 4, 3, data_format="HW"),
    "Conv2D, stride": make(ps.Conv2D, 4, 3, stride=(1, 0)),
    "Conv2D, kernel of another rank": make(ps.Conv2D, 4, (3, 3, 3)),
    "Conv2D, groups of input channels": call(
        lambda: ps.Conv2D(4, 3, feature_group_count=2), IMAGES
    ),
    "Conv2D, groups of output channels": call(
        lambda: ps.Conv2D(4, 3, feature_group_count=3), IMAGES
    ),
    "Conv2D, no groups": make(ps.Conv2D, 4, 3, feature_group_count=0),
    "ConvLocalND of no axes": make(ps.ConvLocalND, 0, 4, 3),
    "ConvLocal2D without an output": call(lambda: ps.ConvLocal2D(4, 9, padding="VALID"), IMAGES),
    "ConvNDTranspose of no axes": make(ps.ConvNDTranspose, 0, 4, 3),
    "Conv2DTranspose, padding": make(ps.Conv2DTranspose, 4, 3, padding="FULL"),
    "Conv2DTranspose, a function of ps.pad": make(ps.Conv2DTranspose, 4, 3, padding=ps.pad.causal),
    "Conv2DTranspose, pairs and an output shape": make(
        ps.Conv2DTranspose, 4, 3, padding=(1, 1), output_shape=8
    ),
    "Conv2DTranspose, another output shape": call(
        lambda: ps.Conv2DTranspose(4, 3, output_shape=5, stride=2, w_init=jnp.zeros), IMAGES
    ),
    "pad, a number": lambda: ps.pad.create_from_tuple(1, 2),
    "pad, nothing": lambda: ps.pad.create_from_tuple((), 2),
    "pad, pairs of another rank": lambda: ps.pad.create_from_tuple(((0, 1),) * 3, 2),
    "pad, a set": lambda: ps.pad.create_from_tuple({1}, 2),
    "pooling, a window of words": lambda: ps.max_pool(IMAGES, ("2", "2", 1), (2, 2, 1), "SAME"),
    "one_hot of no classes": lambda: ps.one_hot(zeros(2, dtype=int), None),
    "pooling, padding": lambda: ps.max_pool(IMAGES, 2, 2, "FULL"),
    "pooling, one number": lambda: ps.max_pool(IMAGES, 2, 2, "SAME"),
    "pooling, too many axes": lambda: ps.avg_pool(X, (2, 2, 1), (2, 2, 1), "SAME"),
    "pooling, channel axis": lambda: ps.avg_pool(X, 2, 2, "SAME", channel_axis=3),
    "adaptive pooling, one size": lambda: ps.adaptive_avg_pool(IMAGES, 0),
    "adaptive pooling, channel axis": lambda: ps.adaptive_avg_pool(IMAGES, (2, 2), channel_axis=4),
    "adaptive pooling, too few axes": lambda: ps.adaptive_avg_pool(X, (2, 2)),
}

# --- norms ---


def unsynced(action: str) -> Callable[[], Any]:
    def do() -> Any:
        P = jax.sharding.PartitionSpec
        mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
        f = ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9)(x, True))
        params, state = f.init(None, X)
        step = jax.shard_map(
            lambda x: f.apply(params, state, None, x)[0],
            mesh=mesh,
            in_specs=P("data"),
            out_specs=P("data"),
            check_vma=False,
        )
        with ps.config.context(unsynced_state=action):
            return jax.eval_shape(step, X)

    return do


def group_norm_twice() -> Any:
    norm = ps.GroupNorm(1)
    norm(X)
    norm(IMAGES)


def ema(*args: Any, **kwargs: Any) -> Any:
    return ps.ExponentialMovingAverage(*args, **kwargs)


NORMS: dict[str, Callable[[], Any]] = {
    "BatchNorm, scale_init without a scale": make(
        ps.BatchNorm, False, True, 0.9, scale_init=jnp.ones
    ),
    "BatchNorm, offset_init without an offset": make(
        ps.BatchNorm, True, False, 0.9, offset_init=jnp.ones
    ),
    "BatchNorm, groups without an axis": make(
        ps.BatchNorm, True, True, 0.9, cross_replica_axis_index_groups=[[0]]
    ),
    "BatchNorm, axis is one int": make(ps.BatchNorm, True, True, 0.9, axis=0),
    "BatchNorm, two scales": call(lambda: ps.BatchNorm(True, True, 0.9), X, True, scale=X),
    "BatchNorm, two offsets": call(lambda: ps.BatchNorm(True, True, 0.9), X, True, offset=X),
    "BatchNorm before it ran": lambda: run(lambda: ps.BatchNorm(True, True, 0.9)(X, False)),
    "BatchNorm, no such axis": lambda: run(
        lambda: ps.BatchNorm(True, True, 0.9, cross_replica_axis="data")(X, True)
    ),
    "BatchNorm in jax.shard_map": unsynced("error"),
    "BatchNorm in jax.shard_map, as a warning": unsynced("warn"),
    "LayerNorm, axis": make(ps.LayerNorm, "last", True, True),
    "LayerNorm, axis that is not there": call(lambda: ps.LayerNorm(2, True, True), X),
    "LayerNorm, scale_init without a scale": make(
        ps.LayerNorm, -1, False, True, scale_init=jnp.ones
    ),
    "LayerNorm, two offsets": call(lambda: ps.LayerNorm(-1, True, True), X, offset=X),
    "RMSNorm, scale_init without a scale": make(
        ps.RMSNorm, -1, scale_init=jnp.ones, create_scale=False
    ),
    "GroupNorm, axis from the back": call(lambda: ps.GroupNorm(1, axis=(-2,)), IMAGES),
    "GroupNorm, other axes": lambda: init(group_norm_twice),
    "GroupNorm, groups": call(lambda: ps.GroupNorm(2), IMAGES),
    "GroupNorm of a vector": call(lambda: ps.GroupNorm(1, data_format="channels_first"), zeros(3)),
    "SpectralNorm, no steps": make(ps.SpectralNorm, n_steps=0),
    "SpectralNorm, no matrix": call(lambda: ps.SpectralNorm(), zeros(3)),
    "ExponentialMovingAverage, warmup": make(ema, 0.9, warmup_length=-1),
    "ExponentialMovingAverage, warmup and debias": make(ema, 0.9, warmup_length=2),
    "ExponentialMovingAverage, initialize": lambda: init(lambda: ema(0.9).initialize(X)),
    "ExponentialMovingAverage, decay": lambda: init(lambda: ema(1.5)(X)),
    "ExponentialMovingAverage, decay of one": lambda: init(lambda: ema(1.0)(X)),
}

# --- attention ---


def mha(**options: Any) -> Any:
    return ps.MultiHeadAttention(2, 4, **{"w_init": jnp.zeros, **options})


def gqa(*args: Any, **options: Any) -> Any:
    return ps.GroupedQueryAttention(*(args or (2, 4)), **{"w_init": jnp.zeros, **options})


def another_batch() -> Any:
    f = ps.transform_with_state(lambda x: gqa(cache_size=4)(x))
    params, state = jax.eval_shape(f.init, None, zeros(2, 1, 3))
    return jax.eval_shape(f.apply, params, state, None, zeros(3, 1, 3))


Q = zeros(2, 5, 3)

ATTENTION: dict[str, Callable[[], Any]] = {
    "MultiHeadAttention, w_init_scale": make(ps.MultiHeadAttention, 2, 4, 1.0),
    "MultiHeadAttention without w_init": make(ps.MultiHeadAttention, 2, 4),
    "MultiHeadAttention, w_init and a scale": make(
        ps.MultiHeadAttention, 2, 4, 1.0, w_init=jnp.zeros
    ),
    "MultiHeadAttention of a vector": call(mha, zeros(3), zeros(3), zeros(3)),
    "MultiHeadAttention, lengths": call(mha, Q, Q, zeros(2, 4, 3)),
    "MultiHeadAttention, batches": call(mha, Q, zeros(3, 5, 3), zeros(3, 5, 3)),
    "MultiHeadAttention, mask": call(mha, Q, Q, Q, mask=zeros(5, 5)),
    "GroupedQueryAttention, heads": make(gqa, 4, 4, 3),
    "GroupedQueryAttention, rotary": make(gqa, 2, 3, rotary_base=1e4),
    "GroupedQueryAttention, a base and frequencies": make(
        gqa, rotary_base=1e4, rotary_frequencies=np.ones(2)
    ),
    "GroupedQueryAttention, cache size": make(gqa, cache_size=0),
    "GroupedQueryAttention, implementation": make(gqa, implementation="flash"),
    "GroupedQueryAttention of a vector": call(gqa, zeros(3)),
    "GroupedQueryAttention, positions": call(gqa, Q, positions=np.arange(5)),
    "GroupedQueryAttention, mask": call(gqa, Q, mask=zeros(5, 5)),
    "GroupedQueryAttention, cache is full": call(lambda: gqa(cache_size=4), Q),
    "GroupedQueryAttention, another batch": another_batch,
    "MultiHeadAttention, logits_soft_cap": make(mha, logits_soft_cap=0),
    "MultiHeadAttention, dropout_rate": make(mha, dropout_rate=1.0),
    "MultiHeadAttention, qk_norm": make(mha, qk_norm="batch"),
    "MultiHeadAttention, implementation": make(mha, implementation=3),
    "MultiHeadAttention, bias": call(mha, Q, Q, Q, bias=zeros(5, 5)),
    "MultiHeadAttention, segment_ids": call(mha, Q, Q, Q, segment_ids=zeros(2, 4, dtype=int)),
    "GroupedQueryAttention, scale": make(gqa, scale="large"),
    "GroupedQueryAttention, window": make(gqa, window=0),
    "GroupedQueryAttention, cache and window": make(gqa, cache_size=2, window=3),
    "GroupedQueryAttention, ring and mask": call(
        lambda: gqa(cache_size=4, window=3), Q, mask=zeros(1, 1, 5, 4, dtype=bool)
    ),
    "GroupedQueryAttention, bias": call(gqa, Q, bias=zeros(5, 5)),
    "GroupedQueryAttention, keys_values": call(gqa, Q, keys_values=zeros(3, 5, 3)),
    "GroupedQueryAttention, keys_values and is_causal": call(gqa, Q, keys_values=Q, is_causal=True),
    "GroupedQueryAttention, cache of keys_values": call(
        lambda: gqa(cache_size=4), Q, keys_values=Q
    ),
    "rotary_frequencies, scaling": lambda: ps.rotary_frequencies(4, scaling="dynamic"),
    "rotary_frequencies, yarn without length": lambda: ps.rotary_frequencies(4, scaling="yarn"),
    "rotary_frequencies, ntk of one pair": lambda: ps.rotary_frequencies(2, scaling="ntk"),
    "yarn_scale": lambda: ps.yarn_scale(64, 0.5),
    "segment_mask of floats": lambda: ps.segment_mask(zeros(2, 4)),
    "dot_product_attention, implementation": lambda: ps.ops.dot_product_attention(
        Q[..., None], Q[..., None], Q[..., None], implementation="fast"
    ),
    "dot_product_attention, arguments": lambda: ps.ops.dot_product_attention(
        Q[..., None],
        Q[..., None],
        Q[..., None],
        implementation=lambda query, key, value, bias, mask: query,
    ),
    "dot_product_attention, shape": lambda: ps.ops.dot_product_attention(
        Q[..., None], Q[..., None], Q[..., None], implementation=lambda *args, **options: Q
    ),
    "attention_implementation": lambda: ps.ops.attention_implementation("fast"),
    "tokamax is not installed": lambda: ps.ops.dot_product_attention(
        Q[..., None], Q[..., None], Q[..., None], implementation="tokamax"
    ),
    "attention by a kernel that is not here": lambda: ps.ops.dot_product_attention(
        Q[..., None], Q[..., None], Q[..., None], implementation="pallas"
    ),
    "rotary_embedding of integers": lambda: ps.rotary_embedding(
        zeros(5, 2, 4, dtype=int), np.arange(5)
    ),
    "rotary_embedding, positions": lambda: ps.rotary_embedding(zeros(5, 2, 4), np.arange(3)),
    "rotary_embedding, frequencies": lambda: ps.rotary_embedding(
        zeros(5, 2, 4), np.arange(5), frequencies=np.ones(4)
    ),
    "rotary_embedding, a base and frequencies": lambda: ps.rotary_embedding(
        zeros(5, 2, 4), np.arange(5), 1e4, frequencies=np.ones(2)
    ),
    "rotary_frequencies of an odd size": lambda: ps.rotary_frequencies(3),
    "rotary_frequencies, no length": lambda: ps.rotary_frequencies(4, low_freq_factor=2.0),
    "causal_mask, offset of an array": lambda: ps.causal_mask(2, offset=zeros(2, dtype=int)),
    "causal_mask, offset of two axes": lambda: ps.causal_mask(2, 4, zeros(2, 2, dtype=int)),
    "sliding_window_mask, window": lambda: ps.sliding_window_mask(4, window=0),
    "padding_mask, floats": lambda: ps.padding_mask(zeros(2), 4),
    "combine_masks, integers": lambda: ps.combine_masks(zeros(1, 1, 2, 2, dtype=int)),
    "combine_masks, ranks": lambda: ps.combine_masks(
        zeros(1, 1, 2, 2, dtype=bool), zeros(2, 2, dtype=bool)
    ),
    "combine_masks, shapes": lambda: ps.combine_masks(
        zeros(1, 1, 2, 2, dtype=bool), zeros(1, 1, 3, 2, dtype=bool)
    ),
}

# --- recurrent ---


class Fixed(ps.RNNCore):
    """A core that returns what has no batch."""

    def initial_state(self, batch_size: int | None) -> Any:
        return jnp.zeros([4])

    def __call__(self, inputs: Any, state: Any) -> Any:
        return state, state


def lstm(inputs: Any = X, batch_size: int | None = 2, **options: Any) -> Callable[[], Any]:
    def step() -> Any:
        core = ps.LSTM(4, **options)
        return core(inputs, core.initial_state(batch_size))

    return lambda: init(step)


def unroll(
    core: Callable[[], Any], inputs: Any = SEQUENCE, f: Any = ps.dynamic_unroll, **options: Any
) -> Callable[[], Any]:
    def do() -> Any:
        made = core()
        return f(made, inputs, made.initial_state(2), **options)

    return lambda: init(do)


def dropout_state(trained: bool) -> Any:
    core = ps.RecurrentDropout(ps.IdentityCore(), 0.5, True)
    core(X, ps.RecurrentDropoutState(core.initial_state(2).state, None) if trained else ())


def reset() -> Any:
    core = ps.ResetCore(ps.VanillaRNN(4))
    core((X, zeros(3, dtype=bool)), core.initial_state(2))


def traced_training(is_training: Any) -> Any:
    return ps.RecurrentDropout(ps.LSTM(4), 0.5, is_training)


RECURRENT: dict[str, Callable[[], Any]] = {
    "LSTM of a sequence": lstm(SEQUENCE),
    "LSTM, batches differ": lstm(X, 3),
    "LSTM, state of another core": lambda: init(lambda: ps.LSTM(4)(X, zeros(2, 4))),
    "LSTM, projection size": lstm(projection_size=0),
    "GRU of a sequence": lambda: init(lambda: ps.GRU(4)(SEQUENCE, zeros(2, 4))),
    "DeepRNN, states": lambda: init(
        lambda: ps.DeepRNN([ps.VanillaRNN(4), ps.VanillaRNN(4)])(X, [zeros(2, 4)])
    ),
    "deep_rnn with other layers": lambda: init(
        lambda: ps.deep_rnn_with_skip_connections([ps.VanillaRNN(4), jnp.tanh])
    ),
    "deep_rnn, sizes differ": unroll(
        lambda: ps.deep_rnn_with_residual_connections([Fixed(), Fixed()])
    ),
    "Bidirectional, merge": lambda: init(
        lambda: ps.Bidirectional(Fixed(), Fixed(), merge="product")
    ),
    "Bidirectional of a vector": lambda: init(lambda: ps.Bidirectional(Fixed(), Fixed())(zeros(3))),
    "Bidirectional of nothing": lambda: init(lambda: ps.Bidirectional(Fixed(), Fixed())(())),
    "RecurrentDropout of a text": make(ps.RecurrentDropout, "lstm", 0.5, True),
    "RecurrentDropout of several cores": lambda: init(
        lambda: ps.RecurrentDropout(ps.DeepRNN([ps.LSTM(4)]), 0.5, True)
    ),
    "RecurrentDropout, rate": lambda: init(lambda: ps.RecurrentDropout(ps.LSTM(4), 1.0, True)),
    "RecurrentDropout, is_training is traced": lambda: jax.jit(ps.transform(traced_training).apply)(
        {}, key(), True
    ),
    "RecurrentDropout, state of the core": lambda: init(lambda: dropout_state(False)),
    "RecurrentDropout, state without a mask": lambda: init(lambda: dropout_state(True)),
    "ResetCore, shapes": lambda: init(reset),
    "TrainableInitialState of a text": make(ps.TrainableInitialState, "lstm"),
    "TrainableInitialState, no batch": lambda: init(
        lambda: ps.TrainableInitialState(Fixed()).initial_state(2)
    ),
    "unroll, lengths are floats": unroll(Fixed, sequence_length=zeros(2)),
    "unroll, lengths of another batch": unroll(Fixed, sequence_length=zeros(3, dtype=int)),
    "unroll, lengths too long": unroll(Fixed, sequence_length=np.array([5, 6])),
    "unroll with lengths, outputs without a batch": unroll(Fixed, sequence_length=np.array([3, 4])),
    "static_unroll, no steps": unroll(Fixed, SEQUENCE[:0], ps.static_unroll),
    "static_unroll of numbers": unroll(Fixed, [1.0, 2.0], ps.static_unroll),
    "static_unroll of arrays without time": unroll(Fixed, zeros(), ps.static_unroll),
    "static_unroll, no arrays": unroll(Fixed, (), ps.static_unroll),
}

# --- metrics ---

metrics = ps.metrics
LABELS = zeros(2, dtype=int)

METRICS: dict[str, Callable[[], Any]] = {
    "Metric without compute": lambda: init(lambda: metrics.Metric().compute()),
    "Mean, mask of another shape": call(lambda: metrics.Mean(), X, mask=zeros(5, dtype=bool)),
    "Mean, mask of floats": call(lambda: metrics.Mean(), X, mask=X),
    "Accuracy, labels are floats": call(lambda: metrics.Accuracy(), X, X),
    "Accuracy, other shapes": call(lambda: metrics.Accuracy(), zeros(3, 3), LABELS),
    "MultiMetric, a class": lambda: init(lambda: metrics.MultiMetric(loss=metrics.Mean)),
    "MultiMetric, no such metric": lambda: init(
        lambda: metrics.MultiMetric(loss=metrics.Mean())(los=X)
    ),
}

# --- inputs that are no arrays ---

NO_ARRAYS: dict[str, Callable[[], Any]] = {
    "Linear of None": call(lambda: ps.Linear(2), None),
    "Linear of a list": call(lambda: ps.Linear(2), [1.0, 2.0]),
    "Linear of a dict": call(lambda: ps.Linear(2), {"x": X}),
    "Linear of a text": call(lambda: ps.Linear(2), "text"),
    "Linear of a class": call(lambda: ps.Linear(2), ps.Linear),
    "Linear of a module": lambda: init(lambda: ps.Linear(2)(ps.Linear(3))),
    "Bias of None": call(lambda: ps.Bias(), None),
    "BatchNorm of None": call(lambda: ps.BatchNorm(True, True, 0.9), None, True),
    "Reshape of None": call(lambda: ps.Reshape([-1]), None),
    "Embed, attend to None": lambda: init(lambda: ps.Embed(4, 3, w_init=jnp.zeros).attend(None)),
    "Conv2D, mask no array": call(lambda: ps.Conv2D(4, 3, mask="none"), IMAGES),
    "MultiHeadAttention of None": call(mha, None, None, None),
    "MultiHeadAttention, mask no array": call(mha, Q, Q, Q, mask="causal"),
    "GroupedQueryAttention of None": call(gqa, None),
    "GroupedQueryAttention, mask no array": call(gqa, Q, mask="causal"),
    "rotary_embedding of None": lambda: ps.rotary_embedding(None, np.arange(5)),
    "dropout of None": lambda: ps.dropout(key(), 0.5, None),
}

CASES: dict[str, Callable[[], Any]] = {
    **SIMPLE,
    **CONVOLUTIONS,
    **NORMS,
    **ATTENTION,
    **RECURRENT,
    **METRICS,
    **NO_ARRAYS,
}
