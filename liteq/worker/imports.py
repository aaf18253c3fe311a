"""Importing what a worker runs: task modules, and the application that a command line names."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from liteq.app.conf import QueueSettings
from liteq.app.guard import importing
from liteq.errors import ImportGuardError, WorkerError
from liteq.task import Task
from liteq.worker.config import TaskModule

__all__ = ["import_tasks", "load_app", "settings_on"]

App = TypeVar("App")


def import_tasks(modules: Iterable[TaskModule]) -> None:
    """Import modules for the tasks that they register.

    Each one's root folder is put in front of the import path if it is not on it. While they are imported,
    nothing can be enqueued.

    Raises:
        ImportGuardError: a module enqueues or starts workers when it is imported.
        WorkerError: a module cannot be imported; says which, where and why.
    """
    for module in modules:
        _put_on_path(module.root)
        _import(module.module, module.directory or None)


def load_app(target: str, kind: type[App]) -> App:
    """Import an application by its name, with the working directory on the import path.

    Args:
        target: `package.module`, where the module has one such object, or `package.module:attribute`.
        kind: what to look for: `liteq.Queue`.

    Raises:
        ImportGuardError: the module enqueues or starts workers when it is imported.
        WorkerError: the module cannot be imported, or which object is meant is not clear.
    """
    name, _, attribute = target.partition(":")
    _put_on_path(str(Path.cwd()))
    _import(name, None)
    namespace = vars(sys.modules[name])
    found = {key: value for key, value in namespace.items() if isinstance(value, kind)}
    if attribute:
        return _named(target, name, attribute, found)
    if len({id(value) for value in found.values()}) == 1:
        return next(iter(found.values()))
    if not found:
        raise WorkerError(f"Module {name!r} has no {kind.__name__}; name the module that makes it.")
    choices = ", ".join(f"{name}:{key}" for key in found)
    raise WorkerError(f"Module {name!r} has more than one {kind.__name__}; name one of {choices}.")


def settings_on(url: str, tasks: Mapping[str, Task[..., Any]]) -> QueueSettings | None:
    """Return the settings that the tasks' own queue has, if it is on the store of that URL."""
    for task in tasks.values():
        own = task.store.settings
        if os.path.realpath(own.url) == os.path.realpath(url):
            return own
    return None


def _named(target: str, module: str, attribute: str, found: dict[str, App]) -> App:
    if attribute in found:
        return found[attribute]
    choices = ", ".join(f"{module}:{key}" for key in found)
    hint = f"; there is {choices}" if found else ""
    raise WorkerError(f"{target!r} names no queue: {module!r} has none under {attribute!r}{hint}.")


def _put_on_path(folder: str) -> None:
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)


def _import(name: str, directory: str | None) -> None:
    try:
        with importing(directory):
            importlib.import_module(name)
    except ImportGuardError:
        raise
    # SystemExit too: a script that ends itself when it is imported is no reason to end without a word.
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise WorkerError(f"Module {name!r} cannot be imported{_place(error)}: {reason}") from error


def _place(error: BaseException) -> str:
    """Return where an import went wrong, leaving out the import machinery's own frames."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f" ({error.filename}, line {error.lineno})"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        machinery = frame.filename.startswith("<frozen importlib") or frame.filename in _OWN_FILES
        if not machinery:
            return f" ({frame.filename}, line {frame.lineno})"
    return ""


_OWN_FILES = (__file__, importlib.__file__)
