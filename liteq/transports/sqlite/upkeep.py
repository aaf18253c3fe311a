"""What the maintainer does for the file and its side folder: checkpoints, the reserve, what the dead left."""

from __future__ import annotations

import contextlib

from liteq.errors import StoreFullError
from liteq.transports.sqlite import registry
from liteq.transports.sqlite.checkpoint import KEPT_WAL
from liteq.transports.sqlite.connection import Database
from liteq.transports.sqlite.lives import Lives
from liteq.transports.sqlite.reserve import Reserve

__all__ = ["Upkeep"]

TIDY_INTERVAL = 60.0
"""Seconds between looks for side files that the dead have left behind."""


class Upkeep:
    """The care of one queue's file, as far as its storage needs it.

    Args:
        database: the file.
        lives: which workers live.
        reserve: room on the disk.
    """

    def __init__(self, database: Database, lives: Lives, reserve: Reserve) -> None:
        self._database = database
        self._lives = lives
        self._reserve = reserve
        self._checkpointed = 0
        self._tidied_at = -TIDY_INTERVAL

    def tend(self, now: float) -> None:
        """Do what is due."""
        self._checkpoint()
        self._reserve.keep()
        if not 0 <= now - self._tidied_at < TIDY_INTERVAL:
            self._tidied_at = now
            self._tidy()

    def _checkpoint(self) -> None:
        with self._database.read() as connection:
            changes = connection.execute("PRAGMA data_version").fetchone()[0]
        # At `normal` nothing but a checkpoint syncs, and a power cut is to lose about a second at most.
        unsynced = self._database.durability == "normal"
        overgrown = self._database.wal_size() > KEPT_WAL
        if changes != self._checkpointed and (unsynced or overgrown):
            # On a full disk it has at least synced the WAL before it found no room in the database.
            with contextlib.suppress(StoreFullError):
                checkpointed = self._database.checkpoint()
                if checkpointed is not None:
                    self._checkpointed = checkpointed

    def _tidy(self) -> None:
        with self._database.read() as connection:
            records = registry.list_workers(connection, self._database.side)
            lives = registry.life_names(connection)
        self._lives.tidy({record.holder for record in records}, lives)
