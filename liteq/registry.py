"""The tasks of a queue by name, and those of every queue in this process."""

from __future__ import annotations

from typing import Any, Protocol
from weakref import WeakSet

from liteq.app.naming import definition_of, nearest
from liteq.errors import DuplicateTaskError, UnknownTaskError
from liteq.task import Task
from liteq.urls import is_same_place

__all__ = [
    "Latecomer",
    "Registry",
    "all_registries",
    "await_latecomers",
    "collect_tasks",
    "expect",
    "find_task",
]

_registries: WeakSet[Registry] = WeakSet()


class Registry:
    """The tasks of one queue.

    Attributes:
        tasks: the tasks by name.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, Task[..., Any]] = {}
        _registries.add(self)

    def add(self, task: Task[..., Any]) -> None:
        """Add a task; one that runs the same definition again takes the earlier one's place.

        Raises:
            DuplicateTaskError: another function has this name.
        """
        known = self.tasks.get(task.name)
        if known is not None and definition_of(known.fn) != definition_of(task.fn):
            raise DuplicateTaskError(
                f"Two tasks are named {task.name!r}: {_place(known.fn)} and {_place(task.fn)}. "
                f"Rename one, or give it a name of its own: @q.task(name='...')."
            )
        self.tasks[task.name] = task

    def get(self, name: str) -> Task[..., Any]:
        """Return a task by name.

        Raises:
            UnknownTaskError: there is none; the message names the nearest known one.
        """
        task = self.tasks.get(name)
        if task is None:
            raise UnknownTaskError(f"No task is named {name!r} here.{nearest(name, self.tasks)}")
        return task


class Latecomer(Protocol):
    """An application that makes its queue, and registers its tasks there, only when somebody needs them."""

    def finalize(self) -> object:
        """Register them now, if that has not been done."""


_latecomers: WeakSet[Latecomer] = WeakSet()


def expect(application: Latecomer) -> None:
    """Let an application register its tasks before anybody asks which ones there are."""
    _latecomers.add(application)


def await_latecomers() -> None:
    """Let all of them register their tasks and declare their schedules."""
    for application in list(_latecomers):
        application.finalize()


def all_registries() -> list[Registry]:
    """Return the registry of every queue that is alive in this process."""
    await_latecomers()
    return list(_registries)


def collect_tasks(url: str, prefer: Registry | None = None) -> dict[str, Task[..., Any]]:
    """Return the tasks of every queue in this process by name.

    Where two queues have a task of one name, that of a queue on this store is taken, and of two such queues
    that of one with a key: else it would be left to chance whether jobs are encrypted and signatures checked.

    Args:
        url: the store whose jobs are to be run.
        prefer: whose tasks are taken before all others.
    """
    tasks: dict[str, Task[..., Any]] = {}
    for registry in all_registries():
        for name, task in registry.tasks.items():
            if name not in tasks or _rank(task, url) > _rank(tasks[name], url):
                tasks[name] = task
    if prefer is not None:
        tasks.update(prefer.tasks)
    return tasks


def find_task(name: str, url: str, prefer: Registry | None = None) -> Task[..., Any] | None:
    """Return the task that `collect_tasks` would return under a name; None if there is none."""
    if prefer is not None and name in prefer.tasks:
        return prefer.tasks[name]
    found = [registry.tasks[name] for registry in all_registries() if name in registry.tasks]
    return max(found, key=lambda task: _rank(task, url), default=None)


def _rank(task: Task[..., Any], url: str) -> tuple[bool, bool]:
    settings = task.store.settings
    return is_same_place(settings.url, url), settings.protection.is_on


def _place(function: Any) -> str:
    code = getattr(function, "__code__", None)
    if code is None:
        return repr(function)
    return f"{function.__qualname__} ({code.co_filename}, line {code.co_firstlineno})"
