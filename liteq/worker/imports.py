"""Importing what a worker runs: task modules, and the application that a command line names."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from liteq.app.attribution import place_of_error
from liteq.app.conf import QueueSettings
from liteq.app.guard import importing
from liteq.errors import ImportGuardError, LiteqError, WorkerError
from liteq.task import Task
from liteq.urls import is_same_place
from liteq.worker.config import TaskModule

__all__ = ["import_tasks", "load_app", "settings_on", "told"]

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

    An object with a method `__liteq_queue__` stands for the queue that this returns, with the tasks that
    workers need imported.

    Args:
        target: `package.module`, where the module has one such object, or more and one of them is called
            `app` or `celery`; a package that has none may have it in a module `celery`. Or
            `package.module:attribute`, or `package.module.attribute`.
        kind: what to look for: `liteq.Queue`.

    Raises:
        ImportGuardError: the module enqueues or starts workers when it is imported.
        WorkerError: the module cannot be imported, or which object is meant is not clear.
    """
    name, _, attribute = target.partition(":")
    _put_on_path(str(Path.cwd()))
    name, attribute = _module_and_attribute(name, attribute)
    found = _applications(name, kind)
    if not found and not attribute and _has_module(name, "celery"):
        name = f"{name}.celery"
        _import(name, None)
        found = _applications(name, kind)
    chosen = _named(target, name, attribute, found) if attribute else _only(name, found, kind)
    return chosen if isinstance(chosen, kind) else _queue_of(name, chosen)


def settings_on(url: str, tasks: Mapping[str, Task[..., Any]]) -> QueueSettings | None:
    """Return the settings that the tasks' own queue has, if it is on the store of that URL."""
    for task in tasks.values():
        own = task.store.settings
        if is_same_place(own.url, url):
            return own
    return None


def _module_and_attribute(name: str, attribute: str) -> tuple[str, str]:
    """Import the module; where it is none, its last part may be an attribute of the module before it."""
    try:
        _import(name, None)
    except WorkerError as error:
        cause = error.__cause__
        module, _, last = name.rpartition(".")
        is_missing = isinstance(cause, ModuleNotFoundError) and cause.name == name
        if attribute or not is_missing or not hasattr(sys.modules.get(module), last):
            raise
        return module, last
    return name, attribute


def _has_module(package: str, name: str) -> bool:
    if not _is_package(package):
        return False
    with _wording_errors(package, None):
        return importlib.util.find_spec(f"{package}.{name}") is not None


def _applications(module: str, kind: type[Any]) -> dict[str, Any]:
    """Return what stands for an application in a module, by its names there."""
    return {
        key: value
        for key, value in vars(sys.modules[module]).items()
        if isinstance(value, kind) or hasattr(type(value), _STANDS_FOR)
    }


def _only(module: str, found: dict[str, Any], kind: type[Any]) -> Any:
    if len({id(value) for value in found.values()}) == 1:
        return next(iter(found.values()))
    if not found:
        package = module.removesuffix(".celery")
        looked = f"{package} or {package}.celery" if _is_package(package) else module
        makers = " or ".join(_makers(package, kind))
        raise WorkerError(
            f"There is no application ({kind.__name__} or Celery object) in {looked}; name the module that "
            f"makes it{makers and f', which seems to be {makers}'}."
        )
    for usual in _USUAL_NAMES:
        if usual in found:
            return found[usual]
    choices = ", ".join(f"{module}:{key}" for key in found)
    raise WorkerError(f"Module {module!r} has more than one {kind.__name__}; name one of {choices}.")


def _is_package(module: str) -> bool:
    return hasattr(sys.modules.get(module), "__path__")


def _makers(package: str, kind: type[Any]) -> list[str]:
    """Return the modules of a package that make an application, as far as their texts tell."""
    call = re.compile(rf"^\w+\s*=.*\b(?:{kind.__name__}|Celery)\(", re.MULTILINE)
    found = []
    for folder in getattr(sys.modules.get(package), "__path__", ()):
        for file in sorted(Path(folder).glob("*.py")):
            with suppress(OSError):
                if call.search(file.read_text(encoding="utf-8", errors="replace")):
                    found.append(f"{package}.{file.stem}")
    return found


def _queue_of(module: str, application: Any) -> Any:
    """Return the queue that an application stands for, made ready for workers."""
    try:
        with importing():
            return getattr(application, _STANDS_FOR)()
    except LiteqError:
        raise
    except Exception as error:
        raise WorkerError(f"{application!r} of {module!r} cannot be used{told(error)}") from error


_STANDS_FOR = "__liteq_queue__"
_USUAL_NAMES = ("app", "celery")
"""What an application is called where a module has several."""


def _named(target: str, module: str, attribute: str, found: dict[str, Any]) -> Any:
    if attribute in found:
        return found[attribute]
    choices = ", ".join(f"{module}:{key}" for key in found)
    hint = f"; there is {choices}" if found else ""
    raise WorkerError(f"{target!r} names no queue: {module!r} has none under {attribute!r}{hint}.")


def _put_on_path(folder: str) -> None:
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)


def _import(name: str, directory: str | None) -> None:
    with _wording_errors(name, directory):
        importlib.import_module(name)


@contextmanager
def _wording_errors(name: str, directory: str | None) -> Iterator[None]:
    """Let nothing be enqueued in the block, and say what went wrong in it as one sentence."""
    try:
        with importing(directory):
            yield
    except ImportGuardError:
        raise
    # SystemExit too: a script that ends itself when it is imported is no reason to end without a word.
    except (Exception, SystemExit) as error:
        raise WorkerError(f"Module {name!r} cannot be imported{told(error)}") from error


def told(error: BaseException) -> str:
    """Return where something went wrong, and what, as the end of a sentence."""
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    place = place_of_error(error)
    return f": {reason}" if place is None else f" ({place}): {reason}"
