"""Where the queue of a proof is: each kind of store, as the proofs see it from outside."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from chaos.rows import Contents, read_rows
from liteq.transport import Transport
from liteq.transports.sqlite.transport import SqliteTransport

__all__ = ["STORES", "FileStore", "ProofStore", "transport_class"]

TABLES = (
    "CREATE TABLE IF NOT EXISTS orders (key TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS paid (tag TEXT NOT NULL, evidence TEXT NOT NULL)",
)
"""The application's own, in the queue's file."""


class ProofStore(Protocol):
    """The store of one queue, made for a proof."""

    url: str
    """What `liteq.Queue` is given."""
    joins: bool
    """Whether callers and tasks can write rows of their own in one transaction with a job."""

    def open(self) -> Transport:
        """Open one more handle on it."""

    def contents(self) -> Contents:
        """Read what is in it when nobody uses it any more."""

    def leader(self) -> int | None:
        """Return the process id of whoever leads the schedulers; None if nobody does."""


class FileStore:
    """A queue file in a folder.

    Args:
        folder: where it is; it is made, with the application's own tables.
    """

    joins = True

    def __init__(self, folder: Path) -> None:
        self.path = folder / "queue.db"
        self.url = str(self.path)
        with SqliteTransport(self.path) as transport, transport.transaction() as connection:
            for table in TABLES:
                connection.execute(table)

    def open(self) -> Transport:
        return SqliteTransport(self.path, create=False)

    def contents(self) -> Contents:
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        try:
            damage = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
            (stored,) = connection.execute("SELECT count(*) FROM liteq_jobs").fetchone()
            orders = [key for (key,) in _select(connection, "SELECT key FROM orders")]
            paid = [(tag, value) for tag, value in _select(connection, "SELECT tag, evidence FROM paid")]
        finally:
            connection.close()
        with self.open() as transport:
            rows = read_rows(transport)
        if stored != len(rows):
            damage.append(f"the file has {stored} jobs, and the transport finds {len(rows)}")
        return Contents(rows=rows, orders=orders, paid=paid, damage=damage)

    def leader(self) -> int | None:
        lock = self.path.with_name("queue.db.liteq") / "lead-scheduler"
        inode = str(lock.stat().st_ino) if lock.exists() else ""
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if "->" not in fields and fields[5].rpartition(":")[2] == inode:
                return int(fields[4])
        return None


def _select(connection: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    table = query.rpartition(" ")[2]
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return connection.execute(query).fetchall() if known else []


@contextmanager
def _file(folder: Path) -> Iterator[ProofStore]:
    yield FileStore(folder)


STORES: Mapping[str, Callable[[Path], AbstractContextManager[ProofStore]]] = {"sqlite": _file}
"""By the name of its transport, what makes a store that uses a folder, and removes it."""


def transport_class(url: str) -> type[Transport]:
    """Return the class of the transport that a URL names, and open nothing."""
    return SqliteTransport
