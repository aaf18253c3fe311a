"""Transactions for coroutines: each runs in a thread of its own, and what joins it is carried there."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar, copy_context
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from liteq.aio.courier import Courier
from liteq.app.store import Store
from liteq.calls import connection as user_connection
from liteq.calls.request import Acts, current
from liteq.errors import NotSupportedError, StoreUnavailableError

__all__ = [
    "AsyncConnection",
    "AsyncCursor",
    "AsyncTransaction",
    "abandon_blocks",
    "joined",
    "open_blocks",
]

P = ParamSpec("P")
T = TypeVar("T")

ROWS = 100
"""Rows that an `async for` over a cursor fetches at once."""

Parameters = Sequence[Any] | Mapping[str, Any]


class _Undo(Exception):
    """Leaves the block of a transaction that is to be rolled back."""


class AsyncTransaction:
    """A transaction on the queue's file, to be entered with `async with`; see `Queue.atransaction`.

    Args:
        store: the queue's hold on its store.
        begin: opens the transaction in the thread that enters it.
    """

    def __init__(
        self, store: Store, begin: Callable[[], AbstractContextManager[user_connection.Connection]]
    ) -> None:
        self.store = store
        self.courier = Courier("liteq-transaction", is_loyal=True)
        self.is_over = False
        self.owner: Acts | None = None
        """The attempt of a job whose task has opened it."""
        self._thread = 0
        self._aborted: str | None = None
        self._begin = begin
        self._entered: AbstractContextManager[user_connection.Connection] | None = None

    async def __aenter__(self) -> AsyncConnection:
        # Imported here because it imports asyncio, and whoever is here has done that already.
        from liteq.aio.hub import hub_of

        if self.store.in_transaction() or joined(self.store) is not None:
            raise NotSupportedError(
                "This is inside a transaction on the queue's file already; use SAVEPOINT for a part of it."
            )
        running = current()
        self.owner = None if running is None else running.acts
        self._blocks = hub_of(self.store).blocks
        self._blocks.add(self)
        self._thread = get_ident()
        self.store.hold_loop(self._thread, +1)
        open_blocks.add(self)
        try:
            connection = await self.courier.call(self._enter)
            self._check_whole()
        except BaseException:
            # Cancelled, perhaps: it may still begin, and must then end.
            self.courier.post(partial(self._leave, _Undo()))
            self._part()
            raise
        _open.set((*_open.get(), self))
        return AsyncConnection(self, connection)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.is_over = True
        _open.set(tuple(block for block in _open.get() if block is not self))
        try:
            await self._end(None if error is None else _Undo())
        finally:
            self._part()
        if error is None:
            self._check_whole()

    async def _end(self, undo: _Undo | None) -> None:
        """End the transaction, and wait for that whoever cancels meanwhile."""
        import asyncio

        end: Any = self.courier.call(partial(self._leave, undo))
        cancelled: BaseException | None = None
        while not end.done():
            try:
                await asyncio.wait([end])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            end.exception()
            raise cancelled
        await end

    def check_open(self) -> None:
        """Raise where the transaction has ended.

        Raises:
            StoreUnavailableError: because the queue was closed, or the job of its task has ended.
            NotSupportedError: because its block is over.
        """
        self._check_whole()
        if self.is_over:
            raise NotSupportedError(
                "The block of this connection is over: it and its cursors work only inside the `async with` "
                "block of the atransaction() that gave it."
            )

    async def call(self, work: Callable[[], T]) -> T:
        """Call a function in the transaction's thread."""
        self.check_open()
        return await self.courier.call(partial(copy_context().run, work))

    def abort(self, why: str = "this queue was closed") -> None:
        """Let its thread roll it back as soon as it can; what the block does from now on raises.

        Waits for nothing: a block that still waits for the write lock may do so for another one of this very
        event loop.

        Args:
            why: what has happened, to be followed by "inside ...".
        """
        self._aborted = why
        self.courier.post(partial(self._leave, _Undo()))
        self._part()

    def close(self) -> None:
        """Wait until its thread has ended."""
        self.courier.close()

    def _check_whole(self) -> None:
        if self._aborted is not None:
            raise StoreUnavailableError(
                f"{self.store.settings.url}: {self._aborted} inside `async with ...atransaction()`, which "
                "was rolled back."
            )

    def _part(self) -> None:
        self.courier.retire()
        if self in open_blocks:
            open_blocks.discard(self)
            self._blocks.discard(self)
            self.store.hold_loop(self._thread, -1)

    # ---- in the transaction's thread ---------------------------------------------------------------

    def _enter(self) -> user_connection.Connection:
        block = self._begin()
        connection = block.__enter__()
        self._entered = block
        return connection

    def _leave(self, undo: _Undo | None) -> None:
        """Commit, or roll back; nothing if it has not begun, or has ended."""
        block, self._entered = self._entered, None
        if block is None:
            return
        if undo is None:
            block.__exit__(None, None, None)
            return
        try:
            raise undo
        except _Undo:
            block.__exit__(*sys.exc_info())


