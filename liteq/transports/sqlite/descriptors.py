"""Whether the descriptors that SQLite writes through are still what they were.

A program can close any descriptor of its process, by number: those who turn into a daemon close all of them,
and one that is closed twice by mistake may be somebody else's by then. The next file that the process opens
gets the number, and SQLite, which cannot know, would write pages of the queue into it, commit into nothing,
and at the end take itself for the last user of the file and remove its WAL.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from liteq.errors import DescriptorsLostError

__all__ = ["Hold"]

CANARY_NUMBER = 200
"""Above the numbers that most programs come to, so that nobody takes the place of one that was closed."""

Identity = tuple[int, int]


class Hold:
    """A process's hold on one queue's files; made before SQLite opens them.

    Attributes:
        probe: raises OSError once somebody has closed descriptors in a row; takes a fifth of a microsecond.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = _open_numbers()
        self._vital: dict[int, Identity] = {}
        self._guards = False
        # A descriptor that nobody uses: whoever closes all others closes it as well.
        self._canary = _open_high()
        self.probe: Callable[[], object] = partial(os.get_inheritable, self._canary)

    def watch(self, number: int | None = None) -> None:
        """Note what is to stay as it is: this descriptor, or those of the queue that were opened since."""
        if number is not None:
            about = os.fstat(number)
            self._vital[number] = about.st_dev, about.st_ino
        else:
            files = [f"{self._path}{suffix}" for suffix in ("", "-wal", "-shm")]
            self._vital |= _opened_since(self._before, files)

    def guard(self) -> None:
        """Look at every one of them in each `check` from now on, which then takes some microseconds."""
        self._guards = True

    def check(self) -> None:
        """Refuse to write through descriptors that may lead elsewhere.

        Raises:
            DescriptorsLostError: some were closed, or (with `guard`) one was replaced.
        """
        try:
            self.probe()
        except OSError:
            raise self._lost() from None
        if self._guards and not self._are_same():
            raise self._lost()

    def is_lost(self) -> bool:
        """Tell whether any was closed or replaced."""
        try:
            self.probe()
        except OSError:
            return True
        return not self._are_same()

    def close(self) -> None:
        """Let go of what is its own; idempotent."""
        canary, self._canary = self._canary, -1
        if canary >= 0:
            os.close(canary)

    def _are_same(self) -> bool:
        try:
            for number, identity in self._vital.items():
                about = os.fstat(number)
                if (about.st_dev, about.st_ino) != identity:
                    return False
        except OSError:
            return False
        return True

    def _lost(self) -> DescriptorsLostError:
        return DescriptorsLostError(
            f"{self._path}: descriptors of the queue were closed or replaced by other code in this process "
            "(os.closerange, the start of a daemon, a descriptor closed twice). Nothing more is stored here."
        )


def _open_high() -> int:
    low = os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    if sys.platform == "win32":
        return low
    import fcntl

    # Refused where so many descriptors are not allowed.
    with contextlib.suppress(OSError):
        high: int = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, CANARY_NUMBER)
        os.close(low)
        return high
    return low


def _open_numbers() -> set[int]:
    """Return the numbers of all descriptors that are open; none where the system cannot say."""
    try:
        listed = {int(name) for name in os.listdir("/dev/fd")}  # noqa: PTH208  # names, not paths
    except (OSError, ValueError):
        return set()
    # The list names the descriptor that it was read through as well, which is the next one to be given out.
    return {number for number in listed if _is_open(number)}


def _is_open(number: int) -> bool:
    try:
        os.get_inheritable(number)
    except OSError:
        return False
    return True


def _opened_since(before: set[int], files: Iterable[str]) -> dict[int, Identity]:
    """Return the descriptors of these files that were not open before, each with what it leads to."""
    wanted = {_identity(partial(os.stat, file)) for file in files}
    found = {number: _identity(partial(os.fstat, number)) for number in _open_numbers() - before}
    return {number: identity for number, identity in found.items() if identity and identity in wanted}


def _identity(look: Callable[[], os.stat_result]) -> Identity | None:
    try:
        about = look()
    except OSError:
        return None
    return about.st_dev, about.st_ino
