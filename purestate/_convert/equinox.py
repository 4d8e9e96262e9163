"""`from_equinox` and `to_equinox`."""

from collections.abc import Callable
from typing import Any

from purestate._convert.convert import convert_from, convert_to
from purestate._convert.equinox_library import EQUINOX
from purestate._convert.names import Names
from purestate._convert.report import Converted


def from_equinox(
    model: Any,
    f: Any,
    rng: Any,
    *example: Any,
    names: Names | None = None,
    check: Callable[..., Any] | Any = None,
    check_args: tuple[Any, ...] | None = None,
) -> Converted:
    """Converts a model of equinox to params and state; see `from_torch`.

    >>> import jax, jax.numpy as jnp, numpy as np, purestate as ps
    >>> model = {"linear": {"weight": np.ones([2, 3]), "bias": np.ones(2)}}  # any pytree
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> params, state, report = ps.convert.from_equinox(
    ...     model, f, jax.random.key(0), x, check=jnp.array([[4.0, 4.0]])
    ... )
    >>> report.matches
    ((('linear',), ('linear',), 'equal names'),)

    These layers are known:

    - Linear, Conv, ConvTranspose, Embedding, BatchNorm, LayerNorm, GroupNorm, RMSNorm: the
      same
    - MultiheadAttention: its four linear layers
    - LSTMCell: `LSTM`
    - GRUCell: `GRU(..., reset_after=True)`

    Args:
      model: the model, or for a BatchNorm the pair of model and state that
        `eqx.nn.make_with_state` returns.
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
        EQUINOX, model, f, rng, example, names=names, check=check, check_args=check_args
    )


def to_equinox(
    variables: Any,
    f: Any,
    rng: Any,
    *example: Any,
    like: Any,
    names: Names | None = None,
) -> Any:
    """Converts params and state to a model of equinox; the inverse of `from_equinox`.

    >>> import jax, jax.numpy as jnp, numpy as np, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> like = {"linear": {"weight": np.ones([2, 3]), "bias": np.ones(2)}}
    >>> model = ps.convert.to_equinox(params, f, jax.random.key(0), x, like=like)
    >>> bool((model["linear"]["weight"] == params["linear"]["w"].T).all())
    True

    Args:
      variables: what `init` returned, or what `from_equinox` did.
      f: what one of the transforms returned.
      rng: the random key for `init`.
      *example: the other arguments of `init`; arrays may be `jax.ShapeDtypeStruct`s.
      like: a model, or a pair of model and state, that is to take the result.
      names: see `from_torch`.

    Returns:
      A model, or the pair, with the structure of `like`.

    Raises:
      ConversionError: layers have no match.
    """
    return convert_to(EQUINOX, variables, f, rng, example, like=like, names=names)
