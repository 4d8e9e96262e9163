"""What a transformed function can ask of its own run: names, mode, and all variables at once."""

from purestate._core.collection import Bundle
from purestate._core.creation import shielded
from purestate._core.frame import ambient, get_frame
from purestate._core.naming import path_here


def get_params() -> Bundle:
    """Returns a copy of the parameters that there are so far, of all modules.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     y = ps.Linear(1)(x)
    ...     return y + sum((p**2).sum() for p in jax.tree.leaves(ps.get_params()))
    >>> ps.transform(f).init(jax.random.key(0), jnp.ones([1, 1])).keys()
    dict_keys(['linear'])

    Returns:
      `{module: {name: array}}`.

    Raises:
      FrameError: used outside a transformed function.
    """
    return shielded(get_frame("`ps.get_params`").collections["params"].values)


def get_initial_state() -> Bundle:
    """Returns a copy of the state as it was when `apply` began, or when first made.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def f():
    ...     ps.get_state("n", [], init=jnp.zeros)
    ...     ps.set_state("n", jnp.ones([]))
    ...     return ps.get_initial_state(), ps.get_current_state()
    >>> (first, last), _ = ps.transform_with_state(f).apply({}, None, None)
    >>> float(first["~"]["n"]), float(last["~"]["n"])
    (0.0, 1.0)

    Returns:
      `{module: {name: value}}`.

    Raises:
      FrameError: used outside a transformed function.
    """
    initial = get_frame("`ps.get_initial_state`").collections["state"].initial
    return shielded(initial or {})


def get_current_state() -> Bundle:
    """Returns a copy of the state as it is now; see `get_initial_state`.

    >>> import purestate as ps
    >>> ps.transform(ps.get_current_state).apply({}, None)
    {}

    Returns:
      `{module: {name: value}}`.

    Raises:
      FrameError: used outside a transformed function.
    """
    return shielded(get_frame("`ps.get_current_state`").collections["state"].values)


def current_name() -> str:
    """Returns the path of the module that is running, `"~"` outside any module.

    >>> import purestate as ps
    >>> ps.transform(ps.current_name).apply({}, None)
    '~'

    Returns:
      The path, such as `"mlp/~/linear_0"`.

    Raises:
      FrameError: used outside a transformed function.
    """
    frame = get_frame("`ps.current_name`")
    return path_here(frame, frame.scope)


def running_init() -> bool:
    """Returns whether it is `init` that runs, and not `apply`.

    >>> import purestate as ps
    >>> ps.transform(ps.running_init).apply({}, None)
    False

    Returns:
      True in `init`.

    Raises:
      FrameError: used outside a transformed function.
    """
    return get_frame("`ps.running_init`").running_init


def lift_prefix() -> str | None:
    """The prefix that lifting modules put before the names of their inner function's parameters."""
    frames = ambient.get()[0]
    if not frames[-1].running_init:
        return None
    prefixes = [
        frame.scope.module.prefix_name
        for frame in frames
        if getattr(frame.scope.module, "prefix_name", None)
    ]
    return "/".join(prefixes) + "/" if prefixes else None
