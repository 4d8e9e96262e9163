"""Rotary position embedding, and its frequencies for longer sequences."""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from purestate._layers.errors import LayerError, check_bool, not_an_array
from purestate._ops.normalization import with_rank


def rotary_frequencies(
    size: int,
    base: float = 10000.0,
    *,
    factor: float = 1.0,
    original_length: float | None = None,
    low_freq_factor: float | None = None,
    high_freq_factor: float | None = None,
    scaling: Literal["linear", "ntk", "yarn", "llama3"] | None = None,
) -> np.ndarray:
    """Returns by which angle each pair of features turns from one position to the next.

    That is `base ** (-2i / size)` for pair i. For sequences that are `factor` times as long as
    those of training, pairs turn more slowly. `scaling` says how:

    - "linear" divides all angles by `factor` (Chen et al. 2023, arXiv:2306.15595, equation 4).
    - "ntk" makes the base larger, so that the last pair turns slower by `factor`, and the first as
      before (Peng et al. 2023, arXiv:2309.00071, section 3.1).
    - "yarn" divides the angles of pairs that turn less than once in `original_length`, keeps those
      of pairs that turn more than 32 times, and interpolates between (the same, section 3.2). The
      paper also scales the logits; see `yarn_scale`.
    - "llama3" does this with 4 in place of 32, as Llama 3.1.

    >>> import purestate as ps
    >>> ps.rotary_frequencies(4).tolist()
    [1.0, 0.01]
    >>> ps.rotary_frequencies(4, factor=8.0, original_length=500).tolist()
    [1.0, 0.00125]

    Args:
      size: K, the number of features, twice that of pairs.
      base: how much slower the last pair turns than the first.
      factor: how much longer the sequences are.
      original_length: the length that the model was trained with, for "yarn" and "llama3".
      low_freq_factor: pairs that turn less often than this in `original_length` are slowed down;
        None for 1.
      high_freq_factor: pairs that turn more often than this stay; None for 4, or of "yarn" 32.
      scaling: None for "llama3" with `original_length`, and otherwise for "linear".

    Returns:
      Radians, `[size / 2]`, in float64.

    Raises:
      LayerError: `size` is odd, `factor` is not above 0, `high_freq_factor` is not above
        `low_freq_factor`, or an option and the scaling do not fit.
    """
    scaling = scaling or ("linear" if original_length is None else "llama3")
    if original_length is None and (low_freq_factor, high_freq_factor) != (None, None):
        raise LayerError(
            "rotary_frequencies: low_freq_factor and high_freq_factor say which pairs are slow in"
            " original_length. Pass that too."
        )
    _check_scaling(scaling, original_length)
    low_freq_factor = 1.0 if low_freq_factor is None else low_freq_factor
    if high_freq_factor is None:
        high_freq_factor = 32.0 if scaling == "yarn" else 4.0
    if size % 2 or factor <= 0 or high_freq_factor <= low_freq_factor:
        raise LayerError(
            "rotary_frequencies needs an even size, a factor above 0, and a high_freq_factor above"
            f" low_freq_factor; got size={size}, factor={factor},"
            f" low_freq_factor={low_freq_factor}, high_freq_factor={high_freq_factor}."
        )
    if scaling == "ntk":
        if size < 4:
            raise LayerError(
                "rotary_frequencies: scaling='ntk' slows down the last pair and not the first, so"
                f" there are at least two, size=4; got size={size}."
            )
        base = base * factor ** (size / (size - 2))
    frequencies = float(base) ** (-np.arange(0, size, 2) / size)
    if scaling == "ntk":
        return frequencies
    if original_length is None:
        return frequencies / factor
    turns = frequencies * original_length / (2 * np.pi)
    stays = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor)
    stays = np.clip(stays, 0, 1)
    return frequencies * (stays + (1 - stays) / factor)


def _check_scaling(scaling: str, original_length: float | None) -> None:
    """Raises unless there is such a scaling, and it has `original_length` if it uses that."""
    if scaling not in ("linear", "ntk", "yarn", "llama3"):
        raise LayerError(
            "rotary_frequencies: scaling takes 'linear', 'ntk', 'yarn' or 'llama3', got"
            f" {scaling!r}."
        )
    if (original_length is None) == (scaling in ("yarn", "llama3")):
        raise LayerError(
            f"rotary_frequencies: scaling={scaling!r} with original_length={original_length}."
            " 'yarn' and 'llama3' need original_length, the length that the model was trained with;"
            " the others have no use for it."
        )


