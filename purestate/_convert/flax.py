"""`from_flax`, `to_flax`, `from_nnx` and `to_nnx`."""

from collections.abc import Callable, Mapping
from typing import Any

from purestate._convert.convert import convert_from, convert_to
from purestate._convert.flax_library import FLAX, NNX
from purestate._convert.names import Names
from purestate._convert.report import Converted


def from_flax(
    weights: Mapping[str, Any],
    f: Any,
    rng: Any,
    *example: Any,
    names: Names | None = None,
    check: Callable[..., Any] | Any = None,
    check_args: tuple[Any, ...] | None = None,
) -> Converted:
    """Converts variables of flax linen to params and state; see `from_torch`.

    >>> import jax, jax.numpy as jnp, numpy as np, purestate as ps
    >>> import flax.linen
    >>> dense = flax.linen.Dense(2)
    >>> weights = dense.init(jax.random.key(0), jnp.ones([1, 3]))
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> params, state, report = ps.convert.from_flax(
    ...     weights, f, jax.random.key(0), x, check=lambda x: dense.apply(weights, x)
    ... )
    >>> report.matches
    ((('',), ('linear',), 'shape'),)

    These layers are known:

    - Dense, Conv, ConvTranspose, Embed, BatchNorm, LayerNorm, GroupNorm, RMSNorm: the same
    - MultiHeadDotProductAttention: four linear layers: query, key, value and linear
    - LSTMCell, OptimizedLSTMCell: `LSTM`
    - GRUCell: `GRU(..., reset_after=True)`

    The running statistics of flax come without a number of updates. They are taken as those of very
    many.

    Args:
      weights: `{collection: tree}`, with params and perhaps batch_stats.
      f: what one of the transforms returned.
      rng: the random key for `init`.
      *example: the other arguments of `init`; arrays may be `jax.ShapeDtypeStruct`s.
      names: see `from_torch`.
      check: see `from_torch`.
      check_args: see `from_torch`.

    Returns:
      Params, state and a `ConversionReport`.

    Raises:
      ConversionError: layers have no match, or the outputs differ.
      UnverifiedWarning: as a warning, without `check`.
    """
    return convert_from(
        FLAX, weights, f, rng, example, names=names, check=check, check_args=check_args
    )


def to_flax(
    variables: Any,
    f: Any,
    rng: Any,
    *example: Any,
    like: Mapping[str, Any],
    names: Names | None = None,
) -> Any:
    """Converts params and state to variables of flax linen; the inverse of `from_flax`.

    >>> import jax, jax.numpy as jnp, numpy as np, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> like = {"params": {"Dense_0": {"kernel": np.ones([3, 2]), "bias": np.ones(2)}}}
    >>> weights = ps.convert.to_flax(params, f, jax.random.key(0), x, like=like)
    >>> bool((weights["params"]["Dense_0"]["kernel"] == params["linear"]["w"]).all())
    True

    Args:
      variables: what `init` returned, or what `from_flax` did.
      f: what one of the transforms returned.
      rng: the random key for `init`.
      *example: the other arguments of `init`; arrays may be `jax.ShapeDtypeStruct`s.
      like: variables of the model that is to take the result.
      names: see `from_torch`.

    Returns:
      Variables with the structure of `like`.

    Raises:
      ConversionError: layers have no match.
    """
    return convert_to(FLAX, variables, f, rng, example, like=like, names=names)


def from_nnx(
    weights: Any,
    f: Any,
    rng: Any,
    *example: Any,
    names: Names | None = None,
    check: Callable[..., Any] | Any = None,
    check_args: tuple[Any, ...] | None = None,
) -> Converted:
    """Converts the state of a flax nnx model to params and state; see `from_torch`.

    >>> import jax, jax.numpy as jnp, numpy as np, purestate as ps
    >>> weights = {"dense": {"kernel": np.ones([3, 2]), "bias": np.ones(2)}}
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> params, state, report = ps.convert.from_nnx(
    ...     weights, f, jax.random.key(0), x, check=jnp.array([[4.0, 4.0]])
    ... )
    >>> report.matches
    ((('dense',), ('linear',), 'shape'),)

    Layers are those of `from_flax`. The state of nnx is sorted by name, so that its order says
    nothing. Layers with equal shapes need `names`, unless their names differ in numbers only.

    Args:
      weights: what `nnx.state(model)` returns. Its random keys and counters are left out.
      f: what one of the transforms returned.
      rng: the random key for `init`.
      *example: the other arguments of `init`; arrays may be `jax.ShapeDtypeStruct`s.
      names: see `from_torch`.
      check: see `from_torch`.
      check_args: see `from_torch`.

    Returns:
      Params, state and a `ConversionReport`.

    Raises:
      ConversionError: layers have no match, or the outputs differ.
      UnverifiedWarning: as a warning, without `check`.
    """
    return convert_from(
        NNX, weights, f, rng, example, names=names, check=check, check_args=check_args
    )


def to_nnx(
    variables: Any,
    f: Any,
    rng: Any,
    *example: Any,
    like: Any,
    names: Names | None = None,
) -> Any:
    """Converts params and state to the state of a flax nnx model; the inverse of `from_nnx`.

    >>> import jax, jax.numpy as jnp, numpy as np, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> like = {"dense": {"kernel": np.ones([3, 2]), "bias": np.ones(2)}}
    >>> weights = ps.convert.to_nnx(params, f, jax.random.key(0), x, like=like)
    >>> bool((weights["dense"]["kernel"] == params["linear"]["w"]).all())
    True

    Args:
      variables: what `init` returned, or what `from_nnx` did.
      f: what one of the transforms returned.
      rng: the random key for `init`.
      *example: the other arguments of `init`; arrays may be `jax.ShapeDtypeStruct`s.
      like: the state of the model that is to take the result, for `nnx.update`.
      names: see `from_torch`.

    Returns:
      A state with the structure of `like`.

    Raises:
      ConversionError: layers have no match.
    """
    return convert_to(NNX, variables, f, rng, example, like=like, names=names)
