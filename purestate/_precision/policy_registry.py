"""Which class has which policy, here and now.

Three places are searched, the nearest first:

    the context       policies of `push_policy`, until its `with` block ends, hidden from other
                      threads and tasks
    the thread        policies of `set_policy` in a thread other than the main one
    the main thread   policies of `set_policy` there, for all threads

A context is not enough: a notebook runs each cell in a context of its own, and a policy set in one
cell must be in force in the next.
"""

import threading
from collections.abc import Hashable
from contextvars import ContextVar
from typing import Any

from purestate._core import compiled
from purestate._precision.policy import PolicyLike

# None hides what a place further out says.
_Policies = dict[Hashable, PolicyLike | None]

_of_main_thread: _Policies = {}


class _Thread(threading.local):
    def __init__(self) -> None:
        in_main_thread = threading.current_thread() is threading.main_thread()
        self.policies: _Policies = _of_main_thread if in_main_thread else {}


_thread = _Thread()
_NOTHING: _Policies = {}  # never changed in place
_pushed: ContextVar[_Policies] = ContextVar("purestate_pushed_policies", default=_NOTHING)


def key_of(cls: type[Any]) -> Hashable:
    """Returns the key of a class: its name, so that a class that is reloaded keeps its policy.

    A class made in a function is known by itself, since that function may make many of one name.
    """
    return cls if "<locals>" in cls.__qualname__ else (cls.__module__, cls.__qualname__)


def policy_of(cls: type[Any]) -> PolicyLike | None:
    """Returns the policy of a class, or None without one."""
    key = key_of(cls)
    for policies in (_pushed.get(), _thread.policies, _of_main_thread):
        if key in policies:
            return policies[key]
    return None


def put_policy(cls: type[Any], policy: PolicyLike | None) -> None:
    """Sets the policy of a class in the nearest block that has one, or for the thread.

    Args:
      cls: the class.
      policy: its policy; None to remove it.
    """
    key = key_of(cls)
    pushed = _pushed.get()
    if key in pushed:
        _pushed.set({**pushed, key: policy})
    elif policy is None and _thread.policies is _of_main_thread:
        _of_main_thread.pop(key, None)
    else:
        _thread.policies[key] = policy
    _tell_jax()


class Pushed:
    """The policy of a class in this context, from when it is made until `pop`."""

    def __init__(self, cls: type[Any], policy: PolicyLike):
        self._key = key_of(cls)
        before = _pushed.get()
        self._before = {self._key: before[self._key]} if self._key in before else {}
        _pushed.set({**before, self._key: policy})
        _tell_jax()

    def pop(self) -> None:
        # Only this class: policies set for others in the meantime stay.
        others = {key: policy for key, policy in _pushed.get().items() if key != self._key}
        _pushed.set({**others, **self._before})
        _tell_jax()


def _tell_jax() -> None:
    """Makes compiled functions depend on the policies."""
    compiled.process_depends_on("policies", _known_as(_of_main_thread))
    own = {} if _thread.policies is _of_main_thread else _thread.policies
    compiled.depends_on("policies", _known_as({**own, **_pushed.get()}))


def _known_as(policies: _Policies) -> Any:
    known = {(key, compiled.hashable(policy)) for key, policy in policies.items()}
    return frozenset(known) or None
