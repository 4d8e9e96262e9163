"""Messages of the tools on dicts of variables."""

from collections.abc import Callable
from typing import Any

import jax
import optax

import purestate as ps
from tests.messages.helpers import X, init, zeros

surgery, dicts = ps.surgery, ps.data_structures

PARAMS = {
    "mlp/~/linear_0": {"w": zeros(3, 4), "b": zeros(4)},
    "mlp/~/linear_1": {"w": zeros(4, 2), "b": zeros(2)},
}
OTHER = {"mlp/~/linear_0": {"w": zeros(3, 4)}}
LAYERS = {"block_0/linear": {"w": zeros(2, 2)}, "block_1/linear": {"w": zeros(2, 2)}}
IN_COLLECTIONS = {"params": {"linear": {"w": zeros(2)}}, "ema": {"linear": {"w": zeros(2)}}}


def net(x: Any) -> Any:
    return ps.nets.MLP([4, 2])(x)


def specs() -> Any:
    return ps.specs(ps.transform(net))(jax.random.key(0), X)


def frozen_stack(x: Any) -> Any:
    with ps.freeze("stack/*"):
        return ps.layer_stack(2, name="stack")(lambda x: ps.Linear(3)(x))(x)


def everywhere(value: Any) -> Any:
    return jax.tree.map(lambda leaf: value, PARAMS)


MASK = {**everywhere(True), "mlp/~/linear_0": {"w": True, "b": False}}
ADAM = ps.trainable_only(optax.adam(0.1), MASK)
MORE = ps.trainable_only(optax.adam(0.1), everywhere(True))
MOMENTUM = ps.trainable_only(optax.sgd(0.1, momentum=0.9), MASK)
FEWER = ps.trainable_only(optax.adam(0.1), lambda params: True)
HALF = jax.tree.map(lambda leaf: leaf.astype("bfloat16"), PARAMS)
NARROW = jax.tree.map(lambda leaf: leaf[..., :1], PARAMS)


BUNDLES: dict[str, Callable[[], Any]] = {
    "structure of an array": lambda: list(dicts.traverse(X)),
    "structure one level short": lambda: list(dicts.traverse({"linear": X})),
    "partition_n, no such part": lambda: dicts.partition_n(
        lambda module, name, value: 2, PARAMS, 2
    ),
    "partition_n, no parts": lambda: dicts.partition_n(lambda module, name, value: 0, PARAMS, 0),
    "merge, twice": lambda: dicts.merge(
        PARAMS, {"mlp/~/linear_0": {"w": zeros(5)}}, check_duplicates=True
    ),
    "pop, no such name": lambda: dicts.pop(IN_COLLECTIONS, "param"),
    "pop, nothing": lambda: dicts.pop({}, "params"),
    "to_haiku_dict of an array": lambda: dicts.to_haiku_dict(X),
    "tree_size of a text": lambda: dicts.tree_size({"linear": {"w": "text"}}),
    "tree_bytes of a text": lambda: dicts.tree_bytes("text"),
    "combine, structures differ": lambda: surgery.combine(PARAMS, OTHER),
    "combine, shapes differ": lambda: surgery.combine(PARAMS, NARROW),
    "combine, the third differs": lambda: surgery.combine(everywhere(None), PARAMS, NARROW),
    "ema, structures differ": lambda: ps.ema(PARAMS).update(OTHER),
    "ema, shapes differ": lambda: ps.ema(PARAMS).update(NARROW),
}

PATHS: dict[str, Callable[[], Any]] = {
    "at, nothing there": lambda: surgery.at(PARAMS, "mlp/~/linear_2/w").get(),
    "at, nothing near": lambda: surgery.at(PARAMS, "encoder").get(),
    "at, several places": lambda: surgery.at({"a/b": {"c": X}, "a": {"b/c": X}}, "a/b/c").get(),
    "set, another shape": lambda: surgery.at(PARAMS, "mlp/~/linear_0/w").set(zeros(5, 4)),
    "set, another dtype": lambda: surgery.at(PARAMS, "mlp/~/linear_0/w").set(
        zeros(3, 4).astype(int)
    ),
    "set, another structure": lambda: surgery.at(PARAMS, "mlp/~/linear_0").set({"w": zeros(3, 4)}),
    "insert, there already": lambda: surgery.insert(PARAMS, "mlp/~/linear_0/w", zeros(1)),
    "insert, path that is a number": lambda: surgery.insert(PARAMS, 3, zeros(1)),
    "insert, no module": lambda: surgery.insert(PARAMS, "w", zeros(1)),
    "insert, an empty dict": lambda: surgery.insert({"params": {}}, "params/linear/w", zeros(1)),
    "delete, nothing there": lambda: surgery.delete(PARAMS, "mlp/~/linear_2"),
    "rename, module taken": lambda: surgery.rename(PARAMS, "mlp/~/linear_0", "mlp/~/linear_1"),
    "rename, variable taken": lambda: surgery.rename(
        PARAMS, "mlp/~/linear_0/w", "mlp/~/linear_0/b"
    ),
    "rename, variable to a module": lambda: surgery.rename(PARAMS, "mlp/~/linear_0/w", "w"),
    "transplant, nothing copied": lambda: surgery.transplant({"encoder": {"w": X}}, PARAMS),
    "transplant, two to one place": lambda: surgery.transplant(
        {"a": {"w": X}, "b": {"w": X}}, {"linear": {"w": X}}, mapping={"a": "linear", "b": "linear"}
    ),
    "transplant, shapes differ": lambda: surgery.transplant(
        {"mlp/~/linear_0": {"w": zeros(5, 4), "b": zeros(4)}}, PARAMS
    ),
    "transplant, mapping from nothing": lambda: surgery.transplant(
        PARAMS, PARAMS, mapping={"mlp/linear_0": "mlp"}
    ),
    "transplant, mapping to nothing": lambda: surgery.transplant(
        PARAMS, PARAMS, mapping={"mlp": "mpl"}
    ),
}

