"""Where the queue of a proof is: each kind of store, as the proofs see it from outside."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from redis_server import RedisServer

from chaos.rows import ALL, Contents, read_rows
from liteq.app.opening import open_transport
from liteq.job import Job, JobFilter
from liteq.transport import Transport
from liteq.transports.sqlite.transport import SqliteTransport

__all__ = ["LEADER", "STORES", "FileStore", "ProofStore", "RedisStore", "transport_class"]

LEADER = "leader"
"""The file in which the process that leads the schedulers of a queue on Redis tells its process id."""
FEW_KEYS = 40
"""How many keys of a queue may be left on a server when none of its jobs is."""

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


class RedisStore:
    """A queue on a Redis server.

    Args:
        server: the server, as this process reaches it.
        folder: where whoever leads the schedulers says so.
        url: how those who use the queue reach the server; by default as this process does.
    """

    joins = False

    def __init__(self, server: RedisServer, folder: Path, url: str | None = None) -> None:
        self.server = server
        self.url = url or server.url()
        self._folder = folder

    def open(self) -> Transport:
        return open_transport(self.server.url(), durability="normal")

    def contents(self) -> Contents:
        with self.open() as transport:
            jobs = transport.find(JobFilter(limit=ALL))
            rows = read_rows(transport)
            counted = sum(lane.jobs for lane in transport.count())
            damage = [] if counted == len(jobs) else [f"{counted} jobs are counted, and {len(jobs)} found"]
            again = transport.get([job.id for job in jobs])
            damage += [
                f"{job.id} is {job}, and read as {read}"
                for job, read in zip(jobs, again, strict=True)
                if job != read
            ]
            damage += self._left_of(transport, jobs)
        return Contents(rows=rows, damage=damage)

    def _left_of(self, transport: Transport, jobs: Sequence[Job]) -> list[str]:
        """Drop the jobs, which are all finished; say what is left of them."""
        left = [f"{job.id} cannot be forgotten" for job in jobs if not transport.forget(job.id)]
        # Here, because the programs of a storm, which import this as well, start the slower for it.
        import redis

        # Replies are kept for those who may ask again, and go by themselves.
        with closing(redis.Redis(unix_socket_path=str(self.server.socket))) as client:
            keys = [key for key in client.scan_iter() if client.ttl(key) == -1]
        return left if len(keys) <= FEW_KEYS else [*left, f"{len(keys)} keys are left of it: {keys[:9]}"]

    def leader(self) -> int | None:
        told = self._folder / LEADER
        return int(told.read_text() or 0) if told.exists() else None


def _select(connection: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    table = query.rpartition(" ")[2]
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return connection.execute(query).fetchall() if known else []


@contextmanager
def _file(folder: Path) -> Iterator[ProofStore]:
    yield FileStore(folder)


@contextmanager
def _redis(folder: Path) -> Iterator[ProofStore]:
    with RedisServer() as server:
        yield RedisStore(server, folder)


STORES: Mapping[str, Callable[[Path], AbstractContextManager[ProofStore]]] = {
    "sqlite": _file,
    "redis": _redis,
}
"""By the name of its transport, what makes a store that uses a folder, and removes it."""


def transport_class(url: str) -> type[Transport]:
    """Return the class of the transport that a URL names, and open nothing."""
    if "://" not in url:
        return SqliteTransport
    # Only where one is needed: the library that it needs takes its time to import.
    from liteq.transports.redis.transport import RedisTransport

    return RedisTransport
