"""Hooks that belong to no `with` block: those of each frame, when it begins.

This stands in for a place in the core that does not exist yet, and so changes two classes of it from outside, when
the first policy is set.
"""

from collections.abc import Callable
from typing import Any

from purestate._core import hooks as core_hooks
from purestate._core.frame import ActiveFrame, Frame, ambient

_Adapt = Callable[[tuple[Any, ...]], tuple[Any, ...]]
_adapters: list[_Adapt] = []


def add_frame_hooks(adapt: _Adapt) -> None:
    """Has `adapt(hooks) -> hooks` choose the hooks of each frame that begins from here on."""
    if not _adapters:
        _change_core()
    if adapt not in _adapters:
        _adapters.append(adapt)


def refit_hooks() -> None:
    """Chooses the hooks of the running frame again."""
    frames, hooks = ambient.get()
    if frames:
        ambient.set((frames, _adapted(hooks)))


def _adapted(hooks: tuple[Any, ...]) -> tuple[Any, ...]:
    for adapt in _adapters:
        hooks = adapt(hooks)
    return hooks


def _change_core() -> None:
    active_hooks: Any = core_hooks._ActiveHooks  # pyright: ignore[reportPrivateUsage]
    exit_hooks = active_hooks.__exit__

    def enter_frame(self: ActiveFrame) -> Frame:
        frames, hooks = ambient.get()
        self.token = ambient.set(((*frames, self.frame), _adapted(hooks)))
        return self.frame

    def exit_and_refit(self: Any, *exc_info: object) -> None:
        exit_hooks(self, *exc_info)
        refit_hooks()

    ActiveFrame.__enter__ = enter_frame
    active_hooks.__exit__ = exit_and_refit
