"""Keeping the WAL small, and its space in use.

SQLite checkpoints by itself after a commit that leaves more than `WAL_LIMIT` bytes in the WAL. On our own
connections every commit happens under the turnstile, so that no writer of ours races the checkpoint, which
SQLite before 3.51.3 does not bear; so the WAL stays bounded without any worker.

A WAL that has been moved into the database is written anew from its start, in the space that it has
already. Cut short after each checkpoint, it had to grow again, and every sync of the disk then wrote the
file's new size as well: `delay()` took 260 µs instead of 145 at `full`, and 52 instead of 40 at `normal`.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

__all__ = ["KEPT_WAL", "WAL_LIMIT", "bound_wal", "checkpoint", "sync_wal", "wal_size"]

WAL_LIMIT = 8 * 1024 * 1024
"""Bytes of frames in the WAL above which a commit checkpoints."""
KEPT_WAL = WAL_LIMIT * 3 // 2
"""Bytes of space that the WAL keeps; one that a long reader made longer is cut to it."""


def bound_wal(connection: sqlite3.Connection) -> None:
    """Let a connection checkpoint at the limit; only for those whose commits happen under the turnstile."""
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_LIMIT // page_size}")
    connection.execute(f"PRAGMA journal_size_limit = {KEPT_WAL}")


def checkpoint(connection: sqlite3.Connection) -> bool:
    """Move as much of the WAL into the database as readers allow; only under the turnstile.

    When all of it has been moved, which is what this returns, everything is synced, and the next writer
    starts the WAL from its beginning.
    """
    busy, frames, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return not busy and frames == moved


def sync_wal(connection: sqlite3.Connection) -> None:
    """Sync the WAL of a connection at `normal` without moving it; only under the turnstile.

    A checkpoint that a reader keeps from moving anything syncs nothing either. A commit at `full` does, and
    all that was committed before it stands in the same file.
    """
    connection.execute("PRAGMA synchronous = FULL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        # Something has to change, or nothing is committed; an update to the same value changes nothing.
        connection.execute("INSERT INTO liteq_meta (key, value) VALUES ('synced', 1)")
        connection.execute("DELETE FROM liteq_meta WHERE key = 'synced'")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("PRAGMA synchronous = NORMAL")


def wal_size(database: Path) -> int:
    """Return the size of a database's WAL in bytes, with space that is kept for reuse."""
    try:
        return os.stat(f"{database}-wal").st_size  # noqa: PTH116  # a Path would cost three times as much here
    except FileNotFoundError:
        return 0
