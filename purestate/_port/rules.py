"""How calls are rewritten that need more than a template."""

import libcst as cst

from purestate._port.row import Code, Left, Rule
from purestate._port.signatures import UNKNOWN, Bound, literal_of

ARG_DTYPE = "The result is int64 in TensorFlow, and int32 in JAX."
FLOAT64 = "An array of float64 of numpy stays float64 in TensorFlow, and is float32 in JAX."
_CHOOSE = "jnp.where"
AT_RUN_TIME = "is known only at run time"


def repeated(call: Bound, name: str) -> Left:
    """Says that an argument would have to stand twice."""
    return Left(
        f"the code in JAX needs its argument `{name}` twice",
        "Give that argument a name in a line before.",
    )


def given(call: Bound, name: str) -> str:
    """Returns `", name={name}"` if an argument was given."""
    return f", {name}={{{name}}}" if call.has(name) else ""


def divide_no_nan(call: Bound) -> str | Left:
    if not call.is_simple("y"):
        return repeated(call, "y")
    return f"{_CHOOSE}({{y}} == 0, 0, {{x}} / {_CHOOSE}({{y}} == 0, 1, {{y}}))"


def unsorted_segment_mean(call: Bound) -> str | Left:
    if not (call.is_simple("segment_ids") and call.is_simple("num_segments")):
        return repeated(call, "segment_ids")
    if not call.is_simple("data"):
        return repeated(call, "data")
    ids = "{segment_ids}, num_segments={num_segments}"
    return (
        f"jax.ops.segment_sum({{data}}, {ids})"
        f" / jnp.maximum(jax.ops.segment_sum(jnp.ones_like({{data}}), {ids}), 1)"
    )


def arg_of(ours: str) -> Rule:
    def rule(call: Bound) -> str | Code | Left:
        axis = "{axis}" if call.has("axis") else "0"
        template = f"jnp.{ours}({{input}}, axis={axis})"
        if "output_type" not in call.places:
            return Code(template, ARG_DTYPE)
        output_type = call.names.get("output_type", "")
        if output_type.endswith(".int32"):
            return Code(template)
        if output_type.endswith(".int64"):
            return Code(template, ARG_DTYPE)
        return f"{template}.astype({{output_type}})"

    return rule


def cumulative(ours: str) -> Rule:
    def rule(call: Bound) -> str | Left:
        axis = "{axis}" if "axis" in call.places else "0"
        if call.literal("reverse") is UNKNOWN:
            return Left("whether it is reversed is known only at run time")
        if not call.literal("reverse"):
            return f"jnp.{ours}({{x}}, axis={axis})"
        return f"jnp.flip(jnp.{ours}(jnp.flip({{x}}, {axis}), {axis}), {axis})"

    return rule


def top_k(call: Bound) -> str:
    k = "{k}" if "k" in call.places else "1"
    return f"jax.lax.top_k({{input}}, {k})"


def clip_by_norm(call: Bound) -> str | Left:
    if call.has("axes"):
        return Left("it clips along axes", "Write it with `jnp.linalg.norm(x, axis=axes)`.")
    if not (call.is_simple("t") and call.is_simple("clip_norm")):
        return repeated(call, "t")
    norm = "jnp.sqrt(jnp.sum(jnp.square({t})))"
    return f"{{t}} * ({{clip_norm}} / jnp.maximum({norm}, {{clip_norm}}))"


def clip_by_global_norm(call: Bound) -> str | Left:
    if call.has("use_norm"):
        return Left(
            "the norm is given",
            "Write `jax.tree.map(lambda x: x * clip_norm / jnp.maximum(norm, clip_norm), grads)`.",
        )
    if not call.is_simple("t_list"):
        return repeated(call, "t_list")
    clipped = "optax.clip_by_global_norm({clip_norm}).update({t_list}, optax.EmptyState())[0]"
    return f"({clipped}, optax.tree.norm({{t_list}}))"


def matmul(call: Bound) -> str | Left:
    sides: list[str] = []
    for side in "ab":
        flags = [call.literal(f"{flag}_{side}") for flag in ("transpose", "adjoint")]
        if UNKNOWN in flags:
            return Left(f"whether `{side}` is transposed is known only at run time")
        if flags[1]:
            sides.append(f"jnp.conj(jnp.swapaxes({{{side}}}, -1, -2))")
        else:
            sides.append(f"jnp.swapaxes({{{side}}}, -1, -2)" if flags[0] else f"{{{side}}}")
    return f"jnp.matmul({sides[0]}, {sides[1]})"


