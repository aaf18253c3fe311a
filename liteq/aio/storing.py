"""Storing jobs from coroutines, whose event loop waits for no store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from liteq.aio.hub import hub_of
from liteq.aio.transactions import joined
from liteq.app.store import Store
from liteq.calls.coroutines import close_loop
from liteq.errors import NotSupportedError
from liteq.job import NewJob

__all__ = ["run_elsewhere", "store_jobs"]

T = TypeVar("T")


async def store_jobs(store: Store, jobs: Sequence[NewJob]) -> tuple[list[bool], bool]:
    """Store jobs; return for each whether it is new, and whether all of them are there for certain."""
    if store.in_transaction():
        raise NotSupportedError(
            "adelay() and aenqueue_many() cannot join `with q.transaction()`, which belongs to a thread; "
            "write `async with q.atransaction()`, or call delay() in the block."
        )
    block = joined(store)
    courier = hub_of(store).courier if block is None else block.courier
    return await courier.store(store, jobs), block is None


async def run_elsewhere(run: Callable[[], T]) -> T:
    """Run tasks eagerly in another thread, where an async one may have an event loop of its own."""

    def run_and_close() -> T:
        try:
            return run()
        finally:
            close_loop()

    return await asyncio.to_thread(run_and_close)
