"""Tasks that another program has registered, known here by their names only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liteq.app.conf import TaskSettings
from liteq.app.naming import Naming, nearest
from liteq.app.store import Store
from liteq.calls.checks import check_name
from liteq.errors import NotSupportedError
from liteq.task import Task

__all__ = ["find_task", "task_elsewhere"]


def find_task(name: str, store: Store, known: Mapping[str, Task[..., Any]]) -> Task[..., Any]:
    """Return a task by its name, whether or not it is known here; raises as `task_elsewhere`."""
    return known.get(check_name("name", name)) or task_elsewhere(name, store, known)


def task_elsewhere(name: str, store: Store, known: Mapping[str, Any]) -> Task[..., Any]:
    """Return a task of which nothing is known but its name, to enqueue calls of it.

    Args:
        name: the task's name, checked.
        store: where the calls go.
        known: the tasks that are known by more than their name.

    Raises:
        NotSupportedError: an eager queue, which would have to run it.
    """
    if store.settings.eager:
        hint = nearest(name, known)
        raise NotSupportedError(
            f"An eager queue runs tasks in the caller, and no task is named {name!r} here.{hint}"
        )
    settings = TaskSettings.of({"name": name}, store.settings)
    return Task[..., Any](_elsewhere, settings, Naming(name, None), store)


def _elsewhere(*_args: Any, **_kwargs: Any) -> None:
    """Stand for the function."""
