"""Random numbers: from TensorFlow's hidden generator to keys."""

from purestate._port.row import Code, Left
from purestate._port.rules import given
from purestate._port.signatures import Bound

KEY = "ps.next_rng_key()"
SEEDS = "The numbers are others than TensorFlow's, from the key that `init` or `apply` was given."


def _outside(call: Bound, instead: str) -> Left | None:
    if call.in_module:
        return None
    return Left(
        "it draws from TensorFlow's hidden generator, and JAX needs a key",
        f"Pass a key, and write `{instead}`. In a function that"
        " `ps.transform_with_state` runs, `ps.next_rng_key()` is a key.",
    )


def _dtype(call: Bound) -> str:
    return ", {dtype}" if "dtype" in call.places else ""


def uniform(call: Bound) -> Code | Left:
    if left := _outside(call, "jax.random.uniform(key, shape, minval=..., maxval=...)"):
        return left
    is_integer = call.names.get("dtype", "").removeprefix("tf.").startswith(("int", "uint"))
    low = "{minval}" if "minval" in call.places else "0"
    if is_integer:
        return Code(f"jax.random.randint({KEY}, {{shape}}, {low}, {{maxval}}{_dtype(call)})", SEEDS)
    if "dtype" in call.places and not call.names.get("dtype", "").startswith("tf."):
        return Left(
            "its dtype is known only at run time",
            "Write `jax.random.uniform` for floats, and `jax.random.randint` for integers.",
        )
    bounds = given(call, "minval") + given(call, "maxval")
    return Code(f"jax.random.uniform({KEY}, {{shape}}{_dtype(call)}{bounds})", SEEDS)


def _scaled(call: Bound, drawn: str) -> Code:
    if call.has("stddev"):
        drawn = f"{{stddev}} * {drawn}"
    if call.has("mean"):
        drawn = f"{{mean}} + {drawn}"
    return Code(drawn, SEEDS)


def normal(call: Bound) -> Code | Left:
    if left := _outside(call, "mean + stddev * jax.random.normal(key, shape)"):
        return left
    return _scaled(call, f"jax.random.normal({KEY}, {{shape}}{_dtype(call)})")


def truncated_normal(call: Bound) -> Code | Left:
    if left := _outside(call, "mean + stddev * jax.random.truncated_normal(key, -2, 2, shape)"):
        return left
    return _scaled(call, f"jax.random.truncated_normal({KEY}, -2, 2, {{shape}}{_dtype(call)})")


def categorical(call: Bound) -> Code | Left:
    if left := _outside(call, "jax.random.categorical(key, logits)"):
        return left
    if call.literal("num_samples") != 1 or call.has("dtype"):
        return Left(
            "it draws many samples, or of another dtype",
            "Write `jax.random.categorical(ps.next_rng_key(), logits, shape=(samples, batch)).T`.",
        )
    return Code(f"jax.random.categorical({KEY}, {{logits}})[:, None]", SEEDS)


def shuffle(call: Bound) -> Code | Left:
    if left := _outside(call, "jax.random.permutation(key, x)"):
        return left
    return Code(f"jax.random.permutation({KEY}, {{value}})", SEEDS)


def dropout(call: Bound) -> Code | Left:
    if left := _outside(call, "ps.dropout(key, rate, x)"):
        return left
    if call.has("noise_shape"):
        return Left(
            "it has a noise shape",
            "Write `ps.dropout(ps.next_rng_key(), rate, x, broadcast_dims=...)`.",
        )
    return Code(f"ps.dropout({KEY}, {{rate}}, {{x}})", SEEDS)


def set_seed(call: Bound) -> str | Left:
    if call.uses_sonnet:
        return "snt.set_seed({seed})"
    return Left(
        "it seeds TensorFlow's hidden generator",
        "Write `key = jax.random.key(seed)`, and pass keys on.",
    )
