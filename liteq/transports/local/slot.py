"""Where a worker publishes which job it runs: a few bytes of a mapped file, no database write.

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

from liteq.job import Running
from liteq.transports.local.room import allocate
from liteq.transports.local.sidefile import open_existing, open_side_file

__all__ = ["FileSlot", "read_slot"]

_LAYOUT = struct.Struct("=qqdd")
"""seq, token (0: nothing runs), since and deadline (0: none) on the monotonic clock."""
_NOTHING = _LAYOUT.pack(0, 0, 0.0, 0.0)


class FileSlot:
    """The slot of a worker in this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        fd = open_side_file(path)
        try:
            os.ftruncate(fd, 0)
            allocate(fd, _LAYOUT.size)
            self._map = mmap.mmap(fd, _LAYOUT.size)
        finally:
            os.close(fd)
        self._map[:] = _NOTHING

    def begin(self, seq: int, token: int, deadline: float | None) -> None:
        """Publish that this job starts now."""
        _LAYOUT.pack_into(self._map, 0, seq, token, time.monotonic(), deadline or 0.0)

    def clear(self) -> None:
        """Publish that nothing runs."""
        self._map[:] = _NOTHING

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
        content = os.read(fd, _LAYOUT.size + 1) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return None
    finally:
        os.close(fd)
    if len(content) != _LAYOUT.size:
        return None
    seq, token, since, deadline = _LAYOUT.unpack(content)
    return Running(seq, token, since, deadline or None) if token else None
