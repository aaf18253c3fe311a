"""Where the tasks are: the modules that `-A` names, or those that are recorded in the queue's file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from liteq.cli.target import is_module
from liteq.errors import ConfigurationError, WorkerError
from liteq.transport import Transport
from liteq.worker.config import TaskModule

__all__ = ["named_modules", "recorded_modules"]


def named_modules(names: Sequence[str]) -> tuple[TaskModule, ...]:
    """Return the modules of `-A`, to be imported with the working directory on the import path.

    Raises:
        ConfigurationError: not the name of a module.
    """
    for name in names:
        if not is_module(name):
            hint = " An application with a colon is a TARGET." if ":" in name else ""
            raise ConfigurationError(f"-A takes a module, such as shop.tasks, not {name!r}.{hint}")
    folder = str(Path.cwd())
    return tuple(TaskModule(name, folder, folder) for name in names)


def recorded_modules(transport: Transport) -> tuple[TaskModule, ...]:
    """Return the modules that have registered their tasks in the queue's file.

    Raises:
        WorkerError: there are none; somebody else may have written them; or one has been in two folders.
    """
    origins = transport.origins()
    if not origins:
        raise WorkerError(
            f"No task has been registered in {transport.url} yet; say where the tasks are: -A MODULE."
        )
    if not getattr(transport, "trusted", False):
        raise WorkerError(
            f"{transport.url} can be written by others than this user, so the modules that it names are not "
            "imported; say where the tasks are: -A MODULE."
        )
    found = dict.fromkeys(TaskModule(each.module, each.root, each.directory) for each in origins)
    roots: dict[str, set[str]] = {}
    for module in found:
        roots.setdefault(module.module, set()).add(module.root)
    # A project that was moved leaves its old folder behind in the record of tasks not enqueued since.
    kept = [each for each in found if len(roots[each.module]) == 1 or Path(each.root).is_dir()]
    places: dict[str, str] = {}
    for each in kept:
        if places.setdefault(each.module, each.root) != each.root:
            raise WorkerError(
                f"Tasks of a module {each.module!r} were registered from {places[each.module]} and from "
                f"{each.root}, and one process cannot import both; change to one of them and use "
                f"-A {each.module}."
            )
    return tuple(kept)