def yarn_scale(size: int, factor: float) -> float:
    """Returns the scale of the logits that goes with frequencies of `scaling="yarn"`.

    That is `(0.1 ln(factor) + 1) ** 2 / sqrt(size)`, so that longer sequences get sharper weights
    (Peng et al. 2023, arXiv:2309.00071, equations 21 and 22).

    >>> import purestate as ps
    >>> round(ps.yarn_scale(64, 16.0) * 8, 4)
    1.6314

    Args:
      size: K, the size of a head.
      factor: how much longer the sequences are.

    Returns:
      A number, for `scale` of `GroupedQueryAttention`.

    Raises:
      LayerError: `size` is not above 0, or `factor` is less than 1.
    """
    if size <= 0 or factor < 1:
        raise LayerError(
            "yarn_scale needs a size above 0 and a factor of at least 1; got"
            f" size={size}, factor={factor}."
        )
    return (0.1 * math.log(factor) + 1) ** 2 / math.sqrt(size)


def rotary_embedding(
    x: jax.Array,
    positions: ArrayLike,
    base: float | None = None,
    *,
    interleaved: bool = False,
    frequencies: ArrayLike | None = None,
) -> jax.Array:
    """Turns pairs of features by angles that grow with the position.

    The dot product of a query and a key turned like this depends on how far apart they are, not on
    where they are. Pair i of K / 2 turns by `position / base ** (2i / K)`. Su et al. 2021,
    arXiv:2104.09864.

    >>> import jax.numpy as jnp, purestate as ps
    >>> x = jnp.array([[[1.0, 0.0]], [[1.0, 0.0]]])  # [T, H, K]
    >>> ps.rotary_embedding(x, jnp.array([0, jnp.pi / 2])).round(3).tolist()
    [[[1.0, 0.0]], [[-0.0, 1.0]]]

    Args:
      x: queries or keys, `[..., T, H, K]` with an even K.
      positions: of each time step, `[T]` or `[..., T]`.
      base: how much slower the last pair turns than the first; None for 10000.
      interleaved: whether features 2i and 2i + 1 are a pair, as in the paper; by default i and i +
        K / 2 are, as in GPT-NeoX and Llama.
      frequencies: the angle of each pair from one position to the next, `[K / 2]`, as of
        `rotary_frequencies`; None for those of `base`.

    Returns:
      An array of the same shape and dtype.

    Raises:
      LayerError: K is odd, `x` is not floating, `positions` or `frequencies` do not fit, or there
        are `frequencies` and a `base`.
    """
    if interleaved.__class__ is not bool:
        check_bool("rotary_embedding", "interleaved", interleaved)
    try:
        shape = x.shape
    except AttributeError:
        raise not_an_array("rotary_embedding", x, "x") from None
    positions = jnp.asarray(positions)
    if len(shape) < 3 or shape[-1] % 2 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise LayerError(
            f"rotary_embedding needs floats of shape [..., T, H, K] with an even K, got {x.dtype}"
            f" of shape {shape}."
        )
    leading = shape[: len(shape) - 2][-positions.ndim :] if positions.ndim else ()
    if not 0 < positions.ndim <= len(shape) - 2 or any(
        p not in (1, n) for p, n in zip(positions.shape, leading, strict=True)
    ):
        raise LayerError(
            f"rotary_embedding was given positions of shape {positions.shape} for an array of shape"
            f" {shape}; they have to be [T], {shape[-3:-2]}, or [..., T], {shape[:-2]}."
        )
    dtype: Any = (
        x.dtype if jnp.finfo(x.dtype).bits > 32 else jnp.float32
    )  # bfloat16 has too few digits for angles
    frequencies = _frequencies(frequencies, base, shape)
    angles = lax.expand_dims(positions.astype(dtype), (positions.ndim, positions.ndim + 1))
    angles = with_rank(angles, len(shape)) * with_rank(
        jnp.asarray(frequencies, dtype), len(shape)
    )  # [..., T, 1, K / 2]
    cos, sin = lax.cos(angles), lax.sin(angles)
    exact = x.astype(dtype)
    if interleaved:
        first, second = exact[..., 0::2], exact[..., 1::2]
    else:
        first, second = jnp.split(exact, 2, -1)
    turned = first * cos - second * sin, second * cos + first * sin
    out = (
        lax.reshape(jnp.stack(turned, -1), shape)
        if interleaved
        else lax.concatenate(turned, len(shape) - 1)
    )
    return out.astype(x.dtype)


def _frequencies(given: ArrayLike | None, base: float | None, shape: tuple[int, ...]) -> ArrayLike:
    """Returns the given frequencies, or those of a base."""
    if given is None:
        return rotary_frequencies(shape[-1], 10000.0 if base is None else base)
    if base is not None:
        raise LayerError(
            f"rotary_embedding: base={base} has no effect beside frequencies. Pass one of them;"
            " ps.rotary_frequencies takes a base."
        )
    if jnp.shape(given) != (shape[-1] // 2,):
        raise LayerError(
            f"rotary_embedding was given frequencies of shape {jnp.shape(given)} for an array of"
            f" shape {shape}. Pass one for each pair of features, [K / 2], here"
            f" {(shape[-1] // 2,)}."
        )
    return given
