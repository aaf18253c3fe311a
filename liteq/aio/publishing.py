"""Enqueueing many calls from coroutines."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TypeVar

from liteq.aio.loops import Slice
from liteq.aio.storing import run_elsewhere, store_jobs
from liteq.app.bulk import Bulk
from liteq.app.store import Store
from liteq.canvas import Signature
from liteq.errors import ConfigurationError
from liteq.result import AsyncResult

__all__ = ["enqueue_signatures"]

R = TypeVar("R")


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
                bulk.note(*await store_jobs(store, bulk.chunk))
                part.renew()
            else:
                # Arguments are encoded here, and very many of them must not keep the loop.
                await part.rest()
        if store.settings.eager:
            return await run_elsewhere(bulk.run_eagerly)
        if bulk.chunk:
            bulk.note(*await store_jobs(store, bulk.chunk))
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
