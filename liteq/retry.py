"""When an attempt that failed is tried again: Celery's retry options, as pure functions.

The back-off is Celery's (`celery.utils.time.get_exponential_backoff_interval`): `factor * 2 ** retries`
seconds, at most `retry_backoff_max`; with jitter a uniformly random whole number of seconds from 0 to
that ("full jitter", after M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["CRASH_DELAYS", "Random", "RetryPolicy", "backoff", "crash_delay"]

Random = Callable[[], float]
"""Returns a float in [0, 1), as `random.random` does."""

CRASH_DELAYS = (0.25, 2.0)
"""Seconds before a job may run again after its first, second, ... crash; the last one repeats."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A task's retry options.

    Attributes:
        max_retries: how many times a failed attempt is tried again; None for no limit.
        default_retry_delay: seconds to wait where nothing else says how long.
        autoretry_for: exception types that are retried without asking.
        dont_autoretry_for: exception types that are not, even if a type above would match.
        retry_backoff: False for `default_retry_delay`; True or a number (the factor, in seconds) for an
            exponential back-off of automatic retries.
        retry_backoff_max: the most seconds that the back-off may give.
        retry_jitter: draw the back-off's delay at random between 0 and its value.
    """

    max_retries: int | None = 3
    default_retry_delay: float = 180.0
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_backoff: bool | float = False
    retry_backoff_max: float = 600.0
    retry_jitter: bool = True

    def retries_automatically(self, error: type[BaseException]) -> bool:
        """Tell whether an exception of this type is retried without the task's asking."""
        return issubclass(error, self.autoretry_for) and not issubclass(error, self.dont_autoretry_for)

    def has_retries_left(self, retries: int, max_retries: int | None = None) -> bool:
        """Tell whether one more retry is allowed after `retries` of them.

        `max_retries` overrides the policy's own for one request, as in `self.retry(max_retries=)`.
        """
        limit = self.max_retries if max_retries is None else max_retries
        return limit is None or retries < limit

    def delay(self, retries: int, random: Random) -> float:
        """Return the seconds before the automatic retry that follows `retries` earlier ones."""
        if not self.retry_backoff:
            return self.default_retry_delay
        return backoff(
            factor=max(1.0, float(self.retry_backoff)),
            retries=retries,
            maximum=self.retry_backoff_max,
            jitter=self.retry_jitter,
            random=random,
        )


def backoff(*, factor: float, retries: int, maximum: float, jitter: bool, random: Random) -> float:
    """Return `factor * 2 ** retries` seconds, at most `maximum`; with jitter, a random part of it."""
    # 2.0 ** 1024 overflows, and long before that the maximum has won.
    delay = min(maximum, factor * 2.0 ** min(retries, 64))
    if jitter:
        delay = float(int(random() * (int(delay) + 1)))
    return max(0.0, delay)


def crash_delay(crashes: int) -> float:
    """Return the seconds before a job may run again after its `crashes`-th crash (from 1)."""
    return CRASH_DELAYS[min(crashes, len(CRASH_DELAYS)) - 1]
