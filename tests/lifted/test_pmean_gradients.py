"""`pmean_gradients`: the mean over devices (four of them: `tests/layers/test_replicas.py`; here an axis of `jax.vmap`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import purestate as ps

GRADS = {"w": jnp.arange(24.0).reshape(2, 3, 4), "b": [jnp.arange(6.0).reshape(2, 3)]}


@pytest.mark.parametrize(
    ("axes", "over"), [("a", 0), ("b", 1), (("a", "b"), (0, 1)), (["b", "a"], (0, 1))]
)
def test_the_mean_over_axes(axes, over):
    def mean(grads):
        return ps.pmean_gradients(grads, axes)

    got = jax.vmap(jax.vmap(mean, axis_name="b"), axis_name="a")(GRADS)
    expected = jax.tree.map(
        lambda x: np.broadcast_to(np.mean(x, over, keepdims=True), x.shape), GRADS
    )
    jax.tree.map(np.testing.assert_allclose, got, expected)


@pytest.mark.parametrize("check_vma", [True, False])
def test_on_one_device_it_changes_nothing(check_vma):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    f = ps.transform(lambda x: jnp.tanh(x * ps.get_parameter("w", [2], init=jnp.ones)))
    x = jnp.arange(8.0).reshape(4, 2) / 8
    params = {"~": {"w": jnp.array([1.0, 2.0])}}
    loss = lambda params, x: (f.apply(params, None, x) ** 2).mean()
    run = jax.shard_map(
        lambda params, x: ps.pmean_gradients(jax.grad(loss)(params, x), "data"),
        mesh=mesh, in_specs=(P(), P("data")), out_specs=P(), check_vma=check_vma,
    )  # fmt: skip
    expected = jax.grad(loss)(params, x)
    np.testing.assert_allclose(jax.jit(run)(params, x)["~"]["w"], expected["~"]["w"], rtol=1e-6)


@pytest.mark.parametrize("axes", ["data", ("a", "data")])
def test_an_axis_that_is_not_there(axes):
    run = jax.vmap(lambda grads: ps.pmean_gradients(grads, axes), axis_name="a")
    with pytest.raises(ps.errors.MappingError, match=r"no axis 'data'.*jax.jit.*jax.shard_map"):
        run(GRADS)
