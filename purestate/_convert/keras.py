"""`from_keras` and `to_keras`."""

from collections.abc import Callable
from typing import Any

from purestate._convert.convert import convert_from, convert_to
from purestate._convert.keras_library import KERAS
from purestate._convert.names import Names
from purestate._convert.report import Converted


def from_keras(
    model: Any,
    f: Any,
    rng: Any,
    *example: Any,
    names: Names | None = None,
    check: Callable[..., Any] | Any = None,
    check_args: tuple[Any, ...] | None = None,
) -> Converted:
    """Converts the weights of a Keras 3 model to params and state; see `from_torch`.

    >>> import jax, jax.numpy as jnp, numpy as np, purestate as ps
    >>> model = {"dense/kernel": np.ones([3, 2]), "dense/bias": np.ones(2)}
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> params, state, report = ps.convert.from_keras(
    ...     model, f, jax.random.key(0), x, check=jnp.array([[4.0, 4.0]])
    ... )
    >>> report.matches
    ((('dense',), ('linear',), 'shape'),)

    These layers are known:

    - Dense, EinsumDense of attention, Conv, Conv2DTranspose, DepthwiseConv2D, Embedding:
      the same
    - SeparableConv2D: two convolutions: depthwise and pointwise
    - BatchNormalization, LayerNormalization, GroupNormalization, RMSNormalization: the same
    - MultiHeadAttention: four linear layers: query, key, value and linear
    - LSTM, and GRU with the same `reset_after`, which is True by default in Keras: `LSTM`, `GRU`

    The running statistics of Keras come without a number of updates. They are taken as those of
    very many.

    Args:
      model: the model, a list of its variables, or a dict of arrays by their `path`.
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
        KERAS, model, f, rng, example, names=names, check=check, check_args=check_args
    )


def to_keras(
    variables: Any,
    f: Any,
    rng: Any,
    *example: Any,
    like: Any,
    names: Names | None = None,
) -> Any:
    """Converts params and state to the weights of a Keras 3 model; the inverse of `from_keras`.

    >>> import jax, jax.numpy as jnp, numpy as np, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> like = {"dense/kernel": np.ones([3, 2]), "dense/bias": np.ones(2)}
    >>> arrays = ps.convert.to_keras(params, f, jax.random.key(0), x, like=like)
    >>> bool((arrays["dense/kernel"] == params["linear"]["w"]).all())
    True

    Args:
      variables: what `init` returned, or what `from_keras` did.
      f: what one of the transforms returned.
      rng: the random key for `init`.
      *example: the other arguments of `init`; arrays may be `jax.ShapeDtypeStruct`s.
      like: as `model` in `from_keras`.
      names: see `from_torch`.

    Returns:
      A list for `model.set_weights`, or a dict if `like` is one.

    Raises:
      ConversionError: layers have no match.
    """
    return convert_to(KERAS, variables, f, rng, example, like=like, names=names)
