"""A block that is split over a mesh with explicit axes by rules alone is the same as on one device."""

import os
import subprocess
import sys
import textwrap

PROGRAM = """
    import jax, jax.numpy as jnp, numpy as np, purestate as ps
    from jax import P
    from jax.sharding import AxisType, NamedSharding

    class Block(ps.Module):
        def __call__(self, ids):
            init = ps.initializers.VarianceScaling()
            x = ps.Embed(16, 8, name="embed")(ids)
            y = ps.LayerNorm(-1, True, True, name="norm_1")(x)
            x = x + ps.MultiHeadAttention(4, 2, w_init=init, name="attention")(y, y, y)
            y = ps.RMSNorm(-1, name="norm_2")(x)
            return x + ps.Linear(8, name="down")(jax.nn.gelu(ps.Linear(32, name="up")(y)))

    def plain(ids):
        return Block(name="block")(ids)

    rules = {
        "**/embed": ps.rules.out_sharding(P("data", None, None)),
        "**/attention/linear": ps.rules.out_sharding(P("data", None, None)),
        "**/down": ps.rules.out_sharding(P("data", None, None)),
    }
    ids = jnp.arange(48).reshape(8, 6) % 16
    one, many = ps.transform(plain), ps.transform(ps.configured(plain, rules))
    params = one.init(jax.random.key(0), ids)
    target = jax.random.normal(jax.random.key(1), [8, 6, 8])

    def loss(f, params, ids, target):
        return jnp.mean((f.apply(params, None, ids) - target) ** 2)

    expected = one.apply(params, None, ids)
    expected_grads = jax.grad(lambda p: loss(one, p, ids, target))(params)

    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    jax.set_mesh(mesh)

    def spec(path, name):
        module = path.split("/")[-1]
        if module in ("query", "key", "value", "up"):
            return P(None, "model") if name == "w" else P("model")
        if module in ("linear", "down") and name == "w":
            return P("model", None)
        return P()

    placed = {
        path: {
            name: jax.device_put(leaf, NamedSharding(mesh, spec(path, name)))
            for name, leaf in bundle.items()
        }
        for path, bundle in params.items()
    }
    ids, target = (
        jax.device_put(x, NamedSharding(mesh, P("data"))) for x in (ids, target)
    )
    out = jax.jit(many.apply)(placed, None, ids)
    assert jax.typeof(out).sharding.spec == P("data", None, None), jax.typeof(out)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    grads = jax.jit(jax.grad(lambda p: loss(many, p, ids, target)))(placed)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), grads, expected_grads
    )
    for path, bundle in grads.items():
        for name, leaf in bundle.items():
            assert leaf.sharding.is_equivalent_to(placed[path][name].sharding, leaf.ndim), path
    # Without the rules a product that fits two ways is JAX's error, and names the module.
    try:
        jax.jit(one.apply)(placed, None, ids)
    except Exception as error:
        text = str(error) + "".join(getattr(error, "__notes__", []))
        assert "out_sharding" in text and "block/embed" in text, text
    else:
        raise AssertionError("it should not run")
    # By hand, in a layer's own call.
    by_hand = ps.transform(lambda x: ps.Linear(8)(x, out_sharding=P("data", None)))
    x = jax.device_put(jnp.ones([8, 32]), NamedSharding(mesh, P("data", "model")))
    w = jax.device_put(jnp.ones([32, 8]), NamedSharding(mesh, P("model", None)))
    out = jax.jit(by_hand.apply)({"linear": {"w": w, "b": jnp.zeros(8)}}, None, x)
    assert jax.typeof(out).sharding.spec == P("data", None)
    np.testing.assert_allclose(out, 32.0)
    print("equal")
"""


def test_a_tensor_parallel_block() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env={
            **os.environ,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
            "JAX_PLATFORMS": "cpu",
        },
        capture_output=True,
        text=True,
    )
    assert ran.stdout.endswith("equal\n"), ran.stderr[-3000:]
