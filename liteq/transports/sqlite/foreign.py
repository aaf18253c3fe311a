"""Writing through a connection that the user opened, in the user's own transaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from liteq.errors import ConfigurationError
from liteq.transports.sqlite.connection import Unit
from liteq.transports.sqlite.marks import check_version
from liteq.transports.sqlite.trouble import translated

__all__ = ["check_connection", "lend"]


def check_connection(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a connection that cannot carry this queue's jobs.

    Raises:
        ConfigurationError: it is no sqlite3 connection, cannot be used, or its main database is another file.
    """
    if not isinstance(connection, sqlite3.Connection):
        raise ConfigurationError(f"using() takes an open sqlite3.Connection, not {connection!r}.")
    try:
        with closing(connection.cursor()) as cursor:
            # The caller may have set a row factory; plain tuples are wanted here.
            cursor.row_factory = None
            files = {name: file for _, name, file in cursor.execute("PRAGMA database_list")}
    except sqlite3.Error as error:
        raise ConfigurationError(f"The connection given to using() cannot be used: {error}") from error
    file = files.get("main") or ""
    if os.path.realpath(file) != os.fspath(path) or not file:
        raise ConfigurationError(
            f"using() needs a connection to the queue's own file {path}, and this one is to "
            f"{file or 'a database in memory'}; a job and your rows can only commit together in one file."
        )


def _commits_alone(connection: sqlite3.Connection) -> bool:
    """Tell whether each statement outside of a transaction is one of its own."""
    # Python 3.12 has an attribute that says so, and then the older one does not count.
    return connection.isolation_level is None or getattr(connection, "autocommit", None) is True


@contextmanager
def lend(connection: sqlite3.Connection, path: Path) -> Iterator[Unit]:
    """Lend the user's connection for one write; commits only where the user left that to SQLite.

    Raises:
        StoreError: SQLite refused the write, or what the file kept was moved.
    """
    with translated(path):
        # An automatic checkpoint of this connection could race our writers, which old SQLite does not bear.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        unit = Unit(connection, own=False)
        begun = not connection.in_transaction
        alone = begun and _commits_alone(connection)
        if begun:
            # sqlite3 would do so itself at the first INSERT, but what is checked must be true by then.
            connection.execute("BEGIN IMMEDIATE" if alone else f"BEGIN {connection.isolation_level}")
        try:
            check_version(connection, path)
        except BaseException:
            if begun:
                connection.execute("ROLLBACK")
            raise
        if not alone:
            yield unit
            return
        try:
            yield unit
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    for action in unit.after_commit:
        action()
