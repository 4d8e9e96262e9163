"""How calls of layers and of control flow are rewritten."""

import libcst as cst

from purestate._port.row import Code, Left, Rule
from purestate._port.rules import AT_RUN_TIME, given, repeated
from purestate._port.signatures import UNKNOWN, Bound


def gelu(call: Bound) -> str:
    approximate = "{approximate}" if "approximate" in call.places else "False"
    return f"jax.nn.gelu({{features}}, approximate={approximate})"


def leaky_relu(call: Bound) -> str:
    alpha = "{alpha}" if "alpha" in call.places else "0.2"
    return f"jax.nn.leaky_relu({{features}}, negative_slope={alpha})"


def moments(call: Bound) -> str | Left:
    if not (call.is_simple("x") and call.literal("axes") is not UNKNOWN):
        return repeated(call, "x")
    options = f", axis={{axes}}{given(call, 'keepdims')}"
    return f"(jnp.mean({{x}}{options}), jnp.var({{x}}{options}))"


def bias_add(call: Bound) -> str | Left:
    layout = call.literal("data_format")
    if layout is None or (isinstance(layout, str) and not layout.startswith("NC")):
        return "{value} + {bias}"
    return Left("its channels are first", "Write `value + bias[:, None, None]`.")


def _spatial(value: object) -> tuple[int, int] | None:
    """Returns the two spatial numbers of strides or sizes as TensorFlow takes them."""
    if isinstance(value, int):
        return value, value
    if isinstance(value, list | tuple) and all(isinstance(v, int) for v in value):
        if len(value) == 4 and value[0] == value[3] == 1:
            return value[1], value[2]
        if len(value) in (1, 2):
            return value[0], value[-1]
    return None


def conv2d(call: Bound) -> str | Left:
    dilations = call.literal("dilations")
    strides = _spatial(call.literal("strides"))
    rate = (1, 1) if dilations is None else _spatial(dilations)
    if strides is None or rate is None or not isinstance(call.literal("padding"), str):
        return Left(
            f"its strides, dilations or padding {AT_RUN_TIME}",
            "Write `jax.lax.conv_general_dilated(x, w, strides, padding,"
            " dimension_numbers=('NHWC', 'HWIO', 'NHWC'))`.",
        )
    dilated = f", rhs_dilation={rate}" if rate != (1, 1) else ""
    return (
        f"jax.lax.conv_general_dilated({{input}}, {{filters}}, window_strides={strides},"
        f" padding={{padding}}{dilated}, dimension_numbers=('NHWC', 'HWIO', 'NHWC'))"
    )


def pool(kind: str) -> Rule:
    def rule(call: Bound) -> str | Left:
        size, strides = _spatial(call.literal("ksize")), _spatial(call.literal("strides"))
        if size is None or strides is None:
            return Left(
                f"its sizes {AT_RUN_TIME}", f"Write `ps.{kind}_pool(x, size, strides, padding)`."
            )
        return (
            f"ps.{kind}_pool({{input}}, window_shape={(*size, 1)}, strides={(*strides, 1)},"
            " padding={padding})"
        )

    return rule


def cond(call: Bound) -> str | Code | Left:
    if not (call.has("true_fn") and call.has("false_fn")):
        return Left("one of its functions is missing")
    home = "ps" if call.in_module else "jax.lax"
    return Code(
        f"{home}.cond({{pred}}, {{true_fn}}, {{false_fn}})",
        "JAX traces both functions, and both must return the same shapes and dtypes.",
    )


def while_loop(call: Bound) -> str | Left:
    loop_vars = call.value("loop_vars")
    if not (isinstance(loop_vars, cst.List | cst.Tuple) and len(loop_vars.elements) > 1):
        return Left(
            "how many variables the loop has is known only at run time",
            "Write `jax.lax.while_loop(cond, body, carry)`, whose functions take one argument.",
        )
    home = "ps" if call.in_module else "jax.lax"
    return (
        f"{home}.while_loop(lambda c: {{cond}}(*c), lambda c: tuple({{body}}(*c)),"
        " tuple({loop_vars}))"
    )


def scan(call: Bound) -> str | Left:
    if not call.has("initializer") or call.literal("reverse") is UNKNOWN:
        return Left(
            "it has no `initializer`, or its direction is known only at run time",
            "Write `jax.lax.scan(f, initial, xs)`, whose `f` returns the carry and the output.",
        )
    home = "ps" if call.in_module else "jax.lax"
    reverse = ", reverse=True" if call.literal("reverse") else ""
    step = "lambda carry, x: 2 * ({fn}(carry, x),)"
    return f"{home}.scan({step}, {{initializer}}, {{elems}}{reverse})[1]"


def map_fn(call: Bound) -> str:
    home = "ps" if call.in_module else "jax.lax"
    return f"{home}.map({{fn}}, {{elems}})"


def vectorized_map(call: Bound) -> str | Left:
    if call.in_module:
        return Left(
            "whether each element gets its own random keys is your choice here",
            "Write `ps.vmap(fn, split_rng=...)(elems)`.",
        )
    return "jax.vmap({fn})({elems})"


def function(call: Bound) -> str:
    return "snt.function({func})" if call.uses_sonnet else "jax.jit({func})"
