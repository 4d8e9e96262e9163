"""The operations of a function, against numbers by hand and those of XLA."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt

KEY = jax.random.key(0)
INIT = ps.initializers.VarianceScaling()


class Net(NamedTuple):
    """A function to be transformed, the shape of its input, and the FLOPs of its products."""

    f: Callable[[Any], Any]
    shape: tuple[int, ...]
    product_flops: int


def _attention(x: Any) -> Any:
    return ps.MultiHeadAttention(4, 16, w_init=INIT)(x, x, x)


def _lstm(x: Any) -> Any:
    core, outputs = ps.LSTM(64), []
    state = core.initial_state(x.shape[1])
    for step in x:
        out, state = core(step, state)
        outputs.append(out)
    return jnp.stack(outputs)


def _lstm_in_a_scan(x: Any) -> Any:
    core = ps.LSTM(64)
    return ps.dynamic_unroll(core, x, core.initial_state(x.shape[1]))[0]


def _convs(x: Any) -> Any:
    x = ps.Conv2D(32, 3, padding="VALID")(x)
    return ps.Conv2D(32, 3, padding="VALID", feature_group_count=4)(x)


NETS = {
    "MLP": Net(lambda x: ps.nets.MLP([128, 64])(x), (32, 256), 2 * 32 * (256 * 128 + 128 * 64)),
    "convolutions": Net(
        _convs, (2, 64, 64, 16), 2 * 2 * (62 * 62 * 32 * 9 * 16 + 60 * 60 * 32 * 9 * 8)
    ),
    # Four projections, similarities, and the weighted sum.
    "attention": Net(_attention, (2, 32, 64), 2 * 2 * (4 * 32 * 64 * 64 + 2 * 4 * 32 * 32 * 16)),
    "LSTM": Net(_lstm, (5, 16, 128), 5 * 2 * 16 * (128 + 64) * 4 * 64),
    "LSTM in a scan": Net(_lstm_in_a_scan, (5, 16, 128), 5 * 2 * 16 * (128 + 64) * 4 * 64),
    "Sonnet": Net(lambda x: snt.nets.MLP([128, 64])(x), (32, 256), 2 * 32 * (256 * 128 + 128 * 64)),
}


def applied(net: Net) -> tuple[Callable[..., Any], tuple[Any, Any]]:
    f = ps.transform(net.f)
    x = jax.ShapeDtypeStruct(net.shape, jnp.float32)
    return lambda params, x: f.apply(params, None, x), (jax.eval_shape(f.init, KEY, x), x)


def xla_flops(f: Callable[..., Any], args: Any) -> float:
    analysis: Any = jax.jit(f).lower(*args).compile().cost_analysis()
    return analysis["flops"]


@pytest.mark.parametrize("name", NETS)
def test_products_are_as_counted_by_hand(name: str) -> None:
    f, args = applied(NETS[name])
    costs = ps.operation_costs(f)(*args)
    assert costs.product_flops == NETS[name].product_flops
    assert not costs.at_least
    assert costs.backward_flops == 0


@pytest.mark.parametrize("name", ["MLP", "convolutions", "attention", "LSTM"])
def test_xla_counts_the_same(name: str) -> None:
    f, args = applied(NETS[name])
    costs = ps.operation_costs(f)(*args)
    counted = xla_flops(f, args)
    assert costs.product_flops <= counted * 1.001
    np.testing.assert_allclose(costs.flops, counted, rtol=0.03)


@pytest.mark.parametrize("name", ["MLP", "convolutions", "LSTM"])
def test_xla_counts_the_same_for_a_gradient(name: str) -> None:
    f, args = applied(NETS[name])
    grad = jax.grad(lambda params, x: jnp.sum(jnp.square(f(params, x))), (0, 1))
    costs = ps.operation_costs(grad)(*args)
    np.testing.assert_allclose(costs.flops, xla_flops(grad, args), rtol=0.05)
    backward = sum(r.flops for r in costs.rows if r.backward and r.operation != "other")
    np.testing.assert_allclose(backward, 2 * NETS[name].product_flops, rtol=0.05)


def test_a_train_step_costs_six_times_parameters_times_tokens() -> None:
    tokens = 512
    f = ps.transform(lambda x: ps.nets.MLP([256, 256, 256], with_bias=False)(x))
    x = jax.ShapeDtypeStruct((tokens, 256), jnp.float32)
    params = jax.eval_shape(f.init, KEY, x)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))

    def loss(params: Any, x: Any) -> Any:
        return jnp.sum(f.apply(params, None, x))

    def step(params: Any, x: Any) -> Any:
        # With the gradient of the input, as if there were layers below.
        value, grads = jax.value_and_grad(loss, (0, 1))(params, x)
        return value, jax.tree.map(lambda p, g: p - 0.1 * g, params, grads[0]), grads[1]

    costs = ps.operation_costs(step)(params, x)
    assert costs.product_flops == 6 * size * tokens
    assert sum(r.flops for r in costs.rows if r.backward and r.operation != "other") == (
        4 * size * tokens
    )


def _block(x: Any) -> Any:
    return ps.Linear(8, with_bias=False, name="block")(x)


ONE = 2 * 4 * 8 * 8


def _while(x: Any) -> Any:
    block = ps.Linear(8, with_bias=False, name="block")
    if ps.running_init():
        return block(x)
    return ps.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, block(c[1])), (0, x))[1]


TRANSFORMS: dict[str, tuple[Callable[[Any], Any], int]] = {
    "layer_stack": (ps.layer_stack(3)(_block), 3 * ONE),
    "scan": (lambda x: ps.scan(lambda c, _: (_block(c), None), x, None, length=5)[0], 5 * ONE),
    "scan in scan": (
        lambda x: ps.scan(
            lambda c, _: (ps.scan(lambda c, _: (_block(c), None), c, None, length=2)[0], None),
            x,
            None,
            length=5,
        )[0],
        10 * ONE,
    ),
    "vmap": (lambda x: ps.vmap(_block, split_rng=False)(x), ONE),
    "remat": (lambda x: ps.remat(_block)(x), ONE),
    "jit": (lambda x: ps.jit(_block)(x), ONE),
    "cond": (lambda x: ps.cond(x.sum() > 0, lambda x: _block(_block(x)), _block, x), 2 * ONE),
    "while_loop": (_while, ONE),
}


class Outer(ps.Module):
    def __init__(self, inside: Callable[[Any], Any]):
        super().__init__()
        self.inside = inside

    def __call__(self, x: Any) -> Any:
        return self.inside(x)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_inside(name: str) -> None:
    f = ps.transform(lambda x: Outer(TRANSFORMS[name][0])(x))
    x = jnp.ones([4, 8])
    params = f.init(KEY, x)
    costs = ps.operation_costs(f.apply)(params, None, x)
    dots = [row for row in costs.rows if row.operation == "dot_general"]
    assert sum(row.flops for row in dots) == TRANSFORMS[name][1]
    for row in dots:
        assert row.path.split("/")[0] == "outer"
        assert row.path.split("/")[-1].startswith("block"), row
    assert costs.at_least == (name == "while_loop")


@pytest.mark.parametrize("name", ["layer_stack", "scan", "vmap", "remat", "jit", "cond"])
def test_the_backward_pass_of_transforms_inside(name: str) -> None:
    inside, forward = TRANSFORMS[name]
    f = ps.transform(lambda x: inside(x))
    x = jnp.ones([4, 8])
    params = f.init(KEY, x)

    def loss(params: Any, x: Any) -> Any:
        return jnp.sum(f.apply(params, None, x))

    rows = ps.operation_costs(jax.grad(loss, (0, 1)))(params, x).rows
    dots = [row for row in rows if row.operation == "dot_general"]
    assert sum(row.flops for row in dots if row.backward) == 2 * forward
    # A linear layer needs nothing of its output, but JAX runs it for the value of the loss.
    assert sum(row.flops for row in dots if not row.backward) in (0, forward)
    assert all(row.path.split("/")[-1].startswith("block") for row in dots)


def test_what_remat_computes_again_is_in_the_backward_pass() -> None:
    f = ps.transform(lambda x: ps.remat(lambda x: jnp.sin(_block(jnp.sin(_block(x)))))(x))
    x = jnp.ones([4, 8])
    params = f.init(KEY, x)
    grad = jax.grad(lambda params: jnp.sum(f.apply(params, None, x)))
    costs = ps.operation_costs(grad)(params)
    dots = [row for row in costs.rows if row.operation == "dot_general"]
    # Both products once more; two gradients of weights, and one of an input.
    assert sum(row.calls for row in dots if row.backward) == 2 + 2 + 1
    assert {row.path for row in dots} == {"block", "block_1"}


@pytest.mark.parametrize(("axes", "devices"), [({"i"}, 2), ({"i", "j"}, 6)])
def test_a_shard_map_counts_the_devices_of_its_axes(axes: set[str], devices: int) -> None:
    auto = (jax.sharding.AxisType.Auto,) * 2
    mesh = jax.sharding.AbstractMesh((2, 3), ("i", "j"), axis_types=auto)
    part = jax.sharding.PartitionSpec("i")

    def product(x: Any, w: Any) -> Any:
        return x @ w

    f = jax.shard_map(
        product,
        mesh=mesh,
        in_specs=(part, jax.sharding.PartitionSpec()),
        out_specs=part,
        axis_names=axes,
    )
    costs = ps.operation_costs(f)(jnp.ones([4, 8]), jnp.ones([8, 8]))
    # Two devices have two rows each; those along "j" all do the same.
    assert costs.product_flops == devices * 2 * 2 * 8 * 8


def test_a_transposed_convolution_multiplies_no_zeros_between_inputs() -> None:
    x, w = jnp.ones([1, 8, 8, 4]), jnp.ones([2, 2, 4, 6])

    def f(x: Any, w: Any) -> Any:
        return jax.lax.conv_transpose(x, w, (2, 2), "VALID")

    assert f(x, w).shape == (1, 16, 16, 6)
    assert ps.operation_costs(f)(x, w).product_flops == 2 * 16 * 16 * 6 * 4


FORMULAS: dict[str, tuple[Callable[[Any], Any], int, int]] = {
    "tanh": (jnp.tanh, 12, 96),
    "sum": (lambda x: x.sum(1), 12, 48 + 12),
    "transpose": (jnp.transpose, 0, 96),
    "max_pool": (lambda x: ps.max_pool(x[None, ..., None], (1, 3, 4, 1), 1, "VALID"), 12, 200),
    "rows": (lambda x: jax.lax.dynamic_slice_in_dim(x, 1, 1), 0, 32),
    "integers": (lambda x: jnp.arange(12) + 1, 0, 2 * 48 + 48),
    "unused": (lambda x: (jnp.tanh(x), x)[1], 0, 0),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_other_operations(name: str) -> None:
    f, flops, size = FORMULAS[name]
    costs = ps.operation_costs(f)(jnp.ones([3, 4]))
    assert costs.flops == flops
    assert costs.product_flops == 0
    assert costs.bytes <= size
    assert bool(costs.bytes) == bool(size)


def test_kernels_that_jax_does_not_describe_count_at_least() -> None:
    costs = ps.operation_costs(jnp.linalg.cholesky)(jnp.eye(3))
    assert costs.at_least
    assert ">= " in repr(costs)


def test_modules_include_what_is_in_them() -> None:
    def forward(x: Any, is_training: bool) -> Any:
        assert isinstance(is_training, bool)
        return jnp.sum(ps.nets.MLP([8, 8], name="encoder")(x))

    f = ps.transform(forward)
    x = jnp.ones([4, 8])
    costs = ps.operation_costs(f.apply)(f.init(KEY, x, True), None, x, is_training=True)
    modules = costs.by_module()
    inside = [modules[f"encoder/linear_{i}"] for i in range(2)]
    assert modules["encoder"].product_flops == sum(cost.product_flops for cost in inside) == 2 * ONE
    assert modules["encoder"].flops > sum(cost.flops for cost in inside)  # the activation
    assert modules["encoder"].flops + modules["~"].flops == costs.flops
    assert modules["encoder"].bytes + modules["~"].bytes == costs.bytes
    assert isinstance(modules["~"], ps.ModuleCost)


def test_init_and_dicts() -> None:
    f = ps.transform(_block)
    costs = ps.operation_costs(f.init)(KEY, jnp.ones([4, 8]))
    assert isinstance(costs, ps.OperationCosts)
    assert costs.flops > 64  # the initial weights
    assert [ps.OperationCost(**row) for row in costs.to_dicts()] == list(costs.rows)


def test_the_table() -> None:
    table = repr(ps.operation_costs(jnp.dot)(jnp.ones([2, 3]), jnp.ones([3, 4]))).split("\n")
    assert table[0].split() == ["path", "operation", "pass", "calls", "FLOPs", "bytes"]
    assert table[1].split() == ["~", "dot_general", "forward", "1", "48", "FLOP", "104", "B"]
    assert table[-1].split() == ["total", "48", "FLOP", "104", "B"]


def test_params_are_no_function() -> None:
    f: Any = {"linear": {}}
    with pytest.raises(ps.errors.ArgumentError, match=r"ps.operation_costs\(f.apply\)"):
        ps.operation_costs(f)
