"""The connection that `Queue.transaction()` lends: its block ends the transaction, and nothing else does."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn, Self
from weakref import WeakSet

from liteq.errors import NotSupportedError
from liteq.transports.sqlite.trouble import translate

__all__ = ["LentConnection", "UserConnection"]

_GAP = r"(?>[\s;\ufeff]|--[^\n]*(?:\n|\Z)|/\*(?s:.*?)(?:\*/|\Z))"
_ENDS = re.compile(
    rf"{_GAP}*+(?:(?:commit|end)\b|rollback\b(?!{_GAP}*+(?:transaction\b{_GAP}*+)?to\b))", re.IGNORECASE
)
"""A statement that ends the transaction; ROLLBACK TO a savepoint does not."""


class UserConnection(sqlite3.Connection):
    """The connection itself, which is liteq's own, and is opened once for all blocks."""


class UserCursor(sqlite3.Cursor):
    """A cursor that goes on only while the transaction does."""

    _lent: LentConnection

    @property
    def connection(self) -> LentConnection:
        """What was lent; never the connection itself."""
        return self._lent

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        self._lent.check_statement(sql)
        try:
            super().execute(sql, parameters)
        except sqlite3.Error as error:
            self._lent.note(error)
            raise
        return self

    def executemany(self, sql: str, parameters: Any, /) -> Self:
        self._lent.check_statement(sql)
        try:
            super().executemany(sql, parameters)
        except sqlite3.Error as error:
            self._lent.note(error)
            raise
        return self

    def executescript(self, sql_script: str, /) -> NoReturn:
        self._lent.refuse()

    def fetchone(self) -> Any:
        self._lent.check_lent()
        return super().fetchone()

    def fetchmany(self, size: int | None = None) -> list[Any]:
        self._lent.check_lent()
        return super().fetchmany(self.arraysize if size is None else size)

    def fetchall(self) -> list[Any]:
        self._lent.check_lent()
        return super().fetchall()

    def __next__(self) -> Any:
        self._lent.check_lent()
        return super().__next__()


class LentConnection(sqlite3.Connection):
    """What one block gets: it passes everything on to the connection itself, until the block ends.

    Each block gets one of its own, so that somebody who keeps it cannot write outside of any transaction, or
    inside a later block's. It is a `sqlite3.Connection` by its type only, and never opens anything.

    After some errors, such as a full disk, SQLite rolls the whole transaction back by itself. Somebody who
    catches that inside the block and goes on would commit each further statement by itself, while what
    came before the error is gone. So from then on it refuses everything until the block has ended.

    Args:
        itself: the connection, in a transaction.
        path: its file.
    """

    def __init__(self, itself: UserConnection, path: Path) -> None:
        self._itself: UserConnection | None = itself
        self._path = path
        self._lost: sqlite3.Error | None = None
        self._handles: WeakSet[Any] = WeakSet()

    def take_back(self) -> None:
        """End its use, and that of its cursors and blobs, whose open reads go with them; idempotent."""
        self._itself = None
        for handle in list(self._handles):
            with contextlib.suppress(sqlite3.Error):
                handle.close()
        self._handles.clear()

    def note(self, error: sqlite3.Error) -> None:
        """Remember an error that has ended the transaction."""
        if self._itself is not None and self._lost is None and not self._itself.in_transaction:
            self._lost = error

    def check_lent(self) -> sqlite3.Connection:
        """Return the connection itself.

        Raises:
            NotSupportedError: its block is over.
        """
        if self._itself is None:
            raise NotSupportedError(
                "The block of this connection is over: it and its cursors work only inside the `with` block "
                "of the transaction() that gave it. Read and write inside the block, or open another one."
            )
        return self._itself

    def check_open(self) -> None:
        """Refuse to go on where the transaction has ended.

        Raises:
            StoreError: SQLite has rolled it back after an error; it says which.
            NotSupportedError: something else has ended it, or its block is over.
        """
        if self.check_lent().in_transaction:
            return
        if self._lost is not None:
            raise translate(self._lost, self._path) from self._lost
        raise NotSupportedError(
            "A statement inside `with q.transaction()` ended the transaction (COMMIT or ROLLBACK); "
            "what was written before it is committed or gone as that statement said."
        )

    def check_statement(self, sql: str) -> None:
        """Refuse a statement that ends the transaction, and any other where it has ended.

        Raises:
            StoreError: as `check_open`.
            NotSupportedError: as `check_open`, or it is COMMIT, END or ROLLBACK.
        """
        self.check_open()
        if isinstance(sql, str) and _ENDS.match(sql):
            self.refuse()

    def refuse(self, *_: object, **__: object) -> NoReturn:
        """Raise what tells that the block alone ends the transaction, or that it is over."""
        self.check_lent()
        raise NotSupportedError(
            "Inside `with q.transaction()` the block itself commits at its end, and rolls back when an "
            "exception leaves it; do not call commit(), rollback() or executescript() on its connection, "
            "and do not execute COMMIT, END or ROLLBACK."
        )

    commit = refuse
    rollback = refuse
    executescript = refuse
    close = refuse
    __call__ = refuse
    __enter__ = refuse
    __exit__ = refuse

    def cursor(self, factory: Any = UserCursor) -> Any:
        cursor = self.check_lent().cursor(factory)
        if isinstance(cursor, UserCursor):
            cursor._lent = self
        self._handles.add(cursor)
        return cursor

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        cursor: sqlite3.Cursor = self.cursor()
        return cursor.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        cursor: sqlite3.Cursor = self.cursor()
        return cursor.executemany(sql, parameters)

    def blobopen(self, *args: Any, **options: Any) -> sqlite3.Blob:
        self.check_open()
        blob = self.check_lent().blobopen(*args, **options)
        self._handles.add(blob)
        return blob

    def backup(self, *_: Any, **__: Any) -> NoReturn:
        self.check_lent()
        # SQLite copies nothing from a connection that is writing, and Python would try again for ever.
        raise NotSupportedError(
            "A connection inside `with q.transaction()` cannot be backed up, because it may be writing; "
            "use sqlite3.connect() on the file for that."
        )

    def iterdump(self, **options: Any) -> Generator[str, None, None]:
        return self._while_lent(self.check_lent().iterdump(**options))

    def _while_lent(self, lines: Iterator[str]) -> Generator[str, None, None]:
        for line in lines:
            self.check_lent()
            yield line


def _pass_on(name: str) -> Any:
    """Return the method or attribute that asks the connection itself for its own."""
    if callable(getattr(sqlite3.Connection, name)):

        def method(self: LentConnection, *args: Any, **options: Any) -> Any:
            return getattr(self.check_lent(), name)(*args, **options)

        method.__name__ = name
        return method

    def read(self: LentConnection) -> Any:
        return getattr(self.check_lent(), name)

    def write(self: LentConnection, value: Any) -> None:
        if name in {"isolation_level", "autocommit"}:
            # Python commits when they are set.
            self.refuse()
        setattr(self.check_lent(), name, value)

    return property(read, write)


for _name in vars(sqlite3.Connection):
    if not _name.startswith("_") and _name not in vars(LentConnection):
        # Names in capitals are the error classes.
        _own = _pass_on(_name) if _name[0].islower() else getattr(sqlite3, _name)
        setattr(LentConnection, _name, _own)
