"""Storing new jobs, inside a transaction that the caller has opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import groupby

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
    "VALUES (?1, ?2, 0, 'PENDING', 0, ?5, 0, 0, 0, 3, ?3, ?5, ?4) ON CONFLICT (id) DO NOTHING"
)
"""For most jobs; every value that is bound costs a tenth of a microsecond, and `INSERT` binds 14."""
PLAIN_VALUES = 5
ADD_BODY = "INSERT INTO liteq_bodies (seq, payload) SELECT seq, ? FROM liteq_jobs WHERE id = ?"
GIVE_WAY = "DELETE FROM liteq_jobs WHERE id = ? AND stage = 3"

Row = tuple[object, ...]


def insert_jobs(unit: Unit, lanes: Lanes, jobs: Sequence[NewJob], now: float) -> list[bool]:
    """Insert jobs; for each, tell whether it was stored or gave way to an unfinished one of its id."""
    cursor = unit.connection.cursor()
    if len(jobs) == 1:
        return [_insert_one(cursor, jobs[0], _row(unit, lanes, jobs[0], now))]
    rows = [_row(unit, lanes, job, now) for job in jobs]
    stored: list[bool] = []
    for _, run in groupby(rows, key=len):
        values = list(run)
        stored += _insert_many(cursor, jobs[len(stored) : len(stored) + len(values)], values)
    return stored


def _row(unit: Unit, lanes: Lanes, job: NewJob, now: float) -> Row:
    """Return what is bound to store a job; `_statement` tells by which statement."""
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
        and priority == 0
        and max_crashes == 3
        and len(payload) <= INLINE_PAYLOAD
    ):
        return (job_id, lane, ignore_result, payload, now)
    due = now if eta is None else max(now, eta)
    return (
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


def _statement(row: Row) -> str:
    return INSERT if len(row) > PLAIN_VALUES else INSERT_PLAIN


def _insert_many(cursor: sqlite3.Cursor, jobs: Sequence[NewJob], rows: list[Row]) -> list[bool]:
    """Insert all at once; one by one only where an id was in use, which a batch does not tell apart."""
    cursor.execute("SAVEPOINT liteq_batch")
    cursor.executemany(_statement(rows[0]), rows)
    if cursor.rowcount == len(rows):
        cursor.execute("RELEASE liteq_batch")
        _add_bodies(cursor, jobs)
        return [True] * len(rows)
    cursor.execute("ROLLBACK TO liteq_batch")
    cursor.execute("RELEASE liteq_batch")
    return [_insert_one(cursor, job, row) for job, row in zip(jobs, rows, strict=True)]


def _insert_one(cursor: sqlite3.Cursor, job: NewJob, row: Row) -> bool:
    statement = _statement(row)
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
