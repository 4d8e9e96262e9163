"""Nets and layers with sizes of inputs that have a name: b for the batch, t for time.

Run as a program, it prints for which platforms each of them is exported: `python -m tests.export.programs`.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
SIZES = ({"b": 2, "t": 4}, {"b": 3, "t": 6})
FLAT, SEQUENCE, IMAGE = "float32[b, 6]", "float32[b, t, 6]", "float32[b, 9, 8, 4]"
TIME_MAJOR = "float32[4, b, 3]"  # the unrolls: see `over_time`
SIZES_OF_BLOCKS = ((1, 1, 0, 0), 3, None)


class Row(NamedTuple):
    """One program.

    Attributes:
      run: the function to transform.
      specs: of its inputs.
      rng: whether it draws random numbers.
      constraints: what is true of the sizes.
    """

    run: Callable[..., Any]
    specs: tuple[str, ...]
    rng: bool = False
    constraints: tuple[str, ...] = ()


def _unrolled(make: Callable[[], Any], unroll: Callable[..., Any] = ps.dynamic_unroll) -> Row:
    def run(xs: Any) -> Any:
        core = make()
        return unroll(core, xs, core.initial_state(xs.shape[1]))

    return Row(run, (TIME_MAJOR,))


def _reset(xs: Any, resets: Any) -> Any:
    core = ps.ResetCore(ps.LSTM(4))
    return ps.dynamic_unroll(core, (xs, resets), core.initial_state(xs.shape[1]))


def _attention(x: Any) -> Any:
    mask = ps.causal_mask(x.shape[1])
    return ps.MultiHeadAttention(2, 4, w_init=ps.initializers.VarianceScaling())(x, x, x, mask)


def _grouped(x: Any, lengths: Any) -> Any:
    time = x.shape[1]
    mask = ps.combine_masks(ps.sliding_window_mask(time, 2), ps.padding_mask(lengths, time))
    return ps.GroupedQueryAttention(2, 4, num_kv_heads=1, rotary_base=1e4)(x, mask, is_causal=True)


def _stack(x: Any) -> Any:
    return ps.layer_stack(2)(lambda h: h + ps.GatedMLP(6)(ps.RMSNorm(-1)(h)))(x)


def _gpt(ids: Any) -> Any:
    x = ps.Embed(11, 6)(ids) + ps.get_parameter("positions", [8, 6], init=jnp.zeros)[: ids.shape[1]]
    for _ in range(2):
        h = ps.LayerNorm(-1, True, True)(x)
        x += _attention(h) @ ps.get_parameter("out", [8, 6], init=jnp.ones)
    return ps.Linear(11)(x)


def _convolutions(x: Any) -> Any:
    x = ps.SeparableDepthwiseConv2D(2, 3)(ps.Conv2D(4, 3, stride=2)(x))
    return ps.Conv2DTranspose(3, 3, stride=2)(ps.GroupNorm(2)(x))


def _pools(x: Any) -> Any:
    window = ((2, 2, 1), (2, 2, 1), "SAME")
    pools = [layer(*window) for layer in (ps.MaxPool, ps.AvgPool, ps.SumPool, ps.MinPool)]
    return (
        *(pool(x) for pool in pools),
        ps.AdaptiveAvgPool([3, 2])(x),
        ps.AdaptiveMaxPool([3, 3])(x),
    )


NETS = {
    "MLP": Row(lambda x: ps.nets.MLP([8, 3])(x), (FLAT,)),
    "MobileNetV1": Row(lambda x: ps.nets.MobileNetV1((1, 2), (8, 16), 3)(x, True), (IMAGE,)),
    "ResNet, v1": Row(
        lambda x: ps.nets.ResNet(*SIZES_OF_BLOCKS, False, True, (8, 16, 8, 8))(x, True), (IMAGE,)
    ),
    "ResNet, v2": Row(
        lambda x: ps.nets.ResNet(*SIZES_OF_BLOCKS, True, False, (8, 16, 8, 8))(x, True), (IMAGE,)
    ),
    "VectorQuantizer": Row(lambda x: ps.nets.VectorQuantizer(6, 7, 0.25)(x, False), (SEQUENCE,)),
    "VectorQuantizerEMA": Row(
        lambda x: ps.nets.VectorQuantizerEMA(6, 7, 0.25, decay=0.9)(x, True), (SEQUENCE,)
    ),
}
LAYERS = {
    "Linear, Flatten": Row(lambda x: ps.Linear(3)(ps.Flatten()(x)), ("float32[b, 4, 3]",)),
    "DenseGeneral": Row(lambda x: ps.DenseGeneral([2, 3])(x), (SEQUENCE,)),
    "Einsum": Row(lambda x: ps.Einsum("btd,dhk->bthk", [6, 2, 3])(x), (SEQUENCE,)),
    "Conv1D, over time": Row(lambda x: ps.Conv1D(3, 3, padding=ps.pad.causal)(x), (SEQUENCE,)),
    "convolutions": Row(_convolutions, (IMAGE,)),
    "pools": Row(_pools, (IMAGE,)),
    "BatchNorm": Row(lambda x: ps.BatchNorm(True, True, 0.9)(x, is_training=True), (IMAGE,)),
    "SpectralNorm": Row(lambda x: x @ ps.SpectralNorm()(jnp.eye(6)), (FLAT,)),
    "LayerNorm, RMSNorm": Row(
        lambda x: ps.RMSNorm(-1)(ps.LayerNorm(-1, True, True)(x)), (SEQUENCE,)
    ),
    "layer_stack": Row(_stack, (SEQUENCE,)),
    "BatchApply": Row(lambda x: ps.BatchApply(ps.Linear(3))(x), (SEQUENCE,)),
    "Dropout": Row(lambda x: ps.Dropout(0.5)(x, True), (SEQUENCE,), rng=True),
    "Embed": Row(lambda ids: ps.Embed(11, 4)(ids), ("int32[b, t]",)),
    "MultiHeadAttention": Row(_attention, (SEQUENCE,)),
    "GroupedQueryAttention": Row(_grouped, (SEQUENCE, "int32[b]")),
    "a GPT": Row(_gpt, ("int32[b, t]",), constraints=("t <= 8",)),
}
UNROLLS = {
    "LSTM": _unrolled(lambda: ps.LSTM(4)),
    "GRU": _unrolled(lambda: ps.GRU(4)),
    "VanillaRNN": _unrolled(lambda: ps.VanillaRNN(4)),
    "DeepRNN": _unrolled(lambda: ps.deep_rnn_with_skip_connections([ps.LSTM(4), ps.GRU(3)])),
    "RecurrentDropout": _unrolled(lambda: ps.RecurrentDropout(ps.LSTM(4), 0.5, True))._replace(
        rng=True
    ),
    "TrainableInitialState": _unrolled(lambda: ps.TrainableInitialState(ps.GRU(4))),
    "ResetCore": Row(_reset, (TIME_MAJOR, "bool[4, b]")),
    "Bidirectional": Row(lambda xs: ps.Bidirectional(ps.LSTM(3), ps.GRU(3))(xs), (TIME_MAJOR,)),
    "Conv1DLSTM": Row(
        lambda xs: ps.dynamic_unroll(
            core := ps.Conv1DLSTM([5], 2, 3), xs, core.initial_state(xs.shape[1])
        ),
        ("float32[4, b, 5, 2]",),
    ),
}
ROWS = NETS | LAYERS | UNROLLS


def over_time(row: Row) -> Row:
    """Returns an unroll of any number of steps instead of four."""
    return row._replace(specs=tuple(spec.replace("[4,", "[t,") for spec in row.specs))


def inputs_of(row: Row, sizes: dict[str, int]) -> list[Any]:
    draw = np.random.RandomState(0)
    inputs = []
    for spec in row.specs:
        dtype, dimensions = re.fullmatch(r"(\w+)\[(.*)\]", spec).groups()
        shape = [sizes.get(name) or int(name) for name in dimensions.split(", ")]
        x = draw.standard_normal(shape) if dtype == "float32" else draw.randint(0, 4, shape)
        inputs.append(jnp.asarray(x, dtype))
    return inputs


def _some_values(x: Any) -> Any:
    positive = np.abs(np.random.RandomState(0).standard_normal(x.shape))  # as variances are
    return (0.3 * positive).astype(x.dtype)


def exported(row: Row, **options: Any) -> tuple[Any, ps.ExportedModel]:
    """Returns a pair of functions, and the same as a program."""
    f = ps.transform_with_state(row.run)
    shapes = jax.eval_shape(f.init, jax.random.key(0), *inputs_of(row, SIZES[0]))
    params, state = jax.tree.map(_some_values, shapes)  # `init` would compile them all
    rng = jax.random.key(1) if row.rng else None
    return f, ps.export(
        f, params, state, row.specs, rng=rng, constraints=row.constraints, **options
    )


def main() -> None:
    print(f"{'':24}" + "".join(f"{platform:6}" for platform in PLATFORMS), "sizes with a name")
    over_any_time = {f"{name}, over time": over_time(row) for name, row in UNROLLS.items()}
    for name, row in (ROWS | over_any_time).items():
        cells = []
        for platform in PLATFORMS:
            try:
                exported(row, platforms=[platform])
                cells.append("yes")
            except Exception as error:
                cells.append(type(error).__name__)
        names = " ".join(sorted(set(re.findall(r"\b[bt]\b", " ".join(row.specs)))))
        print(f"{name:24}" + "".join(f"{cell:6}" for cell in cells), names, flush=True)


if __name__ == "__main__":
    main()
