"""Which application is the current one, and which task runs here: `current_app` and `current_task`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from liteq.calls.request import current

__all__ = [
    "Proxy",
    "app_or_default",
    "applications",
    "current_app",
    "current_task",
    "set_current",
    "set_default_maker",
    "shared",
]


class _State:
    def __init__(self) -> None:
        self.current: Any = None
        self.make_default: Callable[[], Any] | None = None


_state = _State()
applications: WeakSet[Any] = WeakSet()
"""Every application that is alive in this process."""
shared: list[Callable[[Any], Any]] = []
"""What each application is to do to have the shared tasks."""


def set_current(app: Any) -> None:
    """Make an application the current one, in all threads."""
    _state.current = app


def set_default_maker(make: Callable[[], Any]) -> None:
    """Say how the application of a program is made that makes none."""
    _state.make_default = make


def app_or_default(app: Any = None) -> Any:
    """Return the application, or the current one."""
    if app is not None:
        return app
    if _state.current is None:
        assert _state.make_default is not None
        _state.current = _state.make_default()
    return _state.current


class Proxy:
    """Stands for what a function returns at the time of each use.

    Args:
        find: the function.
    """

    __slots__ = ("__dict__", "_find")

    def __init__(self, find: Callable[[], Any]) -> None:
        object.__setattr__(self, "_find", find)

    def _get_current_object(self) -> Any:
        return object.__getattribute__(self, "_find")()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._get_current_object(), name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call what it stands for."""
        return self._get_current_object()(*args, **kwargs)

    def __bool__(self) -> bool:
        return bool(self._get_current_object())

    def __eq__(self, other: object) -> bool:
        """Compare what it stands for."""
        other = other._get_current_object() if isinstance(other, Proxy) else other
        return bool(self._get_current_object() == other)

    def __hash__(self) -> int:
        return hash(self._get_current_object())

    def __repr__(self) -> str:
        return repr(self._get_current_object())


def _running_task() -> Any:
    running = current()
    if running is None:
        return None
    name = running.request.task
    own = [] if _state.current is None else [_state.current]
    for app in [*own, *applications]:
        if name in app.known_tasks:
            return app.known_tasks[name]
    return None


current_app: Any = Proxy(app_or_default)
"""The application that was made last, unless it was made with `set_as_current=False`."""
current_task: Any = Proxy(_running_task)
"""The task whose job runs in this thread; false outside of any."""
