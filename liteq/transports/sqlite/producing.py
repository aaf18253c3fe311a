"""Storing new jobs, inside a transaction that the caller has opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from liteq.job import NewJob
from liteq.transports.sqlite.connection import Unit
from liteq.transports.sqlite.lanes import Lanes
from liteq.transports.sqlite.schema import INLINE_PAYLOAD

__all__ = ["insert_jobs"]

INSERT = (
    "INSERT INTO liteq_jobs (id, lane, stage, state, priority, due, eta, expires, attempts, retries, "
    "crashes, max_crashes, ignore_result, result_expires, enqueued, codec, options, payload) "
    "VALUES (?, ?, ?, 'PENDING', ?, ?, ?, ?, 0, 0, 0, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
)
ADD_BODY = "INSERT INTO liteq_bodies (seq, payload) SELECT seq, ? FROM liteq_jobs WHERE id = ?"
GIVE_WAY = "DELETE FROM liteq_jobs WHERE id = ? AND stage = 3"

Row = tuple[object, ...]


def insert_jobs(unit: Unit, lanes: Lanes, jobs: Sequence[NewJob], now: float) -> list[bool]:
    """Insert jobs; for each, tell whether it was stored or gave way to an unfinished one of its id."""
    rows = [_row(lanes.number(unit, job.queue, job.task), job, now) for job in jobs]
    cursor = unit.connection.cursor()
    stored = [_insert_one(cursor, jobs[0], rows[0])] if len(rows) == 1 else _insert_many(cursor, jobs, rows)
    for job, is_stored in zip(jobs, stored, strict=True):
        if is_stored and len(job.payload) > INLINE_PAYLOAD:
            cursor.execute(ADD_BODY, (job.payload, job.id))
    return stored


def _row(lane: int, job: NewJob, now: float) -> Row:
    due = now if job.eta is None else max(now, job.eta)
    return (
        job.id,
        lane,
        0 if due <= now else 1,
        job.priority,
        due,
        job.eta,
        job.expires,
        job.max_crashes,
        job.ignore_result,
        job.result_expires,
        now,
        None if job.codec == "msgpack" else job.codec,
        job.options,
        job.payload if len(job.payload) <= INLINE_PAYLOAD else None,
    )


def _insert_many(cursor: sqlite3.Cursor, jobs: Sequence[NewJob], rows: list[Row]) -> list[bool]:
    """Insert all at once; one by one only where an id was in use, which a batch does not tell apart."""
    cursor.execute("SAVEPOINT liteq_batch")
    cursor.executemany(INSERT, rows)
    if cursor.rowcount == len(rows):
        cursor.execute("RELEASE liteq_batch")
        return [True] * len(rows)
    cursor.execute("ROLLBACK TO liteq_batch")
    stored = [_insert_one(cursor, job, row) for job, row in zip(jobs, rows, strict=True)]
    cursor.execute("RELEASE liteq_batch")
    return stored


def _insert_one(cursor: sqlite3.Cursor, job: NewJob, row: Row) -> bool:
    if cursor.execute(INSERT, row).rowcount == 1:
        return True
    cursor.execute(GIVE_WAY, (job.id,))
    return cursor.rowcount == 1 and cursor.execute(INSERT, row).rowcount == 1
