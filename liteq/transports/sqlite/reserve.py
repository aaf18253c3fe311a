"""The reserve: room on the disk that is given up, part by part, so that what is settled still finds some.

It is a file in the side folder with nothing in it but blocks. When a settlement finds no room, a part of the
reserve is cut off and the settlement tried again, which by then finds as much room. Only a part, because the
rest must stay out of reach of the programs that go on trying to enqueue: they could take all of it at once.

Whoever has met the full disk claims nothing more before there is room again, because what is claimed must be
settled. The maintainer makes the reserve whole again when that leaves enough to everybody else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from liteq.errors import StoreFullError
from liteq.transports.local.room import allocate, free_space
from liteq.transports.local.sidefile import open_existing, open_side_file

__all__ = ["LOW_SPACE", "RESERVE", "Reserve"]

T = TypeVar("T")

RESERVE = 4 * 1024 * 1024
"""Bytes of the whole reserve."""
PART = 256 * 1024
"""Bytes given up at a time."""
CLAIM_ROOM = 4 * PART
"""Bytes that are free when there is room again to claim a batch and to settle it."""
LEFT_OVER = RESERVE
"""Bytes that must be left to others once the reserve is whole, so that it does not take their last ones."""
LOW_SPACE = 32 * 1024 * 1024
"""Bytes; a disk with less has no room for a burst: the WAL, what it adds to the database, and the reserve."""


class Reserve:
    """The reserve of one queue, as one process uses it.

    Args:
        path: where its file is; it may be missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_tight = False
        self._told = False

    @property
    def size(self) -> int:
        """How many bytes are there to be given up."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    # ---- on a full disk --------------------------------------------------------------------------

    def settle(self, write: Callable[[], T]) -> T:
        """Run a write that settles something; give up parts of the reserve until it finds room.

        Args:
            write: does all of it in one transaction, or raises and has done nothing.

        Raises:
            StoreFullError: not even the whole reserve made room enough.
        """
        while True:
            try:
                return write()
            except StoreFullError:
                self._is_tight = True
                if not self._give_up_part():
                    raise

    def has_room_to_claim(self) -> bool:
        """Tell whether a claim is wise; costs nothing until this process has met the full disk."""
        if self._is_tight and free_space(self._path.parent) >= CLAIM_ROOM:
            self._is_tight = False
        return not self._is_tight

    def _give_up_part(self) -> bool:
        """Cut a part off; False if nothing is left. Two who do it at once may cut off the same part."""
        try:
            fd = open_existing(self._path)
        except OSError:
            return False
        try:
            size = os.fstat(fd).st_size
            os.ftruncate(fd, max(0, size - PART))
            return size > 0
        except OSError:
            return False
        finally:
            os.close(fd)

    # ---- while there is room ---------------------------------------------------------------------

    def keep(self) -> None:
        """Make the reserve, or make it whole again, if enough is left to others; say once if it cannot be."""
        size = self.size
        if size >= RESERVE or self._grow(size):
            self._told = False
        elif not self._told:
            self._told = True
            self._tell(size)

    def _grow(self, size: int) -> bool:
        try:
            if free_space(self._path.parent) < RESERVE - size + LEFT_OVER:
                return False
            fd = open_side_file(self._path)
        except OSError:
            return False
        try:
            # Not zeros: some file systems store those in no room at all.
            allocate(fd, RESERVE, os.urandom)
        except OSError:
            os.ftruncate(fd, size)
            return False
        finally:
            os.close(fd)
        return True

    def _tell(self, size: int) -> None:
        # Imported here because those who only enqueue have no use for it.
        import logging

        logging.getLogger("liteq.transports").warning(
            "%s: the reserve for a full disk cannot be made whole (%d of %d KiB are there). On a full disk "
            "workers may be unable to store their results until there is room again; free some space.",
            self._path,
            size // 1024,
            RESERVE // 1024,
        )
