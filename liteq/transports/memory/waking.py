"""Where a worker tells others in its process what it runs."""

from __future__ import annotations

import threading
import time

from liteq.job import Running, foremost
from liteq.transports.memory.stations import Worker

__all__ = ["MemorySlot"]


class MemorySlot:
    """Publishes what a worker runs where `MemoryTransport.running` reads it."""

    def __init__(self, worker: Worker, places: int = 1) -> None:
        self._worker = worker
        self._wide = places > 1
        self._lock = threading.Lock()
        self._places: dict[int, Running] = {}

    def begin(self, seq: int, token: int, deadline: float | None, place: int = 0) -> None:
        """Publish that this job starts now, and when it is to be killed, if ever."""
        with self._lock:
            self._places[place] = Running(seq, token, time.monotonic(), deadline)
            self._publish()

    def clear(self, place: int | None = None) -> None:
        """Publish that nothing runs, in that place or in any."""
        with self._lock:
            if place is None:
                self._places.clear()
            else:
                self._places.pop(place, None)
            self._publish()

    def _publish(self) -> None:
        self._worker.running = foremost(self._places.values(), self._wide)

    def close(self) -> None:
        """Publish that nothing runs; idempotent."""
        self.clear()
