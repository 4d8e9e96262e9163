"""Runs a flax module inside a transformed function. Needs flax."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.errors
import flax.linen as nn

from purestate._core import trace_guard
from purestate._core.collection import Bundle
from purestate._core.current import current_name
from purestate._core.errors import ArgumentError, kind_of
from purestate._core.frame import Frame, get_frame
from purestate._core.module import Module
from purestate._core.rng import maybe_next_rng_key
from purestate._flax.flax_collections import (
    FlaxCollection,
    flatten_flax_to_haiku,
    nest_haiku_to_flax,
)
from purestate._lifted.lift import keep_variables


class FlaxRngsError(ArgumentError, flax.errors.InvalidRngError):
    """`rngs` is not a dict of keys by name."""

    def __reduce__(self) -> Any:  # flax's makes a FlaxError of it
        return type(self), self.args


def lift(mod: nn.Module, *, name: str) -> Callable[..., Any]:
    """Returns a purestate module that runs a flax module.

    Its parameters are under its name. The variables of its other collections become state, under
    its name and the name of their collection. `init` makes them with the next key. All collections
    are mutable.

    >>> import flax.linen as nn, jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     x = ps.experimental.flax.lift(nn.Dense(8), name="dense")(x)
    ...     norm = nn.BatchNorm(use_running_average=False)
    ...     return ps.experimental.flax.lift(norm, name="norm")(x)
    >>> params, state = ps.transform_with_state(f).init(jax.random.key(0), jnp.ones([4, 3]))
    >>> sorted(params), sorted(state)
    (['dense/~', 'norm/~'], ['norm/batch_stats/~'])

    Args:
      mod: a flax module.
      name: the name of the purestate module.

    Returns:
      A module. It takes the arguments of `mod.apply`, without the variables. Pass the keys that
      flax needs, such as for `nn.Dropout`, by name: `rngs={"dropout": ps.next_rng_key()}`.

    Raises:
      FrameError: used outside a transformed function.
    """
    get_frame("`ps.experimental.flax.lift`")
    return _LiftedFlaxModule(mod, name)


class _LiftedFlaxModule(Module):
    """Keeps the variables of a flax module in the frame, under its own path."""

    def __init__(self, flax_module: nn.Module, name: str):
        super().__init__(name=name)
        self.flax_module = flax_module
        # For hooks of purestate functions that run inside the flax module.
        self.prefix_name = self.module_name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        frame = get_frame("A flax module")
        path = current_name()
        trace_guard.check_strictly(frame.home.trace, "A flax module", path)
        try:
            if frame.running_init:
                self._init(frame, path, args, kwargs)
            variables = _variables_under(path, frame)
            changed: Any
            out, changed = self.flax_module.apply(
                variables, *args, **kwargs, mutable=set(variables) - {"params"}
            )
        except flax.errors.FlaxError as error:
            error.add_note(f"This came up in the flax module that is lifted as {path!r}.")
            raise
        _keep(changed, path, frame)
        return out

    def _init(self, frame: Frame, path: str, args: Any, kwargs: dict[str, Any]) -> None:
        if "rngs" in kwargs:
            rngs = kwargs["rngs"]
            if not isinstance(rngs, Mapping):
                raise FlaxRngsError(
                    f"The argument rngs of {path!r} must be a dict of random keys by name, such"
                    f' as {{"dropout": ps.next_rng_key()}}, but is {kind_of(rngs)}.'
                )
            rngs: Any = dict(rngs)
            key = None if "params" in rngs else maybe_next_rng_key()
            if key is not None:
                rngs["params"] = key
            kwargs = {name: value for name, value in kwargs.items() if name != "rngs"}
        else:
            rngs = maybe_next_rng_key()
        variables = self.flax_module.init(rngs, *args, **kwargs)
        # Each call makes new variables, as in dm-haiku: `init` returns those of the last call.
        _keep(variables, path, frame, first=True)


def _variables_under(path: str, frame: Frame) -> dict[str, Any]:
    """Returns the variables as flax has them, `{collection: nested dicts}`."""
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


def _keep(
    variables: Mapping[str, FlaxCollection], path: str, frame: Frame, first: bool = False
) -> None:
    """Stores variables of flax, `{collection: nested dicts}`, in the frame."""
    for flax_name, nested in variables.items():
        collection, prefix = (
            ("params", f"{path}/") if flax_name == "params" else ("state", f"{path}/{flax_name}/")
        )
        keep_variables(
            frame, frame.collections[collection], flatten_flax_to_haiku(nested), prefix, first=first
        )
