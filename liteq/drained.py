"""What `Queue.drain` tells of its work."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Drained"]


@dataclass(frozen=True, slots=True)
class Drained:
    """How many jobs a drain has run, how they ended, and what still waits.

    Attributes:
        ran: how many attempts ran.
        succeeded: how many of them ended their job SUCCESS.
        retried: how many of them failed, or gave their job back, and are to be tried again.
        failed: how many of them ended their job FAILURE.
        errors: what those raised, in order.
        delayed: how many jobs of known tasks wait for their time, retries among them.
        due_in: seconds, by the queue's clock, until the first delayed job of the store is due; None for none.
        unknown: how many jobs wait for a task that is not registered here.
    """

    ran: int
    succeeded: int
    retried: int
    failed: int
    errors: tuple[BaseException, ...]
    delayed: int
    due_in: float | None
    unknown: int
