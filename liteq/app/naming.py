"""What a task is called, and where a worker in another process finds it.

A task's name is `module.function`. A script that is run directly is called by its stem, never
`__main__`, because that is the name under which a worker imports it; with `python -m` it is called by
the module's real name. What nobody else can import (a REPL, `-c`, a notebook, the `__main__.py` of a
folder that is run as such) keeps a name but has no home.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from liteq.app.guard import base_directory
from liteq.errors import ConfigurationError
from liteq.job import TaskOrigin

__all__ = ["Home", "Naming", "definition_of", "home_of", "name_task", "nearest"]

_DIRECT = ("__main__", "__mp_main__")
"""What the module of a script that is run directly is called, the second in children of multiprocessing."""


@dataclass(frozen=True, slots=True)
class Naming:
    """What a task is called and where it lives.

    Attributes:
        name: the task's name.
        origin: where a worker finds it; None where nobody else can import it.
        homeless: why there is no origin, as the end of a sentence; None where there is one.
    """

    name: str
    origin: TaskOrigin | None
    homeless: str | None = None


@dataclass(frozen=True, slots=True)
class Home:
    """Where code lives.

    Attributes:
        module: its module, as others import it.
        root: the folder that has to be on the import path for that; None where nobody else can import it.
        homeless: why, as the end of a sentence.
    """

    module: str
    root: str | None
    homeless: str | None = None


def name_task(function: Callable[..., Any], name: str | None = None) -> Naming:
    """Return what a function is called as a task, and where a worker finds it.

    Args:
        function: the function that is made a task.
        name: the name that the user gave, if any; it replaces the name, not the origin.

    Raises:
        ConfigurationError: the function has no name of its own (a lambda, a partial) and none is given.
    """
    home = _home_of(function)
    if name is None:
        own = getattr(function, "__qualname__", getattr(function, "__name__", "<unnamed>"))
        parts = [part for part in own.split(".") if part != "<locals>"]
        if not all(part.isidentifier() for part in parts):
            raise ConfigurationError(
                f"{function!r} has no name that a task could take; give it one: @q.task(name='...')."
            )
        name = ".".join((home.module, *parts))
    if home.root is None:
        return Naming(name, None, home.homeless)
    return Naming(name, TaskOrigin(name, home.module, home.root, base_directory()))


def definition_of(function: Callable[..., Any]) -> tuple[object, ...]:
    """Return what tells one definition from another: module, qualified name and place in the file.

    Running the same definition again (a reload, a factory called twice) gives the same value. In a REPL
    or a notebook, where a cell is run again after an edit, the place does not count.
    """
    inner = _unwrapped(function)
    module = getattr(function, "__module__", None)
    named = (module, getattr(function, "__qualname__", repr(function)))
    code = getattr(inner, "__code__", None)
    if code is None:
        return (*named, id(inner))
    if code.co_filename.startswith("<") or "ipykernel" in code.co_filename:
        return named
    return (*named, code.co_filename, code.co_firstlineno)


def nearest(name: str, known: Mapping[str, Any] | list[str]) -> str:
    """Return ` Did you mean 'x'?` for the name most like this one, or nothing if none is like it."""
    # Imported here because it is slow to import and seldom needed.
    from difflib import get_close_matches

    found = get_close_matches(name, list(known), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def _unwrapped(function: Callable[..., Any]) -> Any:
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        function = inner
    return function


def _home_of(function: Callable[..., Any]) -> Home:
    module = getattr(function, "__module__", None) or "__main__"
    return home_of(module, _module_facts(function, module))


def home_of(module: str, facts: Mapping[str, Any]) -> Home:
    """Return where a module lives.

    Args:
        module: its name here, such as `__main__`.
        facts: its namespace.
    """
    if module not in _DIRECT:
        return _module_home(module, facts)
    spec = facts.get("__spec__")
    if spec is not None and spec.name not in _DIRECT:
        return _module_home(spec.name, facts)
    return _script_home(facts.get("__file__"), run_as_folder=spec is not None)


def _module_facts(function: Callable[..., Any], module: str) -> Mapping[str, Any]:
    """Return the namespace of the function's module: its globals, or those of the module it names."""
    inner = _unwrapped(function)
    if isinstance(inner, FunctionType) and inner.__globals__.get("__name__") == module:
        return inner.__globals__
    return vars(sys.modules[module]) if module in sys.modules else {}


def _script_home(file: str | None, *, run_as_folder: bool) -> Home:
    if file is None or file.startswith("<"):
        reason = "it was defined in a REPL, a notebook, standard input or a `-c` string"
        return Home("__main__", None, reason)
    # Python puts the folder of the real file on the import path when a script is a symbolic link.
    path = Path(file).resolve()
    if run_as_folder or path.stem == "__main__":
        reason = f"{path} was run as a folder or archive, and has no module name of its own"
        return Home(f"{path.parent.name}.__main__", None, reason)
    if path.suffix != ".py" or "." in path.stem:
        return Home(path.stem, None, f"the script {path} cannot be imported under that file name")
    return Home(path.stem, str(path.parent))


def _module_home(module: str, facts: Mapping[str, Any]) -> Home:
    file = facts.get("__file__")
    if file is None:
        return Home(module, None, f"module {module!r} comes from no file")
    names = module.split(".")
    path = Path(file).absolute()
    place = path.parent if path.stem == "__init__" and names[-1] != "__init__" else path.with_suffix("")
    if list(place.parts[-len(names) :]) == names:
        return Home(module, str(place.parents[len(names) - 1]))
    for folder in getattr(sys.modules.get(names[0]), "__path__", ()):
        return Home(module, str(Path(folder).absolute().parent))
    return Home(module, None, f"module {module!r} was not imported from the import path ({file})")
