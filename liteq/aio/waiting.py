"""Awaiting one result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from liteq.aio.hub import Hub, hub_of
from liteq.aio.transactions import joined
from liteq.aio.watcher import Awaited, Waiting
from liteq.app.store import Store
from liteq.calls.checks import check_seconds
from liteq.errors import NotSupportedError, ResultTimeoutError
from liteq.job import Job
from liteq.states import SUCCESS

__all__ = ["forget", "outcome_of", "refuse_inside", "wait_for", "watch"]

R = TypeVar("R")

GRACE = 0.5
"""Seconds for which one who has waited long enough waits for the last look at the store."""
SMALL = 64 * 1024
"""Bytes of a result that are decoded at once; more, or an exception, in another thread."""


async def wait_for(result: Awaited[Any], timeout: float | None) -> Job | None:
    """Return the finished job of a result; None where it has no record.

    Raises:
        ResultTimeoutError: it was not finished in so many seconds.
        StoreError: the store cannot serve, or was closed.
    """
    seconds = None if timeout is None else check_seconds("timeout", timeout)
    if result._kept is not None:
        return result._kept
    refuse_inside(result)
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    (waiting,) = watch([result], seconds, loop, partial(_wake, future))
    try:
        # A store that does not serve is waited for by the thread, for as long as others may want to.
        await asyncio.wait((future,), timeout=None if seconds is None else seconds + GRACE)
    finally:
        if not waiting.is_over:
            forget([waiting])
    if waiting.error is not None:
        raise waiting.error
    if waiting.is_late:
        raise result._late(waiting.job, timeout)
    if not future.done():
        raise ResultTimeoutError(
            f"{result._store.settings.url} did not say within {timeout:g} s what has become of job "
            f"{result.id}."
        )
    return waiting.job


def _wake(future: asyncio.Future[None], waiting: Waiting) -> None:
    # Cancelled, if nobody waits any more.
    if not future.done():
        future.set_result(None)


async def outcome_of(result: Awaited[R], job: Job | None, propagate: bool) -> R:
    """Return or raise what a finished job has come to."""
    is_plain = job is None or job.result is None or (job.state == SUCCESS and len(job.result) <= SMALL)
    if is_plain:
        return result._outcome(job, propagate)
    # An exception may need modules that are not imported yet.
    return await asyncio.to_thread(result._outcome, job, propagate)


def refuse_inside(result: Awaited[Any]) -> None:
    """Refuse to wait inside a transaction on the queue's file.

    Raises:
        NotSupportedError: the running task is in such a block.
    """
    if joined(result._store) is not None:
        raise NotSupportedError(
            f"Job {result.id}: awaiting a result inside q.atransaction() would wait for workers that cannot "
            "write to the file before the block ends; leave the block first."
        )


def watch(
    results: Iterable[Awaited[Any]],
    seconds: float | None,
    loop: asyncio.AbstractEventLoop | None,
    done: Callable[[Waiting], object],
) -> list[Waiting]:
    """Begin to wait for results of any queues.

    Args:
        results: what to wait for.
        seconds: the most to wait; None for as long as it takes.
        loop: in whose thread `done` is called; None for any thread.
        done: called with each, once it is over.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    every: list[Waiting] = []
    stores: dict[int, tuple[Store, list[Waiting]]] = {}
    for result in results:
        waiting = Waiting(result, deadline, loop, done)
        every.append(waiting)
        stores.setdefault(id(result._store), (result._store, []))[1].append(waiting)
    for store, some in stores.values():
        hub_of(store).watcher.add(store, some)
    return every


def forget(waiting: Iterable[Waiting]) -> None:
    """Wait no more."""
    hubs: dict[Hub, list[Waiting]] = {}
    for each in waiting:
        hubs.setdefault(hub_of(each.result._store), []).append(each)
    for hub, some in hubs.items():
        hub.watcher.forget(some)