def matvec(call: Bound) -> str | Left:
    flag = call.literal("transpose_a")
    if flag is UNKNOWN:
        return Left("whether `a` is transposed is known only at run time")
    left = "...ji" if flag else "...ij"
    return f"jnp.einsum('{left},...j->...i', {{a}}, {{b}})"


def norm(call: Bound) -> str | Left:
    axes = call.literal("axis")
    axis = f", axis={tuple(axes)}" if isinstance(axes, list) else given(call, "axis")
    options = axis + given(call, "keepdims")
    order = call.literal("ord")
    is_vector = isinstance(axes, int)
    if order in ("euclidean", "fro") or (order == 2 and not call.has("axis")):
        return f"jnp.linalg.norm({{tensor}}{options})"
    if is_vector:
        return f"jnp.linalg.norm({{tensor}}, {{ord}}{options})"
    return Left(
        f"this norm of more than one axis {AT_RUN_TIME}" if order is UNKNOWN else
        "TensorFlow flattens the array for this norm, and `jnp.linalg.norm` takes that of a matrix",
        "Write `jnp.linalg.norm(x.ravel(), ord)`, or give one axis.",
    )  # fmt: skip


def l2_normalize(call: Bound) -> str | Left:
    if not call.is_simple("x"):
        return repeated(call, "x")
    axis = ", axis={axis}, keepdims=True" if call.has("axis") else ""
    epsilon = "{epsilon}" if "epsilon" in call.places else "1e-12"
    return f"{{x}} * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square({{x}}){axis}), {epsilon}))"


def band_part(call: Bound) -> str | Left:
    band = call.literal("num_lower"), call.literal("num_upper")
    if band == (-1, 0):
        return "jnp.tril({input})"
    if band == (0, -1):
        return "jnp.triu({input})"
    if UNKNOWN not in band and min(band) >= 0:
        return f"jnp.triu(jnp.tril({{input}}, {band[1]}), {-band[0]})"
    return Left(
        "this band has no function in JAX", "Write it with `jnp.tril(x, k)` and `jnp.triu(x, -k)`."
    )


def _numpy_floats(call: Bound) -> str:
    return FLOAT64 if call.literal("value") is UNKNOWN and not call.has("dtype") else ""


def constant(call: Bound) -> Code | Left:
    if isinstance(call.literal("value"), str | bytes):
        return Left("an array of JAX cannot hold strings", "Keep it a string of Python.")
    if not call.has("shape"):
        template = "jnp.asarray({value}, {dtype})"
    elif isinstance(call.literal("value"), int | float):
        template = f"jnp.full({{shape}}, {{value}}{given(call, 'dtype')})"
    else:
        template = f"jnp.reshape(jnp.asarray({{value}}{given(call, 'dtype')}), {{shape}})"
    return Code(template, _numpy_floats(call))


def convert_to_tensor(call: Bound) -> Code | Left:
    if isinstance(call.literal("value"), str | bytes):
        return Left("an array of JAX cannot hold strings", "Keep it a string of Python.")
    return Code("jnp.asarray({value}, {dtype})", _numpy_floats(call))


def arange(call: Bound) -> str:
    if "limit" in call.places:
        step = ", {delta}" if "delta" in call.places else ""
        return f"jnp.arange({{start}}, {{limit}}{step}{given(call, 'dtype')})"
    if "delta" in call.places:
        return f"jnp.arange(0, {{start}}, {{delta}}{given(call, 'dtype')})"
    return f"jnp.arange({{start}}{given(call, 'dtype')})"


def one_hot(call: Bound) -> str:
    axis = given(call, "axis")
    if not (call.has("on_value") or call.has("off_value")):
        return f"jax.nn.one_hot({{indices}}, {{depth}}{axis}{given(call, 'dtype')})"
    on = "{on_value}" if call.has("on_value") else "1"
    off = "{off_value}" if call.has("off_value") else "0"
    if "dtype" not in call.places and not _is_float(call, "on_value", "off_value"):
        dtype = ", jnp.float32" if not call.has("on_value") else ""
    else:
        dtype = ", {dtype}" if "dtype" in call.places else ""
    where = f"{_CHOOSE}(jax.nn.one_hot({{indices}}, {{depth}}{axis}, dtype=bool), {on}, {off})"
    return f"jnp.asarray({where}{dtype})" if dtype else where


