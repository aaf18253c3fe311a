"""What SQLite and the operating system say, in liteq's words."""

from __future__ import annotations

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

__all__ = ["translate", "translated"]


def translate(error: sqlite3.Error, path: Path) -> StoreError:
    """Return the error of ours that says what SQLite's error means for this file."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreBusyError(
            f"{path}: locked by another program for longer than busy_timeout. A connection of yours may hold "
            "a write transaction open on this file; commit it."
        )
    if name.startswith("SQLITE_FULL"):
        return StoreFullError(f"{path}: the disk is full; nothing was stored. Free some space and try again.")
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


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise what SQLite or the system raises inside the block as an error of ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except OSError as error:
        if isinstance(error, LiteqError):
            raise
        raise StoreUnavailableError(
            f"{path}: {error.strerror or error} ({error.filename}). "
            "A queue's file, and the folder that it is in, must be writable for this user."
        ) from error
