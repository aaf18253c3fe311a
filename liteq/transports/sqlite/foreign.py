"""Writing through a connection that the user opened, in the user's own transaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from liteq.errors import ConfigurationError
from liteq.transports.sqlite.connection import Unit
from liteq.transports.sqlite.trouble import translated

__all__ = ["lend"]


@contextmanager
def lend(connection: sqlite3.Connection, path: Path) -> Iterator[Unit]:
    """Lend the user's connection for one write; commits only where the user left that to SQLite.

    Raises:
        ConfigurationError: its main database is another file.
        StoreError: SQLite refused the write.
    """
    with translated(path):
        _check_file(connection, path)
        # An automatic checkpoint of this connection could race our writers, which old SQLite does not bear.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        unit = Unit(connection, own=False)
        alone = connection.isolation_level is None and not connection.in_transaction
        if not alone:
            yield unit
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield unit
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    for action in unit.after_commit:
        action()


def _check_file(connection: sqlite3.Connection, path: Path) -> None:
    cursor = connection.cursor()
    cursor.row_factory = None
    files = [row[2] for row in cursor.execute("PRAGMA database_list") if row[1] == "main"]
    main = files[0] if files else ""
    if not main or os.path.realpath(main) != os.fspath(path):
        raise ConfigurationError(
            f"this connection is on {main or 'a database without a file'}, and the queue on {path}; "
            "a job can only be part of a transaction on the queue's own file."
        )
