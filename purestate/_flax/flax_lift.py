"""A module of flax inside a transformed function. Needs flax."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.errors
import flax.linen as nn

from purestate._core import trace_guard
from purestate._core.errors import ArgumentError
from purestate._core.frame import Frame, get_frame
from purestate._core.module import Module
from purestate._core.path import ROOT
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
    """Keeps a module of flax's variables in the frame, under its own path."""

    def __init__(self, flax_module: nn.Module, name: str):
        super().__init__(name=name)
        self.flax_module = flax_module
        self.lift_prefix = self.module_name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        frame = get_frame("A module of flax")
        current_name()  # raises where the module may not be used
        try:
            if frame.running_init:
                self._init(frame, args, kwargs)
            variables = self._variables(frame)
            collections = set(variables) - {"params"}
            out, changed = self.flax_module.apply(variables, *args, **kwargs, mutable=collections)
        except flax.errors.FlaxError as error:
            error.add_note(f"This came up in the module of flax that is lifted as {self.module_name!r}.")
            raise
        self._keep(frame, changed, is_initial=False)
        return out

    def _init(self, frame: Frame, args: Any, kwargs: Any) -> None:
        if "rngs" in kwargs:
            rngs = kwargs["rngs"]
            if not isinstance(rngs, Mapping):
                raise FlaxRngsError(
                    f"rngs, given to {self.module_name!r}, has to be a dict of random keys by name, such as "
                    f'{{"dropout": ps.next_rng_key()}}, and not a {type(rngs).__name__}.'
                )
            rngs = dict(rngs)
            key = None if "params" in rngs else maybe_next_rng_key()
            if key is not None:
                rngs["params"] = key
            kwargs = {name: value for name, value in kwargs.items() if name != "rngs"}
        else:
            rngs = maybe_next_rng_key()
        # Each call makes the variables anew, and the last one's are those that `init` returns.
        self._keep(frame, self.flax_module.init(rngs, *args, **kwargs), is_initial=True)

    def _variables(self, frame: Frame) -> dict[str, Any]:
        """Returns `{collection: nested dicts}`."""
        state = nest_haiku_to_flax(self._own(frame, "state"))
        variables = {collection: _without_root(nested) for collection, nested in state.items()}
        variables["params"] = _without_root(nest_haiku_to_flax(self._own(frame, "params")))
        return variables

    def _own(self, frame: Frame, collection: str) -> dict[str, Any]:
        prefix = f"{self.module_name}/"
        bundle = frame.collections[collection].values
        return {path.removeprefix(prefix): values for path, values in bundle.items() if path.startswith(prefix)}

    def _keep(self, frame: Frame, variables: Mapping[str, FlaxCollection], *, is_initial: bool) -> None:
        for flax_name, nested in variables.items():
            is_params = flax_name == "params"
            collection = frame.collections["params" if is_params else "state"]
            prefix = f"{self.module_name}/" if is_params else f"{self.module_name}/{flax_name}/"
            for path, values in flatten_flax_to_haiku(nested).items():
                path = prefix + path
                here = collection.values.setdefault(path, {})
                for name, value in values.items():
                    if name in here and here[name] is value:
                        continue
                    what = f"Making or setting {name!r} of a module of flax"
                    trace_guard.check_strictly(frame.trace_state, what, path)
                    trace_guard.check_outlives_trace(value, frame.trace_state, what, path)
                    here[name] = value
                    if collection.initial is not None:
                        initial = collection.initial.setdefault(path, {})
                        if is_initial or name not in initial:
                            initial[name] = value


def _without_root(nested: dict[str, Any]) -> dict[str, Any]:
    """Moves what is under "~", the variables of the outermost module, to where flax has it."""
    return {**nested.pop(ROOT, {}), **nested}
