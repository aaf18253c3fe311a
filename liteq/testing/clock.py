"""A clock that only tests move."""

from __future__ import annotations

import threading

from liteq.errors import ConfigurationError

__all__ = ["ManualClock"]


class ManualClock:
    """The manual twin of `liteq.clock.SystemClock`: time passes when a test says so.

    Usable from any thread.

    Args:
        wall: the UTC time at which it starts, in seconds since the epoch.
        monotonic: what its monotonic clock starts with, in seconds.
    """

    def __init__(self, wall: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()

    def wall(self) -> float:
        """Return the UTC time in seconds since the epoch."""
        with self._lock:
            return self._wall

    def monotonic(self) -> float:
        """Return seconds on the clock that never goes back."""
        with self._lock:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass at once, so that a test never sleeps."""
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Let time pass: both clocks go forward by that many seconds.

        Raises:
            ConfigurationError: `seconds` is negative; only `step` moves a clock back.
        """
        if seconds < 0:
            raise ConfigurationError(f"Time cannot pass by {seconds} s; step() sets the wall clock back.")
        with self._lock:
            self._wall += seconds
            self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back by that many seconds, as an administrator or NTP may."""
        with self._lock:
            self._wall += seconds