open_blocks: set[AsyncTransaction] = set()
"""The transactions that coroutines have open in this process."""


def abandon_blocks(owner: Acts) -> bool:
    """Roll back the transactions that the task of an attempt has left open; tell whether there was one."""
    left = [block for block in list(open_blocks) if block.owner is owner]
    for block in left:
        block.abort("the job that had it open ended")
    return bool(left)


_open: ContextVar[tuple[AsyncTransaction, ...]] = ContextVar("liteq_transactions", default=())
"""The transactions in whose blocks this runs; tasks that are begun in a block inherit it."""


def joined(store: Store) -> AsyncTransaction | None:
    """Return the transaction on a queue whose block the running task is in, or was begun in; None outside.

    Raises:
        StoreUnavailableError: it has ended because the queue was closed.
    """
    for block in _open.get():
        if block.store is store and not block.is_over:
            block.check_open()
            return block
    return None


def _forget_blocks() -> None:
    """Forget, in a forked child, the transactions of the parent, whose threads it does not have."""
    for block in open_blocks:
        block.is_over = True
    open_blocks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_blocks)


class AsyncConnection:
    """A connection to the queue's file for the block of one `async with q.atransaction()`.

    Each method runs in the transaction's own thread, one after the other.
    """

    def __init__(self, block: AsyncTransaction, connection: user_connection.Connection) -> None:
        self._block = block
        self._connection = connection

    async def execute(self, sql: str, parameters: Parameters = ()) -> AsyncCursor:
        """Execute a statement, as `sqlite3.Connection.execute` does."""
        cursor = await self.run(lambda connection: connection.execute(sql, parameters))
        return AsyncCursor(self._block, cursor)

    async def executemany(
        self, sql: str, parameters: Sequence[Sequence[Any]] | Sequence[Mapping[str, Any]]
    ) -> AsyncCursor:
        """Execute a statement once for each of the parameters."""
        cursor = await self.run(lambda connection: connection.executemany(sql, parameters))
        return AsyncCursor(self._block, cursor)

    async def run(
        self,
        function: Callable[Concatenate[user_connection.Connection, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a function with the `sqlite3.Connection`, for all that has no method here.

        Tasks that it calls with `delay` belong to the transaction too.
        """
        return await self._block.call(lambda: function(self._connection, *args, **kwargs))

    @property
    def row_factory(self) -> Any:
        """What makes rows, such as `sqlite3.Row`; None for tuples."""
        self._block.check_open()
        return self._connection.row_factory

    @row_factory.setter
    def row_factory(self, factory: Any) -> None:
        self._block.check_open()
        self._connection.row_factory = factory


class AsyncCursor:
    """What a statement has given; `async for` goes through its rows."""

    def __init__(self, block: AsyncTransaction, cursor: Any) -> None:
        self._block = block
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        """How many rows the statement has changed; -1 where that does not apply."""
        count: int = self._cursor.rowcount
        return count

    @property
    def lastrowid(self) -> int | None:
        """The row id of the row that was inserted last."""
        row: int | None = self._cursor.lastrowid
        return row

    @property
    def description(self) -> Any:
        """The columns, as sqlite3 describes them; None for a statement that gives no rows."""
        return self._cursor.description

    async def fetchone(self) -> Any:
        """Return the next row; None if there is none."""
        return await self._block.call(self._cursor.fetchone)

    async def fetchmany(self, size: int = 1) -> list[Any]:
        """Return the next rows, at most `size`."""
        return await self._block.call(lambda: list(self._cursor.fetchmany(size)))

    async def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        return await self._block.call(lambda: list(self._cursor.fetchall()))

    async def __aiter__(self) -> AsyncIterator[Any]:
        while rows := await self.fetchmany(ROWS):
            for row in rows:
                yield row

    async def close(self) -> None:
        """Close the cursor."""
        await self._block.call(self._cursor.close)