def _is_float(call: Bound, *names: str) -> bool:
    return any(isinstance(call.literal(name), float) for name in names)


def sequence_mask(call: Bound) -> str | Left:
    if not call.has("maxlen"):
        return Left("the length of the mask depends on values", "Give `maxlen`, the padded length.")
    mask = "jnp.arange({maxlen}) < jnp.expand_dims({lengths}, -1)"
    return f"jnp.asarray({mask}, {{dtype}})" if "dtype" in call.places else mask


def split(call: Bound) -> str | Left:
    sizes = call.literal("num_or_size_splits")
    axis = given(call, "axis")
    if isinstance(sizes, int):
        return f"jnp.split({{value}}, {sizes}{axis})"
    if isinstance(sizes, list | tuple) and -1 not in sizes[:-1]:
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
        return f"jnp.split({{value}}, {ends}{axis})"
    node = call.value("num_or_size_splits")
    elements = [*node.elements] if isinstance(node, cst.List | cst.Tuple) else []
    are_two = len(elements) == 2 and all(isinstance(e, cst.Element) for e in elements)
    if are_two and literal_of(elements[0].value) is UNKNOWN:
        first = cst.Module([]).code_for_node(elements[0].value)
        return f"jnp.split({{value}}, [{first}]{axis})"
    return Left(
        "`num_or_size_splits` may be a number of parts or their sizes",
        "Write `jnp.split(x, number, axis)`, or `jnp.split(x, np.cumsum(sizes)[:-1], axis)`.",
    )


def pad(call: Bound) -> str | Left:
    mode = call.literal("mode")
    if not isinstance(mode, str):
        return Left("its mode is known only at run time", "Write `jnp.pad(x, paddings, mode=...)`.")
    if mode.upper() != "CONSTANT":
        return f"jnp.pad({{tensor}}, {{paddings}}, mode='{mode.lower()}')"
    return f"jnp.pad({{tensor}}, {{paddings}}{given(call, 'constant_values')})"


def sort(ours: str) -> Rule:
    def rule(call: Bound) -> str | Left:
        direction = call.literal("direction")
        if not isinstance(direction, str):
            return Left("its direction is known only at run time")
        descending = ", descending=True" if direction == "DESCENDING" else ""
        return f"jnp.{ours}({{values}}{given(call, 'axis')}{descending})"

    return rule


def where(call: Bound) -> str | Code:
    if call.has("x"):
        return f"{_CHOOSE}({{condition}}, {{x}}, {{y}})"
    return Code(
        "jnp.argwhere({condition})",
        "The shape of the result depends on values, so `jax.jit` cannot compile it.",
    )


def gather(call: Bound) -> str | Left:
    batch_dims = call.literal("batch_dims")
    axis = call.literal("axis")
    if batch_dims == 0:
        return f"jnp.take({{params}}, {{indices}}, axis={'{axis}' if call.has('axis') else '0'})"
    if not isinstance(batch_dims, int) or batch_dims < 0 or axis is UNKNOWN:
        return Left(
            f"its axis or `batch_dims` {AT_RUN_TIME}",
            "Write `jax.vmap(lambda x, i: jnp.take(x, i, axis=...))(x, indices)`, once for each"
            " dimension of the batch.",
        )
    inner = 0 if axis is None else axis - batch_dims if axis >= 0 else axis
    vmaps = "jax.vmap(" * batch_dims
    one = f"{vmaps}lambda x, i: jnp.take(x, i, axis={inner}){')' * batch_dims}"
    return f"{one}({{params}}, {{indices}})"


def slice_(call: Bound) -> str | Left:
    begin, size = call.literal("begin"), call.literal("size")
    if not (isinstance(begin, list | tuple) and isinstance(size, list | tuple)):
        return Left(
            "its bounds are known only at run time",
            "Write `x[begin:end]`, or `jax.lax.dynamic_slice(x, begin, size)`, whose sizes are"
            " numbers.",
        )
    bounds = [f"{b or ''}:{b + s if s != -1 else ''}" for b, s in zip(begin, size, strict=True)]
    return f"{{input_}}[{', '.join(bounds)}]"


def scatter_nd(call: Bound) -> str | Left:
    if not call.is_simple("updates"):
        return repeated(call, "updates")
    zeros = "jnp.zeros({shape}, {updates}.dtype)"
    return f"{zeros}.at[tuple(jnp.moveaxis({{indices}}, -1, 0))].add({{updates}})"
