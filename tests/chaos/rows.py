"""What the queue's file says when everything has stopped."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liteq.codec import decode_call, get_codec
from liteq.failure import decode_failure
from liteq.job import Job, JobFilter
from liteq.transports.sqlite.transport import SqliteTransport

__all__ = ["TABLES", "Contents", "Row", "read_contents"]

ALL = 1_000_000_000

TABLES = (
    "CREATE TABLE IF NOT EXISTS orders (key TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS paid (tag TEXT NOT NULL, evidence TEXT NOT NULL)",
)
"""The application's own, in the queue's file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A stored job.

    Attributes:
        tag: its first argument.
        value: the evidence that its attempt left: the result, or the message of the exception.
        error: the name of the exception's type, if it failed.
    """

    tag: str
    id: str
    state: str
    finished: bool = True
    seq: int = 0
    priority: int = 0
    due: float = 0.0
    eta: float | None = None
    expires: float | None = None
    enqueued: float = 0.0
    started: float | None = None
    done: float | None = None
    attempts: int = 1
    retries: int = 0
    crashes: int = 0
    max_crashes: int = 3
    value: str | None = None
    error: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The file.

    Attributes:
        rows: the jobs.
        orders: the keys of the rows that callers wrote in the transactions of their calls.
        paid: tag and evidence of the rows that tasks wrote in the transactions of their completion.
        damage: what SQLite's integrity check found, and what could not be read.
    """

    rows: Sequence[Row] = ()
    orders: Sequence[str] = ()
    paid: Sequence[tuple[str, str]] = ()
    damage: Sequence[str] = ()


def read_contents(path: Path) -> Contents:
    """Read a queue's file that nobody uses any more."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        damage = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
        (stored,) = connection.execute("SELECT count(*) FROM liteq_jobs").fetchone()
        orders = [key for (key,) in _select(connection, "SELECT key FROM orders")]
        paid = [(tag, value) for tag, value in _select(connection, "SELECT tag, evidence FROM paid")]
    finally:
        connection.close()
    transport = SqliteTransport(path, create=False)
    try:
        jobs = transport.find(JobFilter(limit=ALL))
    finally:
        transport.close()
    if stored != len(jobs):
        damage.append(f"the file has {stored} jobs, and the transport finds {len(jobs)}")
    return Contents(rows=[_row(job) for job in jobs], orders=orders, paid=paid, damage=damage)


def _select(connection: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    table = query.rpartition(" ")[2]
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return connection.execute(query).fetchall() if known else []


def _row(job: Job) -> Row:
    codec = get_codec(job.codec)
    args, _ = decode_call(codec, job.payload)
    value = error = None
    if job.state in ("FAILURE", "RETRY") and job.result is not None:
        failure = decode_failure(job.result)
        value, error = failure.message, failure.type
    elif job.state == "SUCCESS" and job.result is not None:
        value = codec.decode(job.result)
    return Row(
        tag=args[0],
        id=job.id,
        state=job.state,
        finished=job.finished,
        seq=job.seq,
        priority=job.priority,
        due=job.due,
        eta=job.eta,
        expires=job.expires,
        enqueued=job.enqueued,
        started=job.started,
        done=job.done,
        attempts=job.attempts,
        retries=job.retries,
        crashes=job.crashes,
        max_crashes=job.max_crashes,
        value=value,
        error=error,
        reason=job.reason,
    )
