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

__all__ = ["full", "translate", "translate_system", "translated"]

# Windows knows no quota of this name.
NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


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
    if name.startswith("SQLITE_CANTOPEN"):
        return StoreUnavailableError(
            f"{path}: cannot be opened; check that the folder exists and is writable."
        )
    if name.startswith("SQLITE_NOTADB"):
        return NotAQueueError(f"{path}: not a SQLite database, so it cannot be a queue; choose another path.")
    if name.startswith("SQLITE_CORRUPT"):
        return NotAQueueError(f"{path}: the database is damaged ({error}); run `liteq doctor {path.name}`.")
    return StoreError(f"{path}: {error} ({name or type(error).__name__}).")


def translate_system(error: OSError, path: Path) -> StoreError:
    """Return the error of ours that says what an error of the system means for this file."""
    said = f"{path}: {error.strerror or error} ({error.filename})."
    if error.errno in NO_SPACE:
        return full(path)
    if error.errno == errno.EIO:
        return StoreError(f"{said} The disk, or what it is attached by, may be failing.")
    return StoreUnavailableError(
        f"{said} A queue's file, and the folder that it is in, must be writable for this user."
    )


def full(path: Path) -> StoreFullError:
    """Return the error that says that there is no room for what was to be written to this file."""
    return StoreFullError(f"{path}: the disk is full; nothing was stored. Free some space and try again.")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise what SQLite or the system raises inside the block as an error of ours."""
    try:
        yield
    except LiteqError:
        raise
    except (sqlite3.Error, OSError) as error:
        raise translate(error, path) from error
