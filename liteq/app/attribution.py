"""Which code declares something, so that it is known when that code declares it no more.

A declaration belongs to the module that makes it while it is imported: whoever imports that module, and does
not find the declaration made again, knows that it is gone. One that is made later, or by a script that is
run, perhaps under its `__main__` guard, is made again by that program only, and so it belongs to the module
as that program runs it.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from liteq.app.naming import home_of

__all__ = [
    "Place",
    "declaring_from",
    "declaring_place",
    "is_loaded",
    "module_of",
    "place_of_error",
    "same_place",
]

_NOBODY = "-"
"""The program of what is typed in, which does not come again."""


_MACHINERY = (importlib.__file__, contextlib.__file__)
"""What is between the user's code and the code that it imports."""

_pinned: list[Place] = []


class Place(NamedTuple):
    """Where something was declared.

    Attributes:
        file: the file.
        line: the line.
        owner: to whom it belongs: `module@folder`, and, if only one program declares it, a newline and that
            program's file.
        run: tells one execution of the module from the next.
    """

    file: str
    line: int
    owner: str
    run: object = None

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


def declaring_place(is_asked: bool = False) -> Place:
    """Return where in the user's code, outside liteq, this was called from.

    Args:
        is_asked: the code was called for its declarations, as each program that imports it does.
    """
    if _pinned:
        return _pinned[-1]
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    if frame is None:
        return Place("<unknown>", 0, "__main__@")
    file, line, run = frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__spec__")
    importing = None if is_asked else _being_imported(frame)
    owner = _owner((importing or frame).f_globals)
    if importing is None and not is_asked:
        owner += f"\n{_program() or _NOBODY}"
    return Place(file, line, owner, run)


@contextmanager
def declaring_from(place: Place) -> Iterator[None]:
    """Let what is declared in the block have been declared at a place that was noted before."""
    _pinned.append(place)
    try:
        yield
    finally:
        _pinned.pop()


def same_place(one: Place, other: Place) -> bool:
    """Tell whether two declarations are the same lines of code.

    In a REPL or a notebook, where a cell is run again after an edit, the place does not count.
    """
    if one.file.startswith("<") or "ipykernel" in one.file:
        return one.owner == other.owner
    return (one.file, one.line) == (other.file, other.line)


def place_of_error(error: BaseException) -> str | None:
    """Return the line of the user's code in which something went wrong, `file, line n`.

    That is the innermost one outside liteq and the import machinery; None if there is none.
    """
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}, line {error.lineno}"
    place = None
    step = error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if not (_is_ours(step.tb_frame) or file.startswith("<frozen importlib") or file in _MACHINERY):
            place = f"{file}, line {step.tb_lineno}"
        step = step.tb_next
    return place


def module_of(owner: str) -> str:
    """Return the name of the module that something belongs to."""
    return owner.partition("@")[0]


def is_loaded(owner: str) -> bool:
    """Tell whether this process runs the code that something belongs to, so that it would declare it here."""
    place, _, program = owner.partition("\n")
    if program and not _is_running(program):
        return False
    module, _, root = place.partition("@")
    here = _root_here(module)
    if here is None or not root:
        return False
    # A project that was moved, and left its old folder behind in the record of what it has declared.
    return here == root or not Path(root).exists()


def _is_running(program: str) -> bool:
    """Tell whether this process runs a program, be it that its file was moved since."""
    here = _program()
    if program == here:
        return True
    # Of the same name: another program does not declare what this one did, even where it has its modules.
    moved = program != _NOBODY and Path(program).name == Path(here).name
    return moved and not Path(program).exists()


def _root_here(module: str) -> str | None:
    """Return the folder from which this process has a module, imported or as the script that it runs."""
    main = sys.modules.get("__main__")
    if main is not None:
        home = home_of("__main__", vars(main))
        if home.module == module:
            return home.root
    loaded = sys.modules.get(module)
    return None if loaded is None else home_of(module, vars(loaded)).root


def _program() -> str:
    """Return the file of the script that this process runs; nothing for none."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return str(Path(file).resolve()) if isinstance(file, str) else ""


def _is_ours(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name == "liteq" or name.startswith("liteq.")


def _owner(facts: Mapping[str, Any]) -> str:
    home = home_of(str(facts.get("__name__") or "__main__"), facts)
    return f"{home.module}@{home.root or ''}"


def _being_imported(frame: FrameType | None) -> FrameType | None:
    """Return the module, by its frame, whose import has led here; None if none has."""
    while frame is not None:
        name, facts = frame.f_globals.get("__name__"), frame.f_globals
        if frame.f_code.co_name == "<module>" and not _is_ours(frame):
            # Also what runs code given as text calls it a module, without importing any.
            is_module = name in sys.modules and vars(sys.modules[name]) is facts
            return frame if is_module and name not in ("__main__", "__mp_main__") else None
        frame = frame.f_back
    return None
