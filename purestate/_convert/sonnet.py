"""`from_sonnet` and `to_sonnet`."""

from collections.abc import Callable
from typing import Any

from purestate._convert.convert import convert_from, convert_to
from purestate._convert.names import Names
from purestate._convert.report import Converted
from purestate._convert.sonnet_library import SONNET


def from_sonnet(
    weights: Any,
    f: Any,
    rng: Any,
    *example: Any,
    names: Names | None = None,
    check: Callable[..., Any] | Any = None,
    check_args: tuple[Any, ...] | None = None,
) -> Converted:
    """Converts the variables of a Sonnet 2 model to params and state; see `from_torch`.

    >>> import jax, jax.numpy as jnp, numpy as np, purestate as ps
    >>> weights = {"linear/w:0": np.ones([3, 2]), "linear/b:0": np.ones(2)}
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> params, state, report = ps.convert.from_sonnet(
    ...     weights, f, jax.random.key(0), x, check=jnp.array([[4.0, 4.0]])
    ... )
    >>> report.matches
    ((('linear',), ('linear',), 'equal names'),)

    Layers are those of `from_keras`, without SeparableConv2D and attention, and VanillaRNN, which
    is `ps.VanillaRNN(..., double_bias=False, activation=jnp.tanh)`. Transposed convolutions that
    are not padded, with a stride, have larger outputs in Sonnet by default; the weights are equal.

    Give the module itself, after its first call. Its layers are then named by the attributes that
    hold them, as in "mlp/layers/0", and are in the order of creation. The names of the variables
    themselves are not unique: those of two Linears of one module may both be "linear/w:0", and a
    dict by name then lacks one of them. Nor is their order that of creation.

    Args:
      weights: the module, or a dict of arrays, such as `{v.name: v.numpy()}` if these names are
        unique.
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
        SONNET, weights, f, rng, example, names=names, check=check, check_args=check_args
    )


def to_sonnet(
    variables: Any,
    f: Any,
    rng: Any,
    *example: Any,
    like: Any,
    names: Names | None = None,
) -> Any:
    """Converts params and state to the variables of a Sonnet 2 model; the inverse of `from_sonnet`.

    >>> import jax, jax.numpy as jnp, numpy as np, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> like = {"linear/w:0": np.ones([3, 2]), "linear/b:0": np.ones(2)}
    >>> arrays = ps.convert.to_sonnet(params, f, jax.random.key(0), x, like=like)
    >>> bool((arrays["linear/w:0"] == params["linear"]["w"]).all())
    True

    Args:
      variables: what `init` returned, or what `from_sonnet` did.
      f: what one of the transforms returned.
      rng: the random key for `init`.
      *example: the other arguments of `init`; arrays may be `jax.ShapeDtypeStruct`s.
      like: as `weights` in `from_sonnet`.
      names: see `from_torch`.

    Returns:
      A list of arrays in the order of `like.variables`, each for the `assign` of its variable; or
      a dict if `like` is one.

    Raises:
      ConversionError: layers have no match.
    """
    return convert_to(SONNET, variables, f, rng, example, like=like, names=names)
