"""One place for a worker process, and when it is filled again after a process has ended."""

from __future__ import annotations

from liteq.clock import Clock
from liteq.worker.config import WorkerConfig
from liteq.worker.process import WorkerProcess

__all__ = ["Position"]

FIRST_DELAY = 0.1
LONGEST_DELAY = 10.0
LONG_LIFE = 5.0
"""Seconds; a process that lived for longer starts the back-off anew."""
STILLBIRTHS = 3
"""After this many processes that ended before they were ready, there is no point in another."""


class Position:
    """Holds one worker process at a time.

    Attributes:
        config: what its processes are told.
        process: the one that runs now; None between two.
        starts_at: when the next may start, on the monotonic clock.
        is_ready: whether a process has registered here.
    """

    def __init__(self, config: WorkerConfig, clock: Clock) -> None:
        self.config = config
        self.process: WorkerProcess | None = None
        self.starts_at = clock.monotonic()
        self.is_ready = False
        self._clock = clock
        self._early_ends = 0
        self._stillborn = 0
        self._registered = False

    def welcome(self) -> None:
        """Note that the process has registered."""
        self.is_ready = self._registered = True
        self._stillborn = 0

    @property
    def never_lived(self) -> bool:
        """Whether one process after the other ended before it was ready."""
        return self._stillborn >= STILLBIRTHS

    def mourn(self, *, expected: bool) -> float:
        """Note that the process has ended; return the seconds until the next may start.

        The first unexpected end costs no wait: it was the job's fault more often than the process's.
        """
        now = self._clock.monotonic()
        lived = now - self.process.started if self.process else 0.0
        if not self._registered:
            self._stillborn += 1
        self._registered = False
        self.process = None
        self._early_ends = 0 if expected or lived > LONG_LIFE else self._early_ends + 1
        delay = 0.0
        if self._early_ends > 1:
            delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (self._early_ends - 2))
        self.starts_at = now + delay
        return delay
