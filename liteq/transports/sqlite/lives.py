"""The life locks of workers: files whose lock is free exactly when their worker is dead."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Collection
from pathlib import Path

from liteq.transports.local.oslock import OsLock, is_free
from liteq.transports.sqlite.place import SideFolder

__all__ = ["Lives"]

SETTLED_AFTER = 10.0
"""Seconds; a side file younger than this may belong to a worker that is just starting."""


class Lives:
    """The life locks that this process holds, and the tidying of those that the dead left behind."""

    def __init__(self, side: SideFolder) -> None:
        self._side = side
        self._lock = threading.Lock()
        self._unnamed: dict[str, OsLock] = {}
        self._held: dict[int, OsLock] = {}

    def begin(self) -> str:
        """Take a new life lock, before its worker is registered, and return its name."""
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        lock = OsLock(self._side.life(name))
        try:
            while not lock.try_acquire():
                # Somebody looks at this very moment whether it is free.
                time.sleep(0.001)
        except OSError:
            _remove(lock.path)
            lock.close()
            raise
        with self._lock:
            self._unnamed[name] = lock
        return name

    def abandon(self, life: str) -> None:
        """Let go of a life lock whose worker could not be registered."""
        with self._lock:
            lock = self._unnamed.pop(life)
        _remove(lock.path)
        lock.close()

    def name(self, holder: int, life: str) -> None:
        """Say whose life it is."""
        with self._lock:
            self._held[holder] = self._unnamed.pop(life)

    def end(self, holder: int) -> None:
        """Let go of a worker's life lock and remove its file and slot."""
        with self._lock:
            lock = self._held.pop(holder, None)
        if lock is not None:
            _remove(lock.path)
            lock.close()
            _remove(self._side.slot(holder))

    def tidy(self, holders: Collection[int], lives: Collection[str]) -> None:
        """Remove the side files of workers that are neither registered nor alive.

        Args:
            holders: the workers that are registered or hold leases.
            lives: the names of the lives of the registered ones. Those files stay even when they are free,
                because one that is missing does not prove a death.
        """
        for entry in self._entries():
            kind, _, rest = entry.name.partition("-")
            with contextlib.suppress(OSError):
                if time.time() - entry.lstat().st_mtime < SETTLED_AFTER:
                    continue
                unknown_slot = kind == "slot" and rest.isdecimal() and int(rest) not in holders
                unknown_life = kind == "life" and rest not in lives and is_free(entry)
                if unknown_slot or unknown_life:
                    _remove(entry)

    def _entries(self) -> list[Path]:
        try:
            return sorted(self._side.path.iterdir())
        except OSError:
            return []

    def close(self) -> None:
        """Let go of all; idempotent.

        The files of those that are still registered stay: a free lock tells others that they are gone.
        """
        with self._lock:
            held, unnamed = [*self._held.values()], [*self._unnamed.values()]
            self._held.clear()
            self._unnamed.clear()
        for lock in unnamed:
            _remove(lock.path)
        for lock in (*held, *unnamed):
            lock.close()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
