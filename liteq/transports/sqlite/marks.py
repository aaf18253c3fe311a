"""What the file says of itself before anything is written to it: its format, and whether it was moved away.

A file that is closed because of a move has a text as its version, such as `2 moved`. Every write transaction
compares the version anyway, so that open files pay nothing for closed ones, and a liteq that knew no moves
would refuse such a file too. Where its jobs have gone stands in a row beside it.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from liteq.move_store import closed
from liteq.moving import MoveMark
from liteq.transports.sqlite.opening import wrong_version
from liteq.transports.sqlite.schema import CLOSED, READ_VERSION, VERSION, version_in

__all__ = [
    "check_answers",
    "check_version",
    "read_mark",
    "read_progress",
    "remove_mark",
    "write_mark",
    "write_progress",
]

CLOSED_VERSION = f"{VERSION}{CLOSED}"
MARK = "move"
"""The key of the row that says where to the file is moved; those of moves to it have the move's id behind."""
READ = "SELECT value FROM liteq_meta WHERE key = ?"
WRITE = (
    "INSERT INTO liteq_meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


def check_version(connection: sqlite3.Connection, path: Path, also_closed: bool = False) -> None:
    """Refuse a file that this liteq must not write to.

    Args:
        connection: in a write transaction.
        path: the file, for the message.
        also_closed: whether it may be closed.

    Raises:
        StoreMovedError: it is closed because of a move.
        StoreError: its format is not this liteq's.
    """
    cursor = connection.cursor()
    cursor.row_factory = None
    row = cursor.execute(READ_VERSION).fetchone()
    if row == (VERSION,):
        return
    if row != (CLOSED_VERSION,):
        raise wrong_version(path, version_in(row))
    if not also_closed:
        raise closed(str(path), _mark(cursor))


def check_answers(source: sqlite3.Connection | sqlite3.Cursor, path: Path) -> None:
    """Refuse to say what is to come in a closed file, or that a job is not there: the answer is elsewhere.

    Raises:
        StoreMovedError: the file is closed because of a move.
    """
    mark = read_mark(source)
    if mark is not None:
        raise closed(str(path), mark)


def read_mark(source: sqlite3.Connection | sqlite3.Cursor) -> MoveMark | None:
    """Return the mark of a closed file; None for an open one."""
    cursor = source.cursor() if isinstance(source, sqlite3.Connection) else source
    cursor.row_factory = None
    is_closed = cursor.execute(READ_VERSION).fetchone() == (CLOSED_VERSION,)
    return _mark(cursor) if is_closed else None


def write_mark(connection: sqlite3.Connection, mark: MoveMark) -> None:
    """Close the file, or change its mark."""
    connection.execute(WRITE, (MARK, json.dumps(mark)))
    connection.execute(WRITE, ("version", CLOSED_VERSION))


def remove_mark(connection: sqlite3.Connection) -> None:
    """Open the file again."""
    connection.execute("DELETE FROM liteq_meta WHERE key = ?", (MARK,))
    connection.execute(WRITE, ("version", VERSION))


def read_progress(connection: sqlite3.Connection, move_id: str) -> bytes | None:
    """Return how far a move to this file has come."""
    row = connection.execute(READ, (f"{MARK} {move_id}",)).fetchone()
    return row[0] if row is not None and isinstance(row[0], bytes) else None


def write_progress(connection: sqlite3.Connection, move_id: str, progress: bytes) -> None:
    """Store how far a move to this file has come."""
    connection.execute(WRITE, (f"{MARK} {move_id}", progress))


def _mark(cursor: sqlite3.Cursor) -> MoveMark:
    row = cursor.execute(READ, (MARK,)).fetchone()
    try:
        return MoveMark(*json.loads(row[0]))
    except (TypeError, ValueError):
        return MoveMark("", "(damaged: nobody knows where)", 0.0)
