"""How a worker that is told to stop parts from a store that it cannot reach: soon, whatever it still has."""

from __future__ import annotations

from collections.abc import Callable

from liteq.clock import Clock
from liteq.errors import StoreUnreachableError
from liteq.worker.log import LOGGER

__all__ = ["HURRY", "PARTING", "settle_last"]

HURRY = 1.0
"""Seconds that a call waits for a store out of reach, once its process is to stop."""
PARTING = 3.0
"""Seconds after which a worker that is to stop tries no longer to store what it has finished."""


def settle_last(
    step: Callable[[], None],
    is_done: Callable[[], bool],
    may_leave: Callable[[], bool],
    clock: Clock,
    until: Callable[[Callable[[], bool], Callable[[], None]], None],
) -> bool:
    """Bring every outcome into the store, before the worker ends; wait out what passes.

    From a store out of reach a worker that is to stop leaves in the end: those jobs run again elsewhere.

    Args:
        step: stores what there is; done at least once, because another thread may be storing the last of it.
        is_done: whether everything is stored.
        may_leave: whether the worker was told to stop, and runs nothing any more.
        clock: tells the time.
        until: repeats a step until something holds, and waits out what passes.

    Returns:
        Whether the store could be reached in the end.
    """
    since: float | None = None
    is_over = False

    def one_step() -> None:
        nonlocal since, is_over
        try:
            step()
        except StoreUnreachableError as error:
            now = clock.monotonic()
            since = now if since is None or not may_leave() else since
            if now - since < PARTING:
                raise
            LOGGER.error("%s What this worker has finished is lost; those jobs run again.", error)
            is_over = True
        else:
            since, is_over = None, is_done()

    until(lambda: is_over, one_step)
    return since is None
