"""Waiting out what passes: a full disk, a busy write lock, a server that does not serve."""

from __future__ import annotations

from collections.abc import Callable

from liteq.clock import Clock
from liteq.errors import StoreBusyError, StoreFullError, StoreUnreachableError
from liteq.worker.log import LOGGER

__all__ = ["Patience"]

FIRST_BACK_OFF = 0.1
LAST_BACK_OFF = 2.0
TELL_EVERY = 30.0
"""Seconds between two lines about one lasting trouble of the store."""


class Patience:
    """Tries again what a store in passing trouble has refused, and tells of it once in a while.

    Args:
        clock: tells monotonic time, and sleeps.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tell_at: float | None = None

    def until(
        self, over: Callable[[], bool], step: Callable[[], None], failure: Callable[[], BaseException | None]
    ) -> None:
        """Repeat a step until it is over; one that the store has refused must have lost nothing.

        Args:
            over: tells whether to stop.
            step: what to do again and again.
            failure: returns what is to be raised instead of the next step, if anything is.
        """
        delay = 0.0
        while not over():
            error = failure()
            if error is not None:
                raise error
            try:
                step()
                if delay:
                    delay = 0.0
                    self.is_over()
            except (StoreFullError, StoreBusyError) as trouble:
                delay = min(LAST_BACK_OFF, 2 * delay) or FIRST_BACK_OFF
                self.tell(trouble)
                self._clock.sleep(delay)

    def tell(self, trouble: BaseException) -> None:
        """Say what the trouble is, unless that was said a moment ago."""
        now = self._clock.monotonic()
        if self._tell_at is None and isinstance(trouble, StoreUnreachableError):
            # The connection has said so when it began to try.
            self._tell_at = now + TELL_EVERY
        if self._tell_at is None or now >= self._tell_at:
            self._tell_at = now + TELL_EVERY
            LOGGER.warning("%s This worker tries until it can; finished work is kept.", trouble)

    def is_over(self) -> None:
        """Let the next trouble be told at once."""
        self._tell_at = None
