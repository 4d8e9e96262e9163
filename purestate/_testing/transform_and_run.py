"""Runs a function in a frame, for tests."""

import functools
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar, overload

import jax

from purestate._core.transform import transform_with_state

P = ParamSpec("P")
R = TypeVar("R")


@overload
def transform_and_run(
    f: "Callable[P, R]",
    seed: int | None = 42,
    run_apply: "Literal[True]" = True,
    jax_transform: "Callable[..., Any] | None" = None,
    *,
    map_rng: "Callable[[Any], Any] | None" = None,
) -> "Callable[P, R]": ...
@overload
def transform_and_run(
    f: "Callable[P, R]",
    seed: int | None = 42,
    run_apply: bool = True,
    jax_transform: "Callable[..., Any] | None" = None,
    *,
    map_rng: "Callable[[Any], Any] | None" = None,
) -> "Callable[P, R | None]": ...
@overload
def transform_and_run(
    f: None = None,
    seed: int | None = 42,
    run_apply: "Literal[True]" = True,
    jax_transform: "Callable[..., Any] | None" = None,
    *,
    map_rng: "Callable[[Any], Any] | None" = None,
) -> "Callable[[Callable[P, R]], Callable[P, R]]": ...
@overload
def transform_and_run(
    f: None = None,
    seed: int | None = 42,
    run_apply: bool = True,
    jax_transform: "Callable[..., Any] | None" = None,
    *,
    map_rng: "Callable[[Any], Any] | None" = None,
) -> "Callable[[Callable[P, R]], Callable[P, R | None]]": ...
def transform_and_run(
    f: Any = None,
    seed: int | None = 42,
    run_apply: bool = True,
    jax_transform: Callable[..., Any] | None = None,
    *,
    map_rng: Callable[[Any], Any] | None = None,
) -> Any:
    """Wraps a function so that a call runs it in `init`, and then in `apply`.

    It is also a decorator with options: `@transform_and_run(run_apply=False)`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.testing.transform_and_run(lambda x: ps.Linear(2)(x).shape)(jnp.ones([1, 3]))
    (1, 2)

    Args:
      f: a function, often a test.
      seed: the seed of the key for `init`; `apply` uses the next seed. None for no keys.
      run_apply: whether to run `apply` too.
      jax_transform: a transform of `init` and `apply`, such as `jax.jit`.
      map_rng: a function of the keys, for instance to make one for each device under `jax.pmap`.

    Returns:
      A function of the arguments of `f`. It returns the result of `f` in `apply`, if that runs.
    """
    if f is None:
        return functools.partial(
            transform_and_run,
            seed=seed,
            run_apply=run_apply,
            jax_transform=jax_transform,
            map_rng=map_rng,
        )

    @functools.wraps(f)
    def run(*args: Any, **kwargs: Any) -> Any:
        keys: list[Any] = [None, None]
        if seed is not None:
            keys = [jax.random.PRNGKey(seed), jax.random.PRNGKey(seed + 1)]
            if map_rng is not None:
                keys = [map_rng(key) for key in keys]
        init, apply = transform_with_state(lambda: f(*args, **kwargs))
        if jax_transform is not None:
            init, apply = jax_transform(init), jax_transform(apply)
        params, state = init(keys[0])
        return apply(params, state, keys[1])[0] if run_apply else None

    return run
