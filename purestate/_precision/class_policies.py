"""Setting the policy of a class of modules."""

import contextlib
import warnings
from collections.abc import Generator
from typing import Any

from purestate._core.frame import ambient
from purestate._core.module import Module
from purestate._precision.casting import start_casting
from purestate._precision.errors import PolicyError
from purestate._precision.policy import PolicyLike
from purestate._precision.policy_registry import Pushed, key_of, policy_of, put_policy


def set_policy(cls: type[Module], policy: PolicyLike) -> None:
    """Gives all modules of a class a policy.

    From then on all methods of these modules, and `__init__`, get their arguments in the policy's
    compute dtype and return results in its output dtype. Their parameters, and those of the modules
    they use, are made in its params dtype, and read, as state is, in its compute dtype. A module
    with a policy of its own follows that one.

    Subclasses do not inherit a policy. Functions that `jax.jit` compiled before do not change.

    A policy set in the main thread holds in all threads. A policy set in another thread holds only
    in that thread, and overrides that of the main thread. (In dm-haiku a policy of the main thread
    holds only there.)

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> half = "params=float32,compute=bfloat16,output=float32"
    >>> policy = ps.mixed_precision.get_named_policy(half)
    >>> ps.mixed_precision.set_policy(ps.nets.MLP, policy)
    >>> f = ps.transform(lambda x: ps.nets.MLP([8, 2])(x))
    >>> params = f.init(jax.random.key(0), jnp.ones([4, 3]))
    >>> ps.mixed_precision.clear_policy(ps.nets.MLP)
    >>> str(params["mlp/~/linear_0"]["w"].dtype)
    'float32'

    Args:
      cls: a class of modules.
      policy: a `Policy`, or one of jmp's.

    Raises:
      PolicyError: `policy` is not a policy, or `cls` not a class.
    """
    _check(cls, policy)
    put_policy(cls, policy)
    start_casting()


def get_policy(cls: type[Module]) -> PolicyLike | None:
    """Returns the policy that a class was given; see `current_policy` for the one in force.

    >>> import purestate as ps
    >>> print(ps.mixed_precision.get_policy(ps.Linear))
    None

    Args:
      cls: a class of modules.

    Returns:
      The policy, or None without one.

    Raises:
      PolicyError: `cls` is not a class.
    """
    _check_class(cls)
    return policy_of(cls)


def clear_policy(cls: type[Module]) -> None:
    """Takes the policy of a class away, if it has one.

    >>> import purestate as ps
    >>> ps.mixed_precision.clear_policy(ps.Linear)

    Args:
      cls: a class of modules.

    Raises:
      PolicyError: `cls` is not a class.
    """
    _check_class(cls)
    put_policy(cls, None)


@contextlib.contextmanager
def push_policy(cls: type[Module], policy: PolicyLike) -> Generator[None]:
    """Gives all modules of a class a policy, inside a `with` block, only for this thread or task.

    At the end of the block the class has the policy again that it had before.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> policy = ps.mixed_precision.get_named_policy("bfloat16")
    >>> f = ps.transform(lambda x: ps.Linear(2)(x))
    >>> with ps.mixed_precision.push_policy(ps.Linear, policy):
    ...     params = f.init(jax.random.key(0), jnp.ones([1, 3]))
    >>> str(params["linear"]["w"].dtype)
    'bfloat16'

    Args:
      cls: a class of modules.
      policy: a `Policy`, or one of jmp's.

    Yields:
      None.

    Raises:
      PolicyError: `policy` is not a policy, `cls` not a class, or the block is in a method of a
        module of that class.
    """
    _check(cls, policy)
    frames = ambient.get()[0]
    module = frames[-1].scope.module if frames else None
    if module is not None and key_of(type(module)) == key_of(cls):
        raise PolicyError(
            f"A policy for {cls.__name__} was pushed in a method of {module.module_name!r}, which"
            " is one itself: half of the method would go by one policy and half by another. Push it"
            " around the call of the method."
        )
    pushed = Pushed(cls, policy)
    start_casting()
    try:
        yield
    finally:
        pushed.pop()


def _check_class(cls: object) -> None:
    if not isinstance(cls, type):
        raise PolicyError(
            f"A policy belongs to a class of modules, such as ps.Linear, and not to {cls!r}. For a"
            " single module, derive a class from its class and give that class the policy."
        )


def _check(cls: Any, policy: Any) -> None:
    _check_class(cls)
    if policy is None:
        raise PolicyError(
            f"None is not a policy. `ps.mixed_precision.clear_policy({cls.__name__})` takes a"
            " policy away."
        )
    missing = [
        name
        for name in ("param_dtype", "cast_to_compute", "cast_to_output")
        if not hasattr(policy, name)
    ]
    if missing:
        raise PolicyError(
            f"{policy!r} is not a policy: it has no {', '.join(missing)}. Make one with"
            ' `ps.mixed_precision.get_named_policy("params=float32,compute=bfloat16,'
            'output=float32")`.'
        )
    if cls is Module:
        warnings.warn(
            "A policy of ps.Module itself changes nothing, since classes do not inherit policies."
            " Give it to the class of the outermost module: it holds for the modules used in that"
            " one too.",
            stacklevel=3,
        )
