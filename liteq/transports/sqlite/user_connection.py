"""The connection that `Queue.transaction()` lends: its block ends the transaction, and nothing else does."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, NoReturn, Self

from liteq.errors import NotSupportedError
from liteq.transports.sqlite.trouble import translate

__all__ = ["UserConnection"]


class UserCursor(sqlite3.Cursor):
    """A cursor that refuses to go on where the transaction has ended."""

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        owner = self._owner()
        try:
            return super().execute(sql, parameters)
        except sqlite3.Error as error:
            owner.note(error)
            raise

    def executemany(self, sql: str, parameters: Any, /) -> Self:
        owner = self._owner()
        try:
            return super().executemany(sql, parameters)
        except sqlite3.Error as error:
            owner.note(error)
            raise

    def _owner(self) -> UserConnection:
        owner = self.connection
        assert isinstance(owner, UserConnection)
        owner.check_open()
        return owner


class UserConnection(sqlite3.Connection):
    """A connection whose transaction belongs to a block of the user's.

    After some errors, such as a full disk, SQLite rolls the whole transaction back by itself. Somebody who
    catches that inside the block and goes on would commit each further statement by itself, while what
    came before the error is gone. So from then on it refuses everything until the block has ended.
    """

    _path: Path | None = None
    """The file while it is lent; None while it is not."""
    _lost: sqlite3.Error | None = None

    def lend(self, path: Path) -> None:
        """Begin to look after the transaction, which is open."""
        self._path = path
        self._lost = None

    def take_back(self) -> None:
        """Look after it no more; idempotent."""
        self._path = None

    def note(self, error: sqlite3.Error) -> None:
        """Remember an error that has ended the transaction."""
        if self._path is not None and self._lost is None and not self.in_transaction:
            self._lost = error

    def check_open(self) -> None:
        """Refuse to go on where the transaction has ended.

        Raises:
            StoreError: SQLite has rolled it back after an error; it says which.
            NotSupportedError: something else has ended it.
        """
        if self._path is None or self.in_transaction:
            return
        if self._lost is not None:
            raise translate(self._lost, self._path) from self._lost
        raise NotSupportedError(
            "A statement inside `with q.transaction()` ended the transaction (COMMIT or ROLLBACK); "
            "what was written before it is committed or gone as that statement said."
        )

    def cursor(self, factory: Any = UserCursor) -> Any:
        return super().cursor(factory)

    # sqlite3's own two do not ask `cursor`.
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        cursor: sqlite3.Cursor = self.cursor()
        return cursor.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        cursor: sqlite3.Cursor = self.cursor()
        return cursor.executemany(sql, parameters)

    def _refuse(self, *_: object) -> NoReturn:
        raise NotSupportedError(
            "Inside `with q.transaction()` the block itself commits at its end, and rolls back when an "
            "exception leaves it; do not call commit(), rollback() or executescript() on its connection."
        )

    commit = _refuse
    rollback = _refuse
    executescript = _refuse
    close = _refuse
    __enter__ = _refuse
    __exit__ = _refuse

    def really_close(self) -> None:
        """Close it, for its owner."""
        super().close()
