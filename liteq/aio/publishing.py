"""Enqueueing from coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from liteq.aio.hub import hub_of
from liteq.aio.loops import Slice
from liteq.aio.transactions import joined
from liteq.app.bulk import Bulk
from liteq.app.guard import refuse_while_importing
from liteq.app.store import Store
from liteq.calls.coroutines import close_loop
from liteq.calls.options import Placement
from liteq.canvas import Signature
from liteq.errors import ConfigurationError, NotSupportedError
from liteq.job import NewJob
from liteq.result import AsyncResult
from liteq.task import Task

__all__ = ["enqueue_signatures", "publish"]

R = TypeVar("R")
T = TypeVar("T")


async def publish(
    task: Task[..., R], args: Sequence[Any], kwargs: Mapping[str, Any], placement: Placement | None
) -> AsyncResult[R]:
    """Enqueue one call; see `Task.adelay`."""
    refuse_while_importing(task.name)
    job = task.new_job(args, kwargs, placement)
    store = task.store
    if store.settings.eager:
        return await _elsewhere(partial(task.run_eagerly, job))
    (stored,), seen = await _store(store, (job,))
    return AsyncResult(job.id, store, seen, stored and job.ignore_result)


async def enqueue_signatures(
    store: Store,
    signatures: Iterable[Signature[AsyncResult[R]]] | AsyncIterable[Signature[AsyncResult[R]]],
    atomic: bool,
) -> list[AsyncResult[R]]:
    """Enqueue many calls; see `Queue.aenqueue_many`."""
    bulk: Bulk[R] = Bulk(store, atomic)
    part = Slice()
    with bulk.saying_where("aenqueue_many()"):
        async for signature in _each(signatures):
            if bulk.add(signature):
                bulk.note(*await _store(store, bulk.chunk))
                part.renew()
            else:
                # Arguments are encoded here, and very many of them must not keep the loop.
                await part.rest()
        if store.settings.eager:
            return await _elsewhere(bulk.run_eagerly)
        if bulk.chunk:
            bulk.note(*await _store(store, bulk.chunk))
    return bulk.results


async def _each(
    signatures: Iterable[Signature[AsyncResult[R]]] | AsyncIterable[Signature[AsyncResult[R]]],
) -> AsyncIterator[Signature[AsyncResult[R]]]:
    if isinstance(signatures, AsyncIterable):
        async for signature in signatures:
            yield signature
    elif isinstance(signatures, Iterable):
        for signature in signatures:
            yield signature
    else:
        raise ConfigurationError(
            "aenqueue_many() takes signatures, as task.s(...) makes them, from an iterable or an async one, "
            f"not {signatures!r}."
        )


async def _elsewhere(run: Callable[[], T]) -> T:
    """Run tasks eagerly in another thread, where an async one may have an event loop of its own."""

    def run_and_close() -> T:
        try:
            return run()
        finally:
            close_loop()

    return await asyncio.to_thread(run_and_close)


async def _store(store: Store, jobs: Sequence[NewJob]) -> tuple[list[bool], bool]:
    """Store jobs; return for each whether it is new, and whether all of them are there for certain."""
    if store.in_transaction():
        raise NotSupportedError(
            "adelay() and aenqueue_many() cannot join `with q.transaction()`, which belongs to a thread; "
            "write `async with q.atransaction()`, or call delay() in the block."
        )
    block = joined(store)
    courier = hub_of(store).courier if block is None else block.courier
    return await courier.store(store, jobs), block is None
