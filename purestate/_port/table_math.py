"""TensorFlow's arithmetic."""

from purestate._port import rules
from purestate._port.row import Row, row
from purestate._port.rules_sizes import SMALL_INTEGERS, reduce_prod

MEAN_OF_INTEGERS = (
    "The mean of integers is rounded down to an integer in TensorFlow, and a float in JAX."
)
NORM_OF_INTEGERS = "The norm of integers is an integer in TensorFlow, and a float in JAX."
TRUE_DIVISION = "A quotient of integers is float64 in TensorFlow, and float32 in JAX."
EMPTY_SEGMENTS = (
    "Empty segments hold the smallest or largest finite float in TensorFlow, and -inf or inf in"
    " JAX."
)
COUNTS = "The result is int64 in TensorFlow, and int32 in JAX."


def _same(names: dict[str, str], signature: str) -> list[Row]:
    """Functions of arrays that take them by position in both libraries."""
    places = [part.partition(":")[0].strip() for part in signature.split(",")]
    args = ", ".join(f"{{{place}}}" for place in places)
    rows: list[Row] = []
    for name, ours in names.items():
        first, *also = name.split()
        rows.append(
            row(first, f"{signature}, name=None", f"{ours}({args})", ours, also=" ".join(also))
        )
    return rows


def _both(name: str) -> str:
    return f"{name} math.{name}"


_UNARY = {
    **{
        _both(name): f"jnp.{name}"
        for name in (
            *("abs", "sign", "exp", "square", "sqrt", "round", "floor"),
            *("sin", "cos", "tan", "sinh", "cosh", "tanh"),
        )
    },
    **{
        _both(name): f"jnp.arc{name[1:]}"
        for name in ("acos", "asin", "atan", "acosh", "asinh", "atanh")
    },
    **{f"math.{name}": f"jnp.{name}" for name in ("log", "log1p", "expm1", "ceil", "conj")},
    "negative math.negative": "jnp.negative",
    "math.reciprocal": "jnp.reciprocal",
    "math.rsqrt": "jax.lax.rsqrt",
    "math.is_nan": "jnp.isnan",
    "math.is_inf": "jnp.isinf",
    "math.is_finite": "jnp.isfinite",
    "math.erf": "jax.scipy.special.erf",
    "math.erfinv": "jax.scipy.special.erfinv",
    "math.digamma": "jax.scipy.special.digamma",
    "math.lgamma": "jax.scipy.special.gammaln",
    "math.log_sigmoid": "jax.nn.log_sigmoid",
    "logical_not math.logical_not": "jnp.logical_not",
}

_BINARY = {
    **{
        _both(name): f"jnp.{name}"
        for name in ("add", "subtract", "multiply", "maximum", "minimum")
        + ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
        + ("logical_and", "logical_or")
    },
    "math.logical_xor": "jnp.logical_xor",
    "pow math.pow": "jnp.power",
    "math.mod math.floormod": "jnp.mod",
    "math.floordiv": "jnp.floor_divide",
    "math.xlogy": "jax.scipy.special.xlogy",
}


def _reductions() -> list[Row]:
    names = {
        "reduce_mean": ("jnp.mean", MEAN_OF_INTEGERS),
        "reduce_sum": ("jnp.sum", SMALL_INTEGERS),
        "reduce_prod": ("jnp.prod", ""),
        "reduce_max": ("jnp.max", ""),
        "reduce_min": ("jnp.min", ""),
        "reduce_all": ("jnp.all", ""),
        "reduce_any": ("jnp.any", ""),
        "reduce_logsumexp": ("jax.scipy.special.logsumexp", ""),
        "math.reduce_std": ("jnp.std", ""),
        "math.reduce_variance": ("jnp.var", ""),
    }
    return [
        row(
            name,
            "input_tensor:t, axis=None, keepdims=False, name=None",
            reduce_prod
            if name == "reduce_prod"
            else f"{ours}({{input_tensor}}, axis={{axis}}, keepdims={{keepdims}})",
            ours,
            also="" if name.startswith("math") else f"math.{name}",
            old="keep_dims=keepdims reduction_indices=axis",
            remark=remark,
        )
        for name, (ours, remark) in names.items()
    ]


_EUCLIDEAN = row(
    "math.reduce_euclidean_norm",
    "input_tensor:t, axis=None, keepdims=False, name=None",
    "jnp.sqrt(jnp.sum(jnp.square({input_tensor}), axis={axis}, keepdims={keepdims}))",
    remark=NORM_OF_INTEGERS,
)


def _segments() -> list[Row]:
    return [
        row(
            f"math.unsorted_segment_{name}",
            "data:t, segment_ids:t, num_segments, name=None",
            f"jax.ops.segment_{name}({{data}}, {{segment_ids}}, num_segments={{num_segments}})",
            remark=EMPTY_SEGMENTS if name in ("max", "min") else "",
        )
        for name in ("sum", "prod", "max", "min")
    ]


