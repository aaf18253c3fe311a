"""Keeps a task module from starting work while a worker imports it.

A script without an `if __name__ == "__main__":` guard would enqueue its jobs again each time that a
worker imports it for its tasks. While `importing` is active, everything that enqueues or starts workers
asks `refuse_while_importing` first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from liteq.errors import ImportGuardError

__all__ = ["base_directory", "importing", "refuse_while_importing"]

_depth = 0
_directory: str | None = None


@contextmanager
def importing(directory: str | None = None) -> Iterator[None]:
    """Refuse to enqueue or to start workers, in this whole process, until the block ends.

    Args:
        directory: where relative queue paths start while the block runs: the working directory of the
            program that registered the tasks. None for this process's own working directory.
    """
    global _depth, _directory
    before = _directory
    _depth += 1
    _directory = directory
    try:
        yield
    finally:
        _depth -= 1
        _directory = before


def base_directory() -> str:
    """Return the absolute folder in which relative queue paths start now."""
    return _directory if _directory is not None else os.getcwd()  # noqa: PTH109 (a plain str is wanted)


def refuse_while_importing(action: str) -> None:
    """Raise ImportGuardError if a worker is importing task modules; `action` names what was asked for."""
    if not _depth:
        return
    raise ImportGuardError(
        f"{_module_being_imported()} calls {action} when it is imported, and a worker is importing it for "
        f'its tasks. Put the call under `if __name__ == "__main__":` or in a function; nothing was stored.'
    )


def _module_being_imported() -> str:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            return f"Module {frame.f_globals.get('__name__')!r}"
        frame = frame.f_back
    return "A task module"
