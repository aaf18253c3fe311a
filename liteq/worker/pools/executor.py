"""The executor of a pool: runs many jobs at once, in threads or on an event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from inspect import iscoroutinefunction
from threading import get_ident
from types import CoroutineType, coroutine
from typing import Any, Protocol, TypeVar

from liteq.app.store import abandon_transactions, in_transactions
from liteq.calls.request import pop_request, push_request
from liteq.clock import Clock
from liteq.errors import NotSupportedError
from liteq.job import Claim, Transition
from liteq.lifecycle import decide
from liteq.task import Task
from liteq.transport import Transport
from liteq.worker.acts import AttemptActs
from liteq.worker.executor import Executor, Ready
from liteq.worker.faults import overrun
from liteq.worker.pools.base import Pool
from liteq.worker.soft import alimit
from liteq.worker.verdict import interrupted

__all__ = ["GRACE", "PoolExecutor"]

R = TypeVar("R")

GRACE = 2.0
"""Seconds that a job gets to end after it was interrupted at its time limit; then its process is killed."""


class _Recallable(Protocol):
    """A job that a stop may interrupt."""

    recalled: bool


class PoolExecutor(Executor):
    """Runs claimed jobs beside each other.

    Args:
        pool: what they run in.
        tasks: the tasks that can be run here, by name.
        transport: stores the states that tasks report themselves.
        clock: tells the time.
        hostname: the worker's name, as `self.request.hostname`.
    """

    def __init__(
        self,
        pool: Pool,
        tasks: Mapping[str, Task[..., Any]],
        transport: Transport,
        clock: Clock,
        hostname: str = "",
    ) -> None:
        super().__init__(tasks, transport, clock, hostname=hostname)
        self._pool = pool
        self._async = {name for name, task in tasks.items() if iscoroutinefunction(task.fn)}

    def is_async(self, task: str) -> bool:
        """Tell whether a task is an async function."""
        return task in self._async

    def kill_after(self, job: Claim, is_async: bool) -> float | None:
        """Return the seconds after which a job's process is to be killed, if the job still runs then."""
        limit = self.time_limit(job)
        return limit if limit is None or not self._pool.interrupts(is_async) else limit + GRACE

    def _call(
        self, job: Claim, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        return self._pool.call(job, self.time_limit(job), function, args, kwargs)

    def _limited(self, seconds: float, function: Callable[..., Any]) -> Callable[..., Any]:
        return self._pool.limited(seconds, function)

    async def arun(self, job: Claim, run: _Recallable) -> Transition | None:
        """Run a job on the event loop that awaits this; raises nothing.

        Args:
            job: the claim.
            run: says whether a stop has interrupted it.

        Returns:
            What the store is to record; None if the job has ended in a transaction of its own.
        """
        ready = self.prepare(job)
        if not isinstance(ready, Ready):
            return ready
        acts = AttemptActs(self, job)
        token = push_request(self.request_of(job, ready), acts)
        try:
            value = await self._awaited(job, ready)
        # A cancellation too: what a task raises ends the job, never the worker.
        except BaseException as error:
            if run.recalled and not acts.completed and _is_cancellation(error):
                return decide(job, interrupted(job, "a stop"), self._clock.wall(), self._random)
            return self.raised(job, ready, acts, error)
        finally:
            pop_request(token)
        return self.returned(job, ready, acts, value)

    async def _awaited(self, job: Claim, ready: Ready) -> Any:
        import asyncio

        value = ready.plan.function(*ready.args, **ready.kwargs)
        if type(value) is not CoroutineType:
            return value
        if ready.soft is not None:
            value = alimit(ready.soft, value)
        limit = self.time_limit(job)
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                return await _watched(value, job.task)
        except TimeoutError as error:
            if limit is not None and scope.expired():
                raise overrun(job, limit) from error
            raise


def _is_cancellation(error: BaseException) -> bool:
    import asyncio

    return isinstance(error, asyncio.CancelledError)


@coroutine
def _watched(awaited: Coroutine[Any, Any, R], task: str) -> Generator[Any, Any, R]:
    """Await a coroutine, but not while it has a transaction open: the jobs beside it would join that."""
    error: BaseException | None = None
    try:
        while True:
            try:
                waits_for = awaited.send(None) if error is None else awaited.throw(error)
            except StopIteration as end:
                value: R = end.value
                return value
            error = None
            if in_transactions and get_ident() in in_transactions:
                abandon_transactions()
                error = NotSupportedError(
                    f"Task {task} awaited something inside a transaction, which the other jobs of this "
                    "process would have joined, so it was rolled back. Await it outside of the block, or "
                    "use `async with q.atransaction()`."
                )
                continue
            try:
                yield waits_for
            except BaseException as raised:
                # Without this frame, which would stand last in the traceback of a cancellation.
                error = raised.with_traceback(raised.__traceback__ and raised.__traceback__.tb_next)
    finally:
        awaited.close()
