"""Where a worker tells others in its process what it runs."""

from __future__ import annotations

import time

from liteq.job import Running
from liteq.transports.memory.stations import Worker

__all__ = ["MemorySlot"]


class MemorySlot:
    """Publishes what a worker runs where `MemoryTransport.running` reads it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def begin(self, seq: int, token: int, deadline: float | None) -> None:
        """Publish that this job starts now, and when it is to be killed, if ever."""
        self._worker.running = Running(seq, token, time.monotonic(), deadline)

    def clear(self) -> None:
        """Publish that nothing runs."""
        self._worker.running = None

    def close(self) -> None:
        """Publish that nothing runs; idempotent."""
        self.clear()
