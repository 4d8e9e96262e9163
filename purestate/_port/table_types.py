"""TensorFlow's types and constants."""

from purestate._port.row import Code, Left, Row, row
from purestate._port.signatures import UNKNOWN, Bound

WIDE = (
    "JAX has types of 64 bits only with `jax.config.update('jax_enable_x64', True)`; without it,"
    " these are types of 32 bits."
)

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_WIDE = ("float64", "int64", "uint64", "complex128")


def _dtypes() -> list[Row]:
    names = {name: name for name in (*_FLOATS, *_INTEGERS, "complex64", "complex128")}
    names |= {"half": "float16", "double": "float64", "bool": "bool_"}
    rows: list[Row] = []
    for name, ours in names.items():
        remark = WIDE if ours in _WIDE else ""
        also = f"dtypes.{name}"
        rows.append(row(name, mention=f"jnp.{ours}", also=also, remark=remark))
        if name in (*_FLOATS, *_INTEGERS):
            limits = f"jnp.{'finfo' if name in _FLOATS else 'iinfo'}(jnp.{name})"
            rows += [row(f"{name}.{end}", mention=f"{limits}.{end}") for end in ("min", "max")]
        if name not in ("half", "double"):
            rows.append(row(f"{name}.as_numpy_dtype", mention=f"jnp.{ours}", remark=remark))
    return rows


def _spec(call: Bound) -> str | Left:
    shape = call.literal("shape")
    if shape is UNKNOWN or (isinstance(shape, list | tuple) and None not in shape):
        dtype = "{dtype}" if "dtype" in call.places else "jnp.float32"
        return f"jax.ShapeDtypeStruct({{shape}}, {dtype})"
    return Left(
        "JAX has no shapes with unknown sizes",
        "Write `jax.ShapeDtypeStruct(shape, dtype)` with the size of one batch.",
    )


def _tensor_shape(call: Bound) -> str | Code | Left:
    if call.literal("dims") is None:
        return Left("JAX has no unknown shapes", "Write the shape as a tuple.")
    return "tuple({dims})"


ROWS = (
    *_dtypes(),
    row("Tensor", mention="jax.Array"),
    row("DType", mention="jnp.dtype", also="dtypes.DType"),
    row("newaxis", mention="jnp.newaxis"),
    row("TensorShape", "dims", _tensor_shape, mention="tuple"),
    row("TensorSpec", "shape, dtype='float32', name=None", _spec, mention="jax.ShapeDtypeStruct"),
    row("dtypes.as_dtype", "type_value", "jnp.dtype({type_value})", "jnp.dtype", also="as_dtype"),
)
