"""Messages of JAX transforms inside: `vmap`, `scan`, `cond`, `layer_stack`, `lift` and the others."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps
from tests.messages.helpers import X, init, key, run, zeros

PLAIN = ps.transform(lambda x: ps.Linear(2)(x))
STATEFUL = ps.transform_with_state(lambda x: ps.Linear(2)(x))


def apply(f: Callable[..., Any], *args: Any) -> Any:
    """Runs `apply` alone, with nothing."""
    return ps.transform_with_state(f).apply({}, None, key(), *args)


def norm(x: Any) -> Any:
    return ps.BatchNorm(True, True, 0.9)(x, is_training=True)


def keep(row: Any) -> None:
    ps.set_state("mean", row.mean())


def count(row: Any) -> None:
    ps.set_state("n", row.sum().astype(int))


def rows(f: Callable[[Any], Any], x: Any = X, **options: Any) -> Callable[[], Any]:
    return lambda: ps.vmap(f, **{"split_rng": False, **options})(x)


def scale_read_only() -> Any:
    ps.get_state("scale", [], init=jnp.ones)
    return rows(
        lambda row: ps.set_state("scale", 2 * ps.get_state("scale")),
        collections={"state": "broadcast"},
    )()


def other_number_of_rows() -> Any:
    f = ps.transform(
        lambda x: ps.vmap(ps.Linear(2), split_rng=ps.running_init(), collections={"params": 0})(x)
    )
    return f.apply({"linear": {"w": zeros(4, 3, 2), "b": zeros(4, 2)}}, None, X)


def axis_of_a_bias() -> Any:
    f = ps.transform(lambda x: ps.vmap(ps.Linear(2), split_rng=False, collections={"params": 1})(x))
    return f.apply({"linear": {"w": zeros(3, 2, 2), "b": zeros(2)}}, None, X)


def draw_on_data(x: Any) -> Any:
    return ps.cond(x[0] > 0, ps.next_rng_key, lambda: jax.random.key(0))


VMAP: dict[str, Callable[[], Any]] = {
    "vmap without split_rng": lambda: init(lambda: ps.vmap(keep)(X)),
    "vmap, sizes differ": lambda: init(lambda: ps.vmap(jnp.add, split_rng=True)(X, zeros(4, 3))),
    "vmap, nothing mapped": lambda: init(rows(keep, in_axes=None)),
    "vmap, no arrays": lambda: apply(rows(lambda row: row, {}, split_rng=True)),
    "vmap, state differs by row": lambda: init(rows(keep)),
    "vmap, batch statistics differ by row": lambda: init(rows(norm, zeros(4, 2, 3))),
    "vmap, parameters differ by row": lambda: init(
        rows(lambda row: ps.Linear(2)(row), split_rng=True)
    ),
    "vmap, number of keys differs by row": lambda: apply(rows(draw_on_data)),
    "vmap, collections no dict": lambda: init(rows(keep, collections="mean")),
    "vmap, mode unknown": lambda: init(rows(keep, collections={"state": "average"})),
    "vmap, mean of integers": lambda: init(rows(count, collections={"state": "mean"})),
    "vmap, broadcast is set": lambda: init(scale_read_only),
    "vmap, an axis that a variable does not have": axis_of_a_bias,
    "vmap, slices and rows": other_number_of_rows,
}

# --- loops and branches ---


def late_linear(carry: Any, x: Any) -> Any:
    return carry, ps.Linear(1)(x) if isinstance(x, jax.core.Tracer) else x[:1]


def new_in_loop() -> Any:
    return ps.fori_loop(0, 3, lambda i, x: (ps.set_state("new", jnp.zeros([])), x)[1], 0.0)


def counting(value: Any) -> Any:
    ps.set_state("n", value)
    return value < 3


def loop_that_counts() -> Any:
    ps.get_state("n", [], init=jnp.zeros)
    return ps.while_loop(counting, lambda value: value + 1, 0.0)


def stacked(f: Callable[..., Any], *args: Any, **options: Any) -> Callable[[], Any]:
    return lambda: ps.layer_stack(3, **options)(f)(*args)


class Mapping:
    """Layers called layer_0, layer_1, ..."""

    def stacked_to_flat(self, stacked_module_name, scan_idx):
        return f"{stacked_module_name}_{scan_idx}"

    def flat_to_stacked(self, unstacked_module_name):
        return "layer", int(unstacked_module_name[-1])


class OneName(Mapping):
    def stacked_to_flat(self, stacked_module_name, scan_idx):
        return "layer_0"


class OneLayer(Mapping):
    def flat_to_stacked(self, unstacked_module_name):
        return "layer", 0


def layer(x: Any) -> Any:
    return ps.Linear(3, w_init=jnp.zeros, name="layer")(x)


def pair(x: Any, y: Any) -> Any:
    return x, y


def check_in_a_module() -> Any:
    class Words(ps.Module):
        def __call__(self, x: Any) -> Any:
            return ps.error_if(x, x > 0, "no value is above 0")

    return run(lambda x: Words()(x), X)


LOOPS: dict[str, Callable[[], Any]] = {
    "error_if": check_in_a_module,
    "error_if outside": lambda: ps.error_if(X, True, "always"),
    "scan without length": lambda: init(lambda: ps.scan(pair, 0, None)),
    "scan makes a variable late": lambda: init(lambda: ps.scan(late_linear, 0, X)),
    "scan, collections no dict": lambda: init(lambda: ps.scan(pair, 0, X, collections="mean")),
    "fori_loop makes a variable": lambda: apply(new_in_loop),
    "while_loop in init": lambda: init(loop_that_counts),
    "while_loop, condition sets state": lambda: apply(loop_that_counts),
    "scan of two lengths": lambda: init(lambda: ps.scan(pair, 0, (zeros(1), zeros(3)))),
    "scan of another length than is said": lambda: init(lambda: ps.scan(pair, 0, X, length=1)),
    "scan of a scalar": lambda: init(lambda: ps.scan(pair, 0, zeros())),
    "scan of a number": lambda: init(lambda: ps.scan(pair, 0, 3)),
    "scan, the body returns one thing": lambda: init(
        lambda: ps.scan(lambda carry, x: carry, zeros(2), X)
    ),
    "switch by a key": lambda: init(lambda: ps.switch(key(), [abs, abs], 1)),
    "cond, operands twice": lambda: init(lambda: ps.cond(True, abs, abs, 1, operand=1)),
    "switch, operands twice": lambda: init(lambda: ps.switch(0, [abs], 1, operand=1)),
    "layer_stack, layers and a map": lambda: ps.layer_stack(
        3, layers="layer_{}", transparency_map=Mapping()
    ),
    "layer_stack, less than no layers": lambda: init(lambda: ps.layer_stack(-1)(layer)(X)),
    "layer_stack, no map": lambda: ps.layer_stack(3, transparent=True),
    "layer_stack, pattern": lambda: ps.layer_stack(3, layers="{}_layer"),
    "layer_stack, modules of other names": lambda: init(
        stacked(lambda x: ps.Bias(b_init=jnp.zeros)(x), X, layers="block_{}")
    ),
    "layer_stack of f(*args)": lambda: init(stacked(lambda *xs: xs, X)),
    "layer_stack, length of inputs": lambda: init(
        stacked(pair, X, zeros(4, 2), with_per_layer_inputs=True)
    ),
    "layer_stack, input without axes": lambda: init(
        stacked(pair, X, 1.0, with_per_layer_inputs=True)
    ),
    "layer_stack, two layers of a name": lambda: init(
        stacked(layer, X, transparent=True, transparency_map=OneName())
    ),
    "layer_stack, two modules of a layer": lambda: init(
        stacked(layer, X, transparent=True, transparency_map=OneLayer())
    ),
}

# --- lift ---


def lift_taken() -> Any:
    ps.Linear(2)(X)
    ps.transparent_lift(PLAIN.init)(ps.next_rng_key(), X)


def lift_forgotten() -> Any:
    variables, _ = ps.lift_with_state(STATEFUL.init, name="inner")
    variables(ps.next_rng_key(), X)


def lift_twice() -> Any:
    _, updater = ps.lift_with_state(STATEFUL.init)
    updater.ignore_update()
    updater.update({})


def lift_of_another_run() -> Any:
    kept: list[Any] = []

    def first():
        variables, updater = ps.lift_with_state(STATEFUL.init)
        kept.append(updater)
        return variables(ps.next_rng_key(), X)

    with contextlib.suppress(ps.errors.LiftError):
        init(first)
    init(lambda: kept[0].update({}))


def on_mesh(f: Callable[[Any], Any], **options: Any) -> Callable[[], Any]:
    P = jax.sharding.PartitionSpec
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
    return lambda: ps.shard_map(f, mesh=mesh, in_specs=P("data"), out_specs=P("data"), **options)(X)


LIFT: dict[str, Callable[[], Any]] = {
    "lift over another module": lambda: init(lift_taken),
    "lift of a pair with state": lambda: init(lambda: ps.lift(STATEFUL.init)(ps.next_rng_key(), X)),
    "lift of what returns no bundle": lambda: init(
        lambda: ps.lift(lambda rng: {"linear": X})(None)
    ),
    "lift, state forgotten": lambda: init(lift_forgotten),
    "lift, updater used twice": lambda: init(lift_twice),
    "lift, updater of another run": lift_of_another_run,
    "pmean_gradients without an axis": lambda: ps.pmean_gradients({"w": X}, "data"),
    "shard_map, state differs by shard": lambda: init(on_mesh(norm)),
    "shard_map, state may differ by shard": lambda: init(on_mesh(norm, check_vma=False)),
    "shard_map, mode unknown": lambda: init(on_mesh(norm, collections={"batch_stats": "average"})),
    "jax.vmap over rows of keys": lambda: run(lambda: jax.vmap(lambda x: ps.next_rng_key())(X)),
}

CASES: dict[str, Callable[[], Any]] = {**VMAP, **LOOPS, **LIFT}
