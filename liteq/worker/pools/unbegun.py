"""Jobs that were given to a crew and have not begun, because what should begin them is held up.

A coroutine that computes for long, or blocks, keeps the event loop from beginning others. What was claimed
for it meanwhile goes back after a moment, as it does in a process that runs one job after the other, and no
more is claimed for it until it goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from liteq.clock import Clock
from liteq.worker.pools.run import Run

__all__ = ["BEGIN_WITHIN", "Unbegun"]

BEGIN_WITHIN = 1.0
"""Seconds in which a job begins that was given to a crew; then it goes back."""


class Unbegun:
    """What was given to a crew and has not begun.

    `passed` is called by the crew, all else by one other thread.

    Args:
        clock: tells monotonic time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._given: deque[tuple[float, Run]] = deque()
        self._taken_back: set[Run] = set()

    @property
    def is_stalled(self) -> bool:
        """Whether the crew has not come to what was taken back from it."""
        return bool(self._taken_back)

    def rest(self, longest: float) -> float:
        """Return the seconds until something is to be taken back unless it begins, or a lesser `longest`."""
        while self._given and self._given[0][1].is_taken:
            self._given.popleft()
        if not self._given:
            return longest
        return min(longest, max(0.0, self._given[0][0] + BEGIN_WITHIN - self._clock.monotonic()))

    def add(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Note what is given to the crew now, and return it."""
        now = self._clock.monotonic()
        self._given.extend((now, run) for run in runs)
        return runs

    def take_back(self, also_new: bool = False) -> list[Run]:
        """Take back what has waited for too long, or all; none of it begins any more."""
        until = self._clock.monotonic() - BEGIN_WITHIN
        taken = []
        while self._given and (also_new or self._given[0][0] <= until):
            _, run = self._given.popleft()
            # Before it is taken, for the crew may come to it at once.
            self._taken_back.add(run)
            if run.take():
                taken.append(run)
            else:
                self._taken_back.discard(run)
        return taken

    def passed(self, run: Run) -> bool:
        """Note that the crew has come to something that was taken back; tell whether that was the last."""
        self._taken_back.discard(run)
        return not self._taken_back
