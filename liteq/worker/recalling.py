"""What comes before killing a process whose pool can interrupt its jobs: it is asked to do so itself."""

from __future__ import annotations

from liteq.clock import Clock
from liteq.worker.process import WorkerProcess

__all__ = ["RECALL_FOR", "Recalls"]

RECALL_FOR = 1.0
"""Seconds that the jobs of such a process get to end after they were interrupted."""


class Recalls:
    """The processes that were asked to interrupt what they run.

    Args:
        clock: tells monotonic time.
        seconds: how long a process gets after it was asked; 0 to ask none.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._asked: dict[WorkerProcess, float] = {}

    def is_over(self, process: WorkerProcess) -> bool:
        """Ask a process at the first call; tell whether it has had its time."""
        if not self._seconds:
            return True
        now = self._clock.monotonic()
        if process not in self._asked:
            self._asked[process] = now
            process.ask_to_recall()
        return now - self._asked[process] >= self._seconds
