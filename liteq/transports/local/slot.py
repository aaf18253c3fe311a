"""Where a worker publishes which job it runs, or which ones: a mapped file, no database write.

The mapping is shared memory, so that the supervisor reads it while the worker is busy in C, stopped
or dead; and it stands in a file, so that whoever recovers the worker's jobs reads it even when the
supervisor died as well.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import struct
import time
from pathlib import Path

from liteq.job import Running, foremost
from liteq.transports.local.room import allocate
from liteq.transports.local.sidefile import open_existing, open_side_file

__all__ = ["FileSlot", "read_slot"]

_LAYOUT = struct.Struct("=qqdd")
"""seq, token (0: nothing runs), since and deadline (0: none) on the monotonic clock."""
_NOTHING = _LAYOUT.pack(0, 0, 0.0, 0.0)
_MOST_BYTES = 4 * 1024 * 1024


class FileSlot:
    """The slot of a worker in this process."""

    def __init__(self, path: Path, places: int = 1) -> None:
        self._path = path
        size = _LAYOUT.size * places
        fd = open_side_file(path)
        try:
            os.ftruncate(fd, 0)
            allocate(fd, size)
            self._map = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        self._nothing = _NOTHING * places
        self._map[:] = self._nothing

    def begin(self, seq: int, token: int, deadline: float | None, place: int = 0) -> None:
        """Publish that this job starts now."""
        _LAYOUT.pack_into(self._map, place * _LAYOUT.size, seq, token, time.monotonic(), deadline or 0.0)

    def clear(self, place: int | None = None) -> None:
        """Publish that nothing runs, in that place or in any."""
        if place is None:
            self._map[:] = self._nothing
        else:
            self._map[place * _LAYOUT.size : (place + 1) * _LAYOUT.size] = _NOTHING

    def close(self) -> None:
        """Unmap and remove the file; idempotent."""
        if not self._map.closed:
            self._map.close()
            with contextlib.suppress(OSError):
                self._path.unlink()


def read_slot(path: Path) -> Running | None:
    """Read what a slot says; None if nothing runs, or if there is no such slot."""
    try:
        fd = open_existing(path)
    except OSError:
        return None
    try:
        # Not what a link leads to, nor a pipe that never ends: the folder may be shared with others.
        content = os.read(fd, _MOST_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return None
    finally:
        os.close(fd)
    places, rest = divmod(len(content), _LAYOUT.size)
    if rest:
        return None
    running = [
        Running(seq, token, since, deadline or None)
        for seq, token, since, deadline in _LAYOUT.iter_unpack(content)
        if token
    ]
    return foremost(running, places > 1)
