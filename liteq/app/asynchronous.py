"""The part of a queue that is for asyncio programs."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar, Unpack

from liteq.aio.transactions import AsyncTransaction
from liteq.app.elsewhere import find_task
from liteq.app.guard import refuse_while_importing
from liteq.app.store import Store
from liteq.calls import connection as user_connection
from liteq.calls.checks import check_flag
from liteq.calls.options import CallOptions
from liteq.canvas import Signature
from liteq.registry import Registry
from liteq.result import AsyncResult

__all__ = ["Asynchronous"]

R = TypeVar("R")


class Asynchronous:
    """What `Queue` has for coroutines: the event loop never waits for the file, threads of the queue do.

    Attributes:
        registry: the queue's tasks.
        store: the queue's hold on its store.
    """

    registry: Registry
    store: Store
    transaction: Callable[[], AbstractContextManager[user_connection.Connection]]

    async def aenqueue_many(
        self,
        signatures: Iterable[Signature[AsyncResult[R]]] | AsyncIterable[Signature[AsyncResult[R]]],
        *,
        atomic: bool = False,
    ) -> list[AsyncResult[R]]:
        """Enqueue many calls as `enqueue_many` does, without blocking the event loop.

        Args:
            signatures: the calls, as `task.s(...)` makes them, from an iterable or an asynchronous one.
            atomic: store all in one transaction, or none; else 1,000 in each.

        Returns:
            A result for each signature, in order.

        Raises:
            LiteqError: as `enqueue_many`.
        """
        # Imported here because it imports asyncio, which most programs do not need.
        from liteq.aio.publishing import enqueue_signatures

        refuse_while_importing("aenqueue_many()")
        return await enqueue_signatures(self.store, signatures, check_flag("atomic", atomic))

    async def asend_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult[Any]:
        """Enqueue a call of a task by its name as `send_task` does, without blocking the event loop.

        Args:
            name: the task's name.
            args: the positional arguments.
            kwargs: the arguments by name.
            options: see `CallOptions`.

        Raises:
            LiteqError: as `send_task`.
        """
        task = find_task(name, self.store, self.registry.tasks)
        return await task.aapply_async(args, kwargs, **options)

    def atransaction(self) -> AsyncTransaction:
        """Open a transaction on the queue's file with `async with`, in which rows and jobs commit together.

        What is enqueued with `adelay`, `aapply_async` and `aenqueue_many` inside the block joins it, also in
        tasks that are begun there, for as long as the block lasts. Leaving the block commits; an exception
        or a cancellation rolls everything back.

        Returns:
            What `async with` enters; it gives an `AsyncConnection` on the queue's file, in a transaction that
            holds the write lock.

        Raises:
            NotSupportedError: when it is entered: an eager queue, one that is not a file, or a block inside
                another one.
            StoreError: when it is entered or left: the file cannot serve, or the queue was closed meanwhile.
        """
        return AsyncTransaction(self.store, self.transaction)
