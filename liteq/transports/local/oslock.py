"""A lock between processes that the operating system frees when its holder dies.

`flock` on POSIX, a locked byte on Windows: both belong to one open file, so that a second open in the
same process sees the lock as well. Importing filelock costs 120 ms and 10 MB a process, and it knows
nothing of forks; this serves where a lock is taken often, held for a process's whole life, or must not
survive in a task's own forked children.
"""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from pathlib import Path

from liteq.transports.local.sidefile import open_existing, open_side_file

__all__ = ["OsLock", "is_free"]

if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> bool:
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        # Windows calls it an error to unlock what is not locked.
        with contextlib.suppress(OSError):
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


class OsLock:
    """An exclusive lock on a file; not re-entrant, and free again when the process dies."""

    def __init__(self, path: Path) -> None:
        """Open the lock's file, creating it if need be.

        Raises:
            StoreError: it cannot be opened, or is not a plain file that may be used.
        """
        self.path = path
        self._fd = open_side_file(path)
        self.held = False
        _open_locks.add(self)

    @property
    def descriptor(self) -> int:
        """The descriptor that the lock belongs to; -1 once closed."""
        return self._fd

    def try_acquire(self) -> bool:
        """Take the lock if it is free; tell whether it is now held."""
        if not self.held:
            self.held = _try_lock(self._fd)
        return self.held

    def is_in_place(self) -> bool:
        """Tell whether its path still leads to the file that is open here; True too if nobody may look."""
        try:
            about = self.path.stat()
        except OSError as error:
            return not isinstance(error, FileNotFoundError | NotADirectoryError)
        return os.path.samestat(os.fstat(self._fd), about)

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held.

        The system is told in any case, because a signal's exception can come after it has given us the lock
        and before `held` says so.
        """
        self.held = False
        if self._fd >= 0:
            _unlock(self._fd)

    def close(self) -> None:
        """Release the lock and close its file; idempotent."""
        fd, self._fd = self._fd, -1
        self.held = False
        if fd >= 0:
            os.close(fd)


def is_free(path: Path) -> bool:
    """Tell whether nobody holds the lock on this file; a file that is not there is free.

    Raises:
        OSError: the file is a symbolic link, or may not be opened, so that there is no telling.
    """
    try:
        fd = open_existing(path)
    except FileNotFoundError:
        return True
    try:
        if not _try_lock(fd):
            return False
        _unlock(fd)
        return True
    finally:
        os.close(fd)


_open_locks: weakref.WeakSet[OsLock] = weakref.WeakSet()


def _close_inherited() -> None:
    """Let go of the parent's locks in a forked child, or a dead holder would look alive."""
    for lock in list(_open_locks):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)