PREDICATES: dict[str, Callable[[], Any]] = {
    "predicate of four arguments": lambda: surgery.glob("mlp/*")(1, 2, 3, 4),
    "predicate that is no function": lambda: surgery.filter(PARAMS, "w"),
    "predicate that returns an array": lambda: surgery.filter(OTHER, lambda leaf: leaf > 0),
    "has_dtype of no dtype": lambda: surgery.has_dtype("float33"),
    "larger_than a word": lambda: surgery.larger_than("5"),
    "pop from an array": lambda: dicts.pop(X, "params"),
    "glob of a number": lambda: surgery.glob(3),
    "regex of a number": lambda: surgery.regex(3),
    "predicate of a leaf alone": lambda: surgery.glob("mlp/*")(X),
    "predicate as a bool": lambda: bool(surgery.glob("mlp/*")),
    "of_module, arguments swapped": lambda: surgery.of_module(PARAMS, ps.Linear),  # pyright: ignore
    "delete by a number": lambda: surgery.delete(PARAMS, 3),  # pyright: ignore
    "predicate of no specs": lambda: surgery.of_module(ps.Linear, PARAMS),
    "freeze, a name inside a lifted function": lambda: init(frozen_stack, X),
}

STACKS: dict[str, Callable[[], Any]] = {
    "stack_layers, a layer missing": lambda: ps.stack_layers(
        {**LAYERS, "block_3/linear": {"w": zeros(2, 2)}}, "block_{}"
    ),
    "stack_layers, layers differ": lambda: ps.stack_layers(
        {**LAYERS, "block_2/linear": {"w": zeros(3, 2)}}, "block_{}"
    ),
    "stack_layers, variables differ": lambda: ps.stack_layers(
        {**LAYERS, "block_2/linear": {"b": zeros(2)}}, "block_{}"
    ),
    "stack_layers, nothing": lambda: ps.stack_layers(LAYERS, "layer_{}"),
    "stack_layers, two places": lambda: ps.stack_layers(LAYERS, "block_{}/linear_{}"),
    "stack_layers, name taken": lambda: ps.stack_layers(
        {**LAYERS, "block/linear": {"w": X}}, "block_{}", "block"
    ),
    "unstack_layers, lengths differ": lambda: ps.unstack_layers(
        {"block/a": {"w": zeros(2), "b": zeros(3)}}, "block_{}", "block"
    ),
    "unstack_layers, no stack": lambda: ps.unstack_layers(
        {"block/a": {"w": zeros()}}, "block_{}", "block"
    ),
    "unstack_layers, nothing": lambda: ps.unstack_layers(LAYERS, "layer_{}", "layer"),
}

TRAINABLE: dict[str, Callable[[], Any]] = {
    "trainable_mask of params": lambda: ps.trainable_mask(PARAMS),
    "partition_trainable, another function": lambda: ps.partition_trainable(OTHER, specs()),
    "trainable_only, grads differ": lambda: ADAM.update(OTHER, ADAM.init(PARAMS), PARAMS),
    "trainable_only, mask differs": lambda: ADAM.init(OTHER),
    "trainable_only, mask of numbers": lambda: ps.trainable_only(
        optax.adam(0.1), everywhere(1)
    ).init(PARAMS),
    "trainable_only, no gradient": lambda: ADAM.update(everywhere(None), ADAM.init(PARAMS), PARAMS),
    "trainable_only, params are needed": lambda: MORE.update(PARAMS, ADAM.init(PARAMS)),
    "trainable_only, another optimizer": lambda: ADAM.update(PARAMS, MOMENTUM.init(PARAMS), PARAMS),
    "trainable_only, gradients that broadcast": lambda: MORE.update(
        NARROW, MORE.init(PARAMS), PARAMS
    ),
    "trainable_only, state that broadcasts": lambda: MORE.update(PARAMS, MORE.init(NARROW), PARAMS),
    "trainable_only, gradients of another precision": lambda: MORE.update(
        PARAMS, MORE.init(HALF), HALF
    ),
    "trainable_only, a variable less": lambda: FEWER.update(OTHER, FEWER.init(PARAMS), OTHER),
    "trainable_only, another shape": lambda: MORE.update(NARROW, ADAM.init(PARAMS), NARROW),
}

LABELS: dict[str, Callable[[], Any]] = {
    "labels of a list": lambda: ps.labels([("*/w", "slow")]),  # pyright: ignore
    "labels, a pattern that is a number": lambda: ps.labels({3: "slow"}),
    "labels, a label that is a tuple": lambda: ps.labels({"*/w": ("slow", 1)}),
    "labels, no such name": lambda: ps.labels({"mpl/*": "slow"}, "fast")(PARAMS),
    "labels, a module": lambda: ps.labels({"mlp": "slow"}, "fast")(PARAMS),
    "labels, the end of a name": lambda: ps.labels({"linear_0/w": "slow"}, "fast")(PARAMS),
    "labels, no such variable": lambda: ps.labels({surgery.has_ndim(5): "slow"}, "fast")(PARAMS),
    "labels, nothing at all": lambda: ps.labels({surgery.has_ndim(5): "slow"}, "fast")({}),
    "labels, no label": lambda: ps.labels({"*/w": "slow"})(PARAMS),
    "labels, two labels": lambda: ps.labels({"*/w": "slow", "mlp/*": "fast"})(PARAMS),
}

CASES: dict[str, Callable[[], Any]] = {
    **BUNDLES,
    **PATHS,
    **PREDICATES,
    **STACKS,
    **TRAINABLE,
    **LABELS,
}
