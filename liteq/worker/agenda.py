"""What must be done again and again, and when each is due next."""

from __future__ import annotations

from collections.abc import Callable

from liteq.clock import Clock

__all__ = ["Agenda", "Duty"]

TOGETHER = 0.01
"""Seconds by which a duty is done early to save a wake-up of its own."""

Duty = Callable[[], float]
"""Does something that is due; returns the seconds until it is due again."""


class Agenda:
    """Duties and the times at which they are due, on the monotonic clock.

    Args:
        clock: tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[Duty, float] = {}

    def set(self, duty: Duty, wait: float = 0.0) -> None:
        """Let a duty be due in so many seconds, whenever it was due before."""
        self._due[duty] = self._clock.monotonic() + wait

    @property
    def next_due(self) -> float:
        """When the next duty is due."""
        return min(self._due.values())

    def do_due(self) -> None:
        """Do every duty that is due; one that raises stays due, and those behind it come before it then."""
        for duty, due in list(self._due.items()):
            if due > self._clock.monotonic() + TOGETHER:
                continue
            try:
                wait = duty()
            except BaseException:
                self._due[duty] = self._due.pop(duty)
                raise
            self.set(duty, wait)

    def postpone(self, wait: float) -> None:
        """Let nothing be due for so many seconds."""
        for duty in self._due:
            self.set(duty, wait)
