"""Parameters, state, random keys, and what tells about them."""

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])


def f(x: jax.Array, train: bool = True) -> jax.Array:
    return x


reveal_type(ps.get_parameter("w", [3], init=jnp.ones))  # Array
reveal_type(ps.get_parameter("w", x.shape[-1:], x.dtype, init=ps.initializers.Constant(1)))  # Array
reveal_type(ps.get_state("n", [], jnp.int32, init=jnp.zeros))  # Array
reveal_type(ps.set_state("n", 1))  # None
reveal_type(ps.get_params())  # dict[str, dict[str, Any]]
reveal_type(ps.next_rng_key())  # Array
reveal_type(ps.next_rng_key("dropout"))  # Array
reveal_type(ps.next_rng_keys(3))  # Array
reveal_type(ps.maybe_next_rng_key())  # Array | None
reveal_type(ps.has_rng())  # bool
reveal_type(ps.running_init())  # bool
reveal_type(ps.PRNGSequence(1).take(3))  # tuple[Array, ...]
reveal_type(next(ps.PRNGSequence(1)))  # Array
reveal_type(ps.sow("hidden", x))  # bool
reveal_type(ps.perturb("hidden", x))  # Array
ps.get_parameter("w")  # error: "shape"
ps.get_parameter("w", [3], inti=jnp.ones)  # error: inti
ps.get_parameter("w", [3], init=1.0)  # error: "float"
ps.next_rng_keys("3")  # error: "int"

reveal_type(ps.specs(ps.transform(f))(None, x))  # dict[str, dict[str, Spec]]
reveal_type(ps.specs(ps.transform_with_state(f))(None, x))
# in both: tuple[dict[str, dict[str, Spec]], dict[str, dict[str, Spec]]]
reveal_type(ps.specs(ps.transform_with_collections(f))(None, x))
# in both: dict[str, dict[str, dict[str, Spec]]]
reveal_type(ps.specs(f)(None, x)[0]["linear"]["w"].shape)  # tuple[int, ...]
ps.specs(3)
# in pyright: error: No overloads
# in pyright: error: "Literal[3]"
# in mypy: error: No overload
reveal_type(ps.check(ps.transform(f))({}, None, x))  # None
reveal_type(ps.check(ps.transform(f).apply))  # (...) -> None

seen = ps.capture_intermediates(ps.transform(f))
reveal_type(seen.init(None, x))  # dict[str, dict[str, Array]]
reveal_type(seen.apply({}, None, x))  # tuple[Array, dict[str, dict[str, Any]]]
reveal_type(ps.capture_intermediates(ps.transform_with_state(f)).apply({}, {}, None, x))
# in both: tuple[tuple[Array, dict[str, dict[str, Any]]], dict[str, dict[str, Any]]]
reveal_type(ps.capture_intermediates(ps.transform_with_collections(f)).apply({}, None, x))
# in both: tuple[Array, dict[str, dict[str, Any]]]
reveal_type(ps.capture_intermediates(ps.without_apply_rng(ps.transform(f))).apply({}, x))
# in both: tuple[Array, dict[str, dict[str, Any]]]
reveal_type(ps.capture_intermediates(f)(x))  # tuple[Array, dict[str, dict[str, Any]]]
seen.apply({}, None, "x")  # error: "Array"
