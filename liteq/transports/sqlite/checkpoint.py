"""Keeping the WAL small.

SQLite before 3.51.3 can corrupt a file when a checkpoint races a writer, so automatic checkpoints are
off on our connections, and whoever checkpoints holds the turnstile. Every committer looks at the WAL's
size now and then and checkpoints above `WAL_LIMIT`, so that it stays bounded without any worker.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

__all__ = ["WAL_LIMIT", "Checkpointer"]

WAL_LIMIT = 16 * 1024 * 1024
"""Bytes above which a committer checkpoints."""
LOOK_AFTER = 64
"""Rows written between looks at the WAL's size, which cost 3 µs; small rows make about 1 MB of it."""


class Checkpointer:
    """Decides when to checkpoint; used only by who holds the turnstile."""

    def __init__(self, database: Path) -> None:
        self._wal = os.fspath(database) + "-wal"
        self._next = WAL_LIMIT
        self._unseen = 0

    def wal_size(self) -> int:
        """Return the size of the WAL in bytes; `journal_size_limit` makes it shrink after a checkpoint."""
        try:
            return os.stat(self._wal).st_size  # noqa: PTH116  # a Path would cost three times as much here
        except FileNotFoundError:
            return 0

    def after_commit(self, connection: sqlite3.Connection, rows: int) -> None:
        """Checkpoint if the WAL has grown past its limit; `rows` is how many were written, about."""
        self._unseen += rows
        if self._unseen < LOOK_AFTER:
            return
        self._unseen = 0
        size = self.wal_size()
        if size < WAL_LIMIT:
            self._next = WAL_LIMIT
        elif size >= self._next:
            # The commit stands whatever comes of this; the next committer tries again.
            with contextlib.suppress(sqlite3.Error):
                self.run(connection)
            # If a reader kept frames from being moved, the file goes on growing: try again only after
            # it has grown by as much, not at every commit.
            self._next = size + WAL_LIMIT

    def run(self, connection: sqlite3.Connection) -> None:
        """Move as much of the WAL into the database as readers allow.

        When all of it has been moved, the next writer starts the WAL from its beginning.
        """
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