ROWS = (
    *_same(_UNARY, "x:t"),
    *_same(_BINARY, "x:t, y:t"),
    row("math.atan2", "y:t, x:t, name=None", "jnp.arctan2({y}, {x})", "jnp.arctan2", also="atan2"),
    row(
        "math.divide",
        "x:t, y:t, name=None",
        "jnp.true_divide({x}, {y})",
        "jnp.true_divide",
        also="divide math.truediv truediv",
        remark=TRUE_DIVISION,
    ),
    row("math.divide_no_nan", "x:t, y:t, name=None", rules.divide_no_nan),
    row(
        "math.squared_difference",
        "x:t, y:t, name=None",
        "jnp.square({x} - {y})",
    ),
    *_reductions(),
    _EUCLIDEAN,
    *_segments(),
    row("math.unsorted_segment_mean", "data:t, segment_ids:t, num_segments, name=None",
        rules.unsorted_segment_mean),
    row(
        "math.argmax",
        "input:t, axis=None, output_type='int64', name=None",
        rules.arg_of("argmax"),
        drops="output_type",
        also="argmax",
        old="dimension=axis",
    ),
    row(
        "math.argmin",
        "input:t, axis=None, output_type='int64', name=None",
        rules.arg_of("argmin"),
        drops="output_type",
        also="argmin",
        old="dimension=axis",
    ),
    row("math.cumsum", "x:t, axis=0, exclusive=False, reverse=False, name=None",
        rules.cumulative("cumsum"), also="cumsum", drops="reverse"),
    row("math.cumprod", "x:t, axis=0, exclusive=False, reverse=False, name=None",
        rules.cumulative("cumprod"), drops="reverse"),
    row("math.add_n", "inputs:ts, name=None", "sum({inputs})", also="add_n"),
    row(
        "math.top_k",
        "input:t, k=1, sorted=True, index_type='int32', name=None",
        rules.top_k,
        also="nn.top_k",
        drops="sorted",
    ),
    row(
        "math.count_nonzero",
        "input:t, axis=None, keepdims=None, dtype='int64', name=None",
        "jnp.count_nonzero({input}, axis={axis}, keepdims={keepdims})",
        remark=COUNTS,
    ),
    row("clip_by_value", "t:t, clip_value_min:t, clip_value_max:t, name=None",
        "jnp.clip({t}, {clip_value_min}, {clip_value_max})"),
    row("clip_by_norm", "t:t, clip_norm, axes=None, name=None", rules.clip_by_norm),
    row("clip_by_global_norm", "t_list, clip_norm, use_norm=None, name=None",
        rules.clip_by_global_norm),
    row("linalg.global_norm", "t_list, name=None", "optax.tree.norm({t_list})",
        "optax.tree.norm"),
    row("complex", "real:t, imag:t, name=None", "jax.lax.complex({real}, {imag})"),
    row("math.real", "input:t, name=None", "jnp.real({input})", "jnp.real"),
    row("math.imag", "input:t, name=None", "jnp.imag({input})", "jnp.imag"),
    # Linear algebra
    row(
        "matmul",
        "a:t, b:t, transpose_a=False, transpose_b=False, adjoint_a=False, adjoint_b=False,"
        " a_is_sparse=False, b_is_sparse=False, output_type=None, grad_a=False, grad_b=False,"
        " name=None",
        rules.matmul,
        "jnp.matmul",
        also="linalg.matmul",
        drops="transpose_a transpose_b adjoint_a adjoint_b",
    ),
    row("linalg.matvec", "a:t, b:t, transpose_a=False, adjoint_a=False, a_is_sparse=False,"
        " b_is_sparse=False, name=None", rules.matvec, drops="transpose_a"),
    row("tensordot", "a:t, b:t, axes, name=None", "jnp.tensordot({a}, {b}, axes={axes})",
        also="linalg.tensordot"),
    row("einsum", "equation, *inputs:t", "jnp.einsum({equation}, {inputs})", "jnp.einsum",
        also="linalg.einsum"),
    row("norm", "tensor:t, ord='euclidean', axis=None, keepdims=None, name=None", rules.norm,
        also="linalg.norm", drops="ord axis"),
    row("math.l2_normalize", "x:t, axis=None, epsilon=1e-12, name=None", rules.l2_normalize,
        also="nn.l2_normalize linalg.l2_normalize", old="dim=axis"),
    row("linalg.trace", "x:t, name=None", "jnp.trace({x}, axis1=-2, axis2=-1)"),
    row("linalg.diag", "diagonal:t, name='diag'",
        "jnp.vectorize(jnp.diag, signature='(n)->(n,n)')({diagonal})"),
    row("linalg.diag_part", "input:t, name='diag_part'",
        "jnp.diagonal({input}, axis1=-2, axis2=-1)"),
    row("linalg.band_part", "input:t, num_lower, num_upper, name=None", rules.band_part,
        drops="num_lower num_upper"),
    row("linalg.matrix_transpose", "a:t, name='matrix_transpose', conjugate=False",
        "jnp.swapaxes({a}, -1, -2)"),
    row("linalg.inv", "input:t, adjoint=False, name=None", "jnp.linalg.inv({input})",
        "jnp.linalg.inv"),
    row("linalg.det", "input:t, name=None", "jnp.linalg.det({input})", "jnp.linalg.det"),
    row("linalg.cholesky", "input:t, name=None", "jnp.linalg.cholesky({input})",
        "jnp.linalg.cholesky"),
    row("linalg.solve", "matrix:t, rhs:t, adjoint=False, name=None",
        "jnp.linalg.solve({matrix}, {rhs})"),
)  # fmt: skip
