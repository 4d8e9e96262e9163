"""`fast_init`: `init` for large models, which computes initial values and nothing else."""

from typing import TYPE_CHECKING, Any, overload

from purestate._core.abstract import uncompiled
from purestate._core.errors import ArgumentError, MissingPackageError, kind_of
from purestate._core.initial_values import initial_values
from purestate._core.pairs import PureFunction, Transformed, TransformedWithState
from purestate._state.rolled import run_rolled
from purestate._state.transform_with_collections import TransformedWithCollections

if TYPE_CHECKING:
    from purestate._core.pairs import I


@overload
def fast_init(f: "Transformed[I, Any]", *, progress: bool = False) -> "I": ...
@overload
def fast_init(f: "TransformedWithState[I, Any]", *, progress: bool = False) -> "I": ...
@overload
def fast_init(f: "TransformedWithCollections[I, Any]", *, progress: bool = False) -> "I": ...
def fast_init(f: Any, *, progress: bool = False) -> Any:
    """Returns an `init` for large models: the same bits, without a forward pass.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.nets.MLP([8, 2])(x))
    >>> x = jax.ShapeDtypeStruct([4, 3], jnp.float32)
    >>> params = ps.fast_init(f)(jax.random.key(0), x)
    >>> params["mlp/~/linear_0"]["w"].shape
    (3, 8)

    The function is traced once, on shapes. Then the operations that lead to the initial values run
    one by one. JAX compiles an operation once for each shape, so 40 equal layers compile as fast as
    one. Under `jax.jit` equal initializers become a loop. Memory holds the variables, and the
    operands of the next one. A part of the forward pass is computed only if an initial value
    depends on it: the `average` of a `BatchNorm` is that of the first batch.

    An argument may be a `jax.ShapeDtypeStruct` if no initial value depends on its elements. What
    the function prints (`jax.debug.print`) is not printed. XLA compiles a loop as a whole, such as
    that of `layer_stack`, and may round differently if the layers' arithmetic is not in it.

    Args:
      f: what a transform returned.
      progress: whether to show how much is done, with tqdm.

    Returns:
      `init(rng, *args, **kwargs)`, which returns what `f.init` returns.

    Raises:
      ArgumentError: `f` is something else; from `init`, an initial value depends on the elements of
        a `jax.ShapeDtypeStruct`.
      MissingPackageError: `progress` is True and tqdm is not installed.
    """
    init = uncompiled(getattr(f, "init", None))
    if not isinstance(init, PureFunction):
        raise ArgumentError(
            f"`ps.fast_init` takes what a transform returned, but got {kind_of(f)}: write"
            " `ps.fast_init(ps.transform(f))`."
        )
    return _FastInit(init, progress)


class _FastInit(PureFunction):
    role = "fast_init"
    leading = ("rng",)
    about = "Returns what `init` returns."

    def _run(self, /, *args: Any, **kwargs: Any) -> Any:
        init, progress = self._made_from
        if not progress:
            return initial_values(init, args, kwargs, run_traced=run_rolled)
        with _bar() as bar:

            def report(name: str, size: int, of: int) -> None:
                bar.total = of
                bar.set_description(name, refresh=False)
                bar.update(size)

            return initial_values(init, args, kwargs, report, run_rolled)


def _bar() -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise MissingPackageError(
            "`ps.fast_init(f, progress=True)` needs tqdm. Write `pip install tqdm`, or leave"
            " `progress` out."
        ) from error
    return tqdm(unit="B", unit_scale=True)
