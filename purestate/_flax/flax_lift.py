"""A module of flax inside a transformed function. Needs flax."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.errors
import flax.linen as nn

from purestate._core import trace_guard
from purestate._core.collection import Bundle
from purestate._core.errors import ArgumentError
from purestate._core.frame import Frame, get_frame
from purestate._core.module import Module
from purestate._core.rng import maybe_next_rng_key
from purestate._core.variables import current_name
from purestate._flax.flax_collections import FlaxCollection, flatten_flax_to_haiku, nest_haiku_to_flax


class FlaxRngsError(ArgumentError, flax.errors.InvalidRngError):
    """`rngs` is not a dict of keys by name."""


def lift(mod: nn.Module, *, name: str) -> Callable[..., Any]:
    """Makes a module of flax one of purestate, which can be called in a transformed function.

    Its parameters come under its name, and the variables of its other collections become state, under its name and
    that of their collection. `init` makes them with the next key. All collections are mutable.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     x = ps.experimental.flax.lift(nn.Dense(8), name="dense")(x)
    ...     return ps.experimental.flax.lift(nn.BatchNorm(use_running_average=False), name="norm")(x)
    >>> params, state = ps.transform_with_state(f).init(jax.random.key(0), jnp.ones([4, 3]))
    >>> sorted(params), sorted(state)
    (['dense/~', 'norm/~'], ['norm/batch_stats/~'])

    Args:
      mod: a module of flax.
      name: the name of the module here.

    Returns:
      A module that is called as `mod` is by its `apply`, without variables: the keys of flax, such as that of
      `nn.Dropout`, are given by name, `rngs={"dropout": ps.next_rng_key()}`.

    Raises:
      FrameError: used outside a transformed function.
    """
    get_frame("`ps.experimental.flax.lift`")
    return _LiftedFlaxModule(mod, name)


class _LiftedFlaxModule(Module):
    """Keeps the variables of a module of flax in the frame, under its own path."""

    def __init__(self, flax_module: nn.Module, name: str):
        super().__init__(name=name)
        self.flax_module = flax_module
        self.lift_prefix = self.module_name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        frame = get_frame("A module of flax")
        path = current_name()
        trace_guard.check_strictly(frame.trace_state, "A module of flax", path)
        try:
            if frame.running_init:
                self._init(frame, path, args, kwargs)
            variables = _variables_under(path, frame)
            changed: Any
            out, changed = self.flax_module.apply(variables, *args, **kwargs, mutable=set(variables) - {"params"})
        except flax.errors.FlaxError as error:
            error.add_note(f"This came up in the module of flax that is lifted as {path!r}.")
            raise
        _keep(changed, path, frame, is_initial=False)
        return out

    def _init(self, frame: Frame, path: str, args: Any, kwargs: dict[str, Any]) -> None:
        if "rngs" in kwargs:
            rngs = kwargs["rngs"]
            if not isinstance(rngs, Mapping):
                raise FlaxRngsError(
                    f"rngs, given to {path!r}, has to be a dict of random keys by name, such as "
                    f'{{"dropout": ps.next_rng_key()}}, and not a {type(rngs).__name__}.'
                )
            rngs: Any = dict(rngs)
            key = None if "params" in rngs else maybe_next_rng_key()
            if key is not None:
                rngs["params"] = key
            kwargs = {name: value for name, value in kwargs.items() if name != "rngs"}
        else:
            rngs = maybe_next_rng_key()
        # Each call makes the variables anew, as in dm-haiku: `init` returns those of the last call.
        _keep(self.flax_module.init(rngs, *args, **kwargs), path, frame, is_initial=True)


def _variables_under(path: str, frame: Frame) -> dict[str, Any]:
    """Returns what flax calls the variables, `{collection: nested dicts}`."""
    prefix = f"{path}/"
    flat: dict[str, Bundle] = {"params": {}}
    for full_path, values in frame.collections["params"].values.items():
        if full_path.startswith(prefix):
            flat["params"][full_path.removeprefix(prefix)] = values
    for full_path, values in frame.collections["state"].values.items():
        if full_path.startswith(prefix):
            flax_name, _, inner_path = full_path.removeprefix(prefix).partition("/")
            flat.setdefault(flax_name, {})[inner_path] = values
    return {flax_name: nest_haiku_to_flax(bundle) for flax_name, bundle in flat.items()}


def _keep(variables: Mapping[str, FlaxCollection], path: str, frame: Frame, *, is_initial: bool) -> None:
    """Puts variables of flax into the frame; with `is_initial` they are what `init` returns."""
    for flax_name, nested in variables.items():
        is_params = flax_name == "params"
        collection = frame.collections["params" if is_params else "state"]
        prefix = f"{path}/" if is_params else f"{path}/{flax_name}/"
        for inner_path, values in flatten_flax_to_haiku(nested).items():
            full_path = prefix + inner_path
            here = collection.values.setdefault(full_path, {})
            initial = None if collection.initial is None else collection.initial.setdefault(full_path, {})
            for name, value in values.items():
                if name in here and here[name] is value and not is_initial:
                    continue
                trace_guard.check_outlives_trace(value, frame.trace_state, f"Making or setting {name!r}", full_path)
                here[name] = value
                if initial is not None and (is_initial or name not in initial):
                    initial[name] = value
