"""What SQLite and the operating system say, in liteq's words."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from liteq.errors import (
    LiteqError,
    NotAQueueError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from liteq.transports.local.room import NO_ROOM, is_full

__all__ = ["full", "overwritten", "translate", "translate_system", "translated"]


def translate(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    """Return the error of ours that says what SQLite's or the system's error means for this file."""
    if isinstance(error, OSError):
        return translate_system(error, path)
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreBusyError(
            f"{path}: locked by another program for longer than busy_timeout. A connection of yours may hold "
            "a write transaction open on this file; commit it."
        )
    # The second is what SQLite says when it cannot make its shared memory larger.
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")):
        return full(path)
    if name.startswith("SQLITE_READONLY"):
        return StoreUnavailableError(
            f"{path}: read-only. Make the file and its folder writable for this user."
        )
    # What SQLite says where a user's quota is used up, or the inodes.
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_IOERR")) and is_full(path.parent):
        return full(path)
    if name.startswith("SQLITE_CANTOPEN"):
        return StoreUnavailableError(
            f"{path}: cannot be opened; check that the folder exists and is writable."
        )
    if name.startswith("SQLITE_NOTADB"):
        return NotAQueueError(
            f"{path}: not a SQLite database, so it cannot be a queue; choose another path, or restore a "
            "backup if something has written over it."
        )
    if name.startswith("SQLITE_CORRUPT"):
        return NotAQueueError(f"{path}: the database is damaged ({error}); run `liteq doctor {path.name}`.")
    if str(error).startswith("no such table: liteq_"):
        return overwritten(path)
    return StoreError(f"{path}: {error} ({name or type(error).__name__}).")


def translate_system(error: OSError, path: Path) -> StoreError:
    """Return the error of ours that says what an error of the system means for this file."""
    if error.errno in NO_ROOM:
        return StoreFullError(
            f"{path}: the disk is full, or out of inodes: no room for {error.filename or 'a side file'}. "
            "Free some space and try again."
        )
    said = f"{path}: {error.strerror or error} ({error.filename})."
    if error.errno == errno.EIO:
        return StoreError(f"{said} The disk, or what it is attached by, may be failing.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        said += " A queue's file, and the folder that it is in, must be writable for this user."
    return StoreUnavailableError(said)


def full(path: Path) -> StoreFullError:
    """Return the error that says that there is no room for what was to be written to this file."""
    return StoreFullError(
        f"{path}: the disk is full, and what was to be written is not stored. Free some space and try again."
    )


def overwritten(path: Path) -> NotAQueueError:
    """Return the error that says that a file which was a queue is none any more."""
    return NotAQueueError(
        f"{path}: liteq's tables are not in it any more; something has written over the file. "
        "Stop all its programs and restore a backup."
    )


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise what SQLite or the system raises inside the block as an error of ours."""
    try:
        yield
    except LiteqError:
        raise
    except (sqlite3.Error, OSError) as error:
        raise translate(error, path) from error
