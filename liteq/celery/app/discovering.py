"""Imports the modules that a worker needs: those that are named, and `tasks` of packages."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from liteq.errors import ConfigurationError
from liteq.worker.config import TaskModule
from liteq.worker.imports import import_tasks

__all__ = ["import_modules", "related_modules"]


def import_modules(names: Iterable[str]) -> None:
    """Import modules for the tasks that they register.

    Raises:
        ConfigurationError: not the name of a module.
        WorkerError: a module cannot be imported; says which, where and why.
    """
    for name in dict.fromkeys(names):
        if not isinstance(name, str):
            raise ConfigurationError(f"include takes the names of modules, not {name!r}.")
        import_tasks([TaskModule(name, "", "")])


def related_modules(
    packages: Iterable[str] | Callable[[], Iterable[str]], related_name: str | None
) -> Iterator[str]:
    """Yield the module of that name of each package that has one.

    Args:
        packages: the packages, or a function that returns them.
        related_name: the module's name; None for the packages themselves.
    """
    found: Any = packages() if callable(packages) else packages
    for package in found:
        if related_name is None:
            yield package
            continue
        import_modules([package])
        name = f"{package}.{related_name}"
        if (
            hasattr(importlib.import_module(package), "__path__")
            and importlib.util.find_spec(name) is not None
        ):
            yield name
