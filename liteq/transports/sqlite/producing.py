"""Storing new jobs, inside a transaction that the caller has opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

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
INSERT_PLAIN = (
    "INSERT INTO liteq_jobs (id, lane, stage, state, priority, due, attempts, retries, crashes, max_crashes, "
    "ignore_result, enqueued, payload) "
    "VALUES (?1, ?2, 0, 'PENDING', ?3, ?7, 0, 0, 0, ?4, ?5, ?7, ?6) ON CONFLICT (id) DO NOTHING"
)
"""For most jobs; every value that is bound costs a tenth of a microsecond, and `INSERT` binds 14."""
ADD_BODY = "INSERT INTO liteq_bodies (seq, payload) SELECT seq, ? FROM liteq_jobs WHERE id = ?"
GIVE_WAY = "DELETE FROM liteq_jobs WHERE id = ? AND stage = 3"

Row = tuple[object, ...]


def insert_jobs(unit: Unit, lanes: Lanes, jobs: Sequence[NewJob], now: float) -> list[bool]:
    """Insert jobs; for each, tell whether it was stored or gave way to an unfinished one of its id."""
    cursor = unit.connection.cursor()
    if len(jobs) == 1:
        return [_insert_one(cursor, jobs[0], *_row(unit, lanes, jobs[0], now))]
    rows = [_row(unit, lanes, job, now) for job in jobs]
    stored: list[bool] = []
    for statement, run in groupby(rows, key=itemgetter(0)):
        values = [row for _, row in run]
        part = jobs[len(stored) : len(stored) + len(values)]
        stored += _insert_many(cursor, part, statement, values)
    return stored


def _row(unit: Unit, lanes: Lanes, job: NewJob, now: float) -> tuple[str, Row]:
    """Return the statement that stores a job, and what it binds."""
    (
        job_id,
        task,
        payload,
        codec,
        queue,
        priority,
        eta,
        expires,
        max_crashes,
        ignore_result,
        result_expires,
        options,
    ) = job
    lane = lanes.number(unit, queue, task)
    if (
        eta is None
        and expires is None
        and options is None
        and codec == "msgpack"
        and result_expires is None
        and len(payload) <= INLINE_PAYLOAD
    ):
        return INSERT_PLAIN, (job_id, lane, priority, max_crashes, ignore_result, payload, now)
    due = now if eta is None else max(now, eta)
    return INSERT, (
        job_id,
        lane,
        0 if due <= now else 1,
        priority,
        due,
        eta,
        expires,
        max_crashes,
        ignore_result,
        result_expires,
        now,
        None if codec == "msgpack" else codec,
        options,
        payload if len(payload) <= INLINE_PAYLOAD else None,
    )


def _insert_many(
    cursor: sqlite3.Cursor, jobs: Sequence[NewJob], statement: str, rows: list[Row]
) -> list[bool]:
    """Insert all at once; one by one only where an id was in use, which a batch does not tell apart."""
    cursor.execute("SAVEPOINT liteq_batch")
    cursor.executemany(statement, rows)
    if cursor.rowcount == len(rows):
        cursor.execute("RELEASE liteq_batch")
        _add_bodies(cursor, jobs)
        return [True] * len(rows)
    cursor.execute("ROLLBACK TO liteq_batch")
    cursor.execute("RELEASE liteq_batch")
    return [_insert_one(cursor, job, statement, row) for job, row in zip(jobs, rows, strict=True)]


def _insert_one(cursor: sqlite3.Cursor, job: NewJob, statement: str, row: Row) -> bool:
    if cursor.execute(statement, row).rowcount != 1:
        cursor.execute(GIVE_WAY, (job.id,))
        if cursor.rowcount != 1 or cursor.execute(statement, row).rowcount != 1:
            return False
    if len(job.payload) > INLINE_PAYLOAD:
        cursor.execute(ADD_BODY, (job.payload, job.id))
    return True


def _add_bodies(cursor: sqlite3.Cursor, jobs: Sequence[NewJob]) -> None:
    large = [(job.payload, job.id) for job in jobs if len(job.payload) > INLINE_PAYLOAD]
    if large:
        cursor.executemany(ADD_BODY, large)
