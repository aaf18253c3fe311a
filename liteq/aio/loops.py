"""Handing things over to an event loop, and not keeping it for long."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

__all__ = ["Slice", "deliver"]

AT_ONCE = 10
"""How many coroutines are woken in one round of the loop, which runs all of them before anything else."""

SLICE = 0.001
"""Seconds of work after which a coroutine that need not wait lets others run."""


def deliver(loop: asyncio.AbstractEventLoop, news: Iterable[Callable[[], object]]) -> None:
    """Let a loop call functions in its own thread, a few in each round; callable from any thread."""
    # The loop may have been closed: then nobody waits for this any more.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(_call_some, loop, deque(news))


def _call_some(loop: asyncio.AbstractEventLoop, news: deque[Callable[[], object]]) -> None:
    for _ in range(min(AT_ONCE, len(news))):
        news.popleft()()
    if news:
        loop.call_soon(_call_some, loop, news)


class Slice:
    """The time for which a coroutine has kept the loop."""

    def __init__(self) -> None:
        self._ends = time.perf_counter() + SLICE

    async def rest(self) -> None:
        """Let others run if it has been long enough."""
        if time.perf_counter() >= self._ends:
            await asyncio.sleep(0)
            self.renew()

    def renew(self) -> None:
        """Note that others have run just now."""
        self._ends = time.perf_counter() + SLICE
