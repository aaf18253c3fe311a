"""Going through results as their jobs finish."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Generic, TypeVar

from liteq.calls.checks import check_seconds
from liteq.errors import ConfigurationError, ResultTimeoutError
from liteq.result import AsyncResult, EagerResult

__all__ = ["Completed", "as_completed"]

R = TypeVar("R")


def as_completed(results: Iterable[AsyncResult[R]], timeout: float | None = None) -> Completed[R]:
    """Go through results in the order in which their jobs finish, with `for` or `async for`.

    What is given is the result itself: its `get()`, or awaiting it, returns or raises at once. Leaving the
    loop early does nothing to the jobs that are left. The results may be of several queues.

    Args:
        results: what `delay`, `enqueue_many` or `adelay` have returned.
        timeout: the most seconds that the whole loop may wait; None for as long as it takes.

    Raises:
        ConfigurationError: something that is no result.
        ResultTimeoutError: in the loop, when not all jobs were finished in time; they go on.
        SyncSubtaskError: in the loop, inside a task.
        NotSupportedError: in the loop, inside a transaction on the queue's file.
        StoreError: in the loop, when the store cannot serve, or was closed.
    """
    return Completed(results, timeout)


class Completed(Generic[R]):
    """Results as they are completed; what `as_completed` returns. Each loop over it begins anew."""

    def __init__(self, results: Iterable[AsyncResult[R]], timeout: float | None) -> None:
        self._results = list(results)
        self._timeout = None if timeout is None else check_seconds("timeout", timeout)
        for result in self._results:
            if not isinstance(result, AsyncResult):
                raise ConfigurationError(
                    f"as_completed() takes results, as delay() returns them, not {result!r}."
                )

    def _begin(self) -> tuple[list[AsyncResult[R]], list[AsyncResult[R]]]:
        """Return the results that are here already, and those that are to be waited for."""
        # Imported here because it imports asyncio, which most programs do not need.
        from liteq.aio.waiting import refuse_inside

        here: list[AsyncResult[R]] = []
        missing: list[AsyncResult[R]] = []
        for result in self._results:
            if isinstance(result, EagerResult):
                here.append(result)
                continue
            result._refuse_to_block(None)
            refuse_inside(result)
            missing.append(result)
        return here, missing

    def __iter__(self) -> Iterator[AsyncResult[R]]:
        here, missing = self._begin()
        yield from here
        from queue import SimpleQueue

        from liteq.aio.waiting import forget, watch

        arrivals: SimpleQueue[Any] = SimpleQueue()
        waiting = watch(missing, self._timeout, None, arrivals.put)
        try:
            for left in range(len(waiting), 0, -1):
                yield self._taken(_next(arrivals), left)
        finally:
            forget(waiting)

    async def __aiter__(self) -> AsyncIterator[AsyncResult[R]]:
        import asyncio

        from liteq.aio.loops import Slice
        from liteq.aio.waiting import forget, watch

        here, missing = self._begin()
        for result in here:
            yield result
        arrivals: asyncio.Queue[Any] = asyncio.Queue()
        waiting = watch(missing, self._timeout, asyncio.get_running_loop(), arrivals.put_nowait)
        part = Slice()
        try:
            for left in range(len(waiting), 0, -1):
                if arrivals.empty():
                    arrived = await arrivals.get()
                    part.renew()
                else:
                    arrived = arrivals.get_nowait()
                    await part.rest()
                yield self._taken(arrived, left)
        finally:
            forget(waiting)

    def _taken(self, arrived: Any, left: int) -> AsyncResult[R]:
        if arrived.error is not None:
            raise arrived.error
        if arrived.is_late:
            raise ResultTimeoutError(
                f"{left} of {len(self._results)} jobs were not finished within {self._timeout:g} s. They go "
                "on, and may be waited for again."
            )
        result: AsyncResult[R] = arrived.result
        result._kept = arrived.job
        return result


def _next(arrivals: Any) -> Any:
    from queue import Empty

    while True:
        try:
            # Not for ever, because on Windows Ctrl-C would not be heard.
            return arrivals.get(timeout=1.0)
        except Empty:
            continue
