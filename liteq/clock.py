"""The time port: wall time, monotonic time and sleeping, behind one small protocol.

Wall time (UTC, seconds since the epoch) is what is stored. Waits use the monotonic clock, which no
clock step moves. `liteq.testing.ManualClock` is the twin that tests turn by hand.
"""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """What the engine asks about time."""

    def wall(self) -> float:
        """Return the UTC time in seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back; comparable between processes of one boot."""

    def sleep(self, seconds: float) -> None:
        """Block for that many seconds."""


class SystemClock:
    """The machine's own clocks."""

    wall = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)
