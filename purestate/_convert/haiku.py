"""`from_haiku` and `to_haiku`."""

from collections.abc import Callable
from typing import Any

from purestate._convert.convert import finish, parts_of
from purestate._convert.moving import as_parts, as_values
from purestate._convert.report import ConversionReport, Converted
from purestate._convert.targets import model_of


def from_haiku(
    variables: Any,
    f: Any,
    rng: Any,
    *example: Any,
    check: Callable[..., Any] | Any = None,
    check_args: tuple[Any, ...] | None = None,
) -> Converted:
    """Checks that params and state of dm-haiku are those of a model; nothing is converted.

    >>> import jax, jax.numpy as jnp, haiku as hk, purestate as ps
    >>> theirs = hk.transform(lambda x: hk.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> weights = theirs.init(jax.random.PRNGKey(0), x)
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> params, state, report = ps.convert.from_haiku(
    ...     weights, f, jax.random.key(0), x, check=lambda x: theirs.apply(weights, None, x)
    ... )
    >>> report.difference
    0.0

    Args:
      variables: params, or the pair of params and state.
      f: what one of the transforms returned.
      rng: the random key for `init`.
      *example: the other arguments of `init`; arrays may be `jax.ShapeDtypeStruct`s.
      check: see `from_torch`.
      check_args: see `from_torch`.

    Returns:
      Params, state and a `ConversionReport`.

    Raises:
      ConversionError: a name or a shape is not that of the model, or the outputs differ.
      UnverifiedWarning: as a warning, without `check`.
    """
    model = model_of("from_haiku", f, rng, example)
    parts = as_parts(model, as_values(model, parts_of(f, variables)))
    paths = [target.path for target in model.targets]
    report = ConversionReport(tuple(((path,), (path,), "equal names") for path in paths))
    args = example if check_args is None else check_args
    return finish("from_haiku", f, rng, args, parts, report, check, stacklevel=3)


def to_haiku(variables: Any, f: Any, rng: Any, *example: Any) -> Any:
    """Checks that params and state are those of a model, and returns them: dm-haiku reads them.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> x = jnp.ones([1, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> ps.convert.to_haiku(params, f, jax.random.key(0), x) is params
    True

    Args:
      variables: what `init` returned.
      f: what one of the transforms returned.
      rng: the random key for `init`.
      *example: the other arguments of `init`.

    Returns:
      `variables`.

    Raises:
      ConversionError: a name or a shape is not that of the model.
    """
    model = model_of("to_haiku", f, rng, example)
    as_values(model, parts_of(f, variables))
    return variables
