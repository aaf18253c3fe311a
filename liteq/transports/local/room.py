"""Room on the disk: blocks that are really there, and how much is left."""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["NO_ROOM", "allocate", "free_space", "is_full"]

NO_ROOM = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""What the system says when a disk, its inodes or a user's share of it are used up."""

_PROBE = 64 * 1024
_CHUNK = 1024 * 1024
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


def allocate(fd: int, size: int, fill: Callable[[int], bytes] = bytes) -> None:
    """Give a file blocks for its first `size` bytes, and that length if it is shorter.

    A file that was only made longer has holes. To write into a hole through a mapping is a SIGBUS when the
    disk is full, and a hole takes no room that could be given up.

    Args:
        fd: the file, open for writing.
        size: bytes.
        fill: makes so many bytes, where the file system finds blocks only for what is written; zeros.

    Raises:
        OSError: there is no room; the file may have become longer all the same.
    """
    about = os.fstat(fd)
    if about.st_size >= size and getattr(about, "st_blocks", size) * 512 >= size:
        return
    if not _find_blocks(fd, size):
        _write(fd, about.st_size, size, fill)


def _find_blocks(fd: int, size: int) -> bool:
    """Let the file system find the blocks; False if it cannot do that by itself."""
    if sys.platform != "linux":
        return False
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def _write(fd: int, start: int, end: int, fill: Callable[[int], bytes]) -> None:
    os.lseek(fd, start, os.SEEK_SET)
    while start < end:
        start += os.write(fd, fill(min(_CHUNK, end - start)))


def free_space(folder: Path) -> int:
    """Return how many bytes this user may still write on the folder's disk; quotas are not known here."""
    if sys.platform == "win32":
        # Imported here because it is slow to import.
        import shutil

        return shutil.disk_usage(folder).free
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize


def is_full(folder: Path) -> bool:
    """Tell whether a small file finds no room in a folder; it is tried, so ask after an error only."""
    probe = folder / f".liteq-{secrets.token_hex(8)}"
    try:
        fd = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        return error.errno in NO_ROOM
    try:
        allocate(fd, _PROBE)
    except OSError as error:
        return error.errno in NO_ROOM
    else:
        return False
    finally:
        os.close(fd)
        probe.unlink()
