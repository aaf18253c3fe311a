"""Whether the queue's file and what stands beside it are still what this process has open."""

from __future__ import annotations

import os
import time
from pathlib import Path

from liteq.errors import StoreReplacedError
from liteq.transports.sqlite.trouble import translate_system
from liteq.transports.sqlite.turnstile import Turnstile

__all__ = ["Identity"]

INTERVAL = 1.0
"""Seconds between looks at what stands beside the file; one at each use would cost `delay()` 3 µs more."""
COMPANIONS = ("-wal", "-shm")
STOP = "Stop all its programs and start them again"


class Identity:
    """What the file, its companions and its side folder were when they were opened.

    Args:
        path: the file, symbolic links resolved; open in SQLite, so that its companions are there.
        turnstile: open in the side folder, for which it stands.
    """

    def __init__(self, path: Path, turnstile: Turnstile) -> None:
        self._file = os.fspath(path)
        self._turnstile = turnstile
        self._known = _identity(self._look(self._file))
        names = [self._file + ending for ending in COMPANIONS]
        self._companions = [(name, _identity(self._look(name))) for name in names]
        self._look_around_at = 0.0

    def check(self, settling: bool = False) -> None:
        """Refuse to go on where a write would go nowhere, or without the locks that others hold.

        Args:
            settling: leases protect what is to be written; the loss of the side folder is no obstacle then.

        Raises:
            StoreReplacedError: what is open here is not what the paths lead to.
        """
        about = self._look(self._file)
        if _identity(about) != self._known:
            raise StoreReplacedError(
                f"{self._file}: the queue's file was replaced by another while in use. "
                "Start this program again."
            )
        if not about.st_size:
            raise StoreReplacedError(
                f"{self._file}: the queue's file was emptied while in use. {STOP}, "
                "with a backup if there is one."
            )
        if time.monotonic() >= self._look_around_at:
            self._look_around(settling)

    def _look_around(self, settling: bool) -> None:
        for name, known in self._companions:
            if _identity(self._look(name)) != known:
                raise StoreReplacedError(
                    f"{name}: a part of the queue's file was replaced by another while in use. {STOP}."
                )
        if self._turnstile.is_in_place():
            self._look_around_at = time.monotonic() + INTERVAL
        elif not settling:
            raise StoreReplacedError(
                f"{self._file}.liteq: this folder was deleted or replaced while in use, and with it the "
                f"locks that all programs of this queue share. {STOP}."
            )

    def _look(self, name: str) -> os.stat_result:
        try:
            return os.stat(name)  # noqa: PTH116  # a Path would cost a microsecond more for every job
        except FileNotFoundError:
            raise StoreReplacedError(
                f"{name}: the queue's file was deleted while in use. Stop all its programs, put it "
                "back if you can, and start them again."
            ) from None
        except OSError as error:
            raise translate_system(error, Path(name)) from error


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino
