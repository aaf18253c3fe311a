"""Taking ready jobs, in order, from the lanes that a worker serves and knows."""

from __future__ import annotations

import heapq
import os
import sqlite3
import time
from collections.abc import Iterator
from typing import NamedTuple

from liteq.job import Claim, ClaimRequest
from liteq.transports.sqlite.lanes import Lane, Lanes

__all__ = ["claim", "expire_waiting", "new_token", "next_due", "promote_due"]

PROMOTION_LIMIT = 10_000
"""Delayed jobs that one transaction makes ready, so that a million of them due at once block nobody."""

# A loose index scan: one seek for each lane that has ready jobs, however many jobs those are.
OPEN_LANES = """
    WITH RECURSIVE open (lane) AS (
        SELECT min(lane) FROM liteq_jobs WHERE stage = 0
        UNION ALL
        SELECT (SELECT min(lane) FROM liteq_jobs WHERE stage = 0 AND lane > open.lane)
        FROM open WHERE open.lane IS NOT NULL
    ) SELECT lane FROM open WHERE lane IS NOT NULL"""

ANY_DUE = "SELECT 1 FROM liteq_jobs WHERE stage = 1 AND due <= ? LIMIT 1"
PROMOTE = f"""
    UPDATE liteq_jobs SET stage = 0 WHERE seq IN (
        SELECT seq FROM liteq_jobs WHERE stage = 1 AND due <= ? ORDER BY due LIMIT {PROMOTION_LIMIT})"""

ANY_EXPIRED = "SELECT 1 FROM liteq_jobs WHERE stage < 2 AND expires <= ? LIMIT 1"
EXPIRE = """
    UPDATE liteq_jobs SET stage = 3, state = 'REVOKED', reason = 'expired before it ran',
        done = ?1, result = NULL,
        discard = CASE WHEN result_expires = 0 THEN NULL ELSE ?1 + coalesce(result_expires, 86400.0) END
    WHERE seq IN (SELECT seq FROM liteq_jobs WHERE stage < 2 AND expires <= ?1 ORDER BY expires LIMIT ?2)
    RETURNING id"""

# Expired jobs are swept first, but only so many at a time; none of the rest may slip through.
LANE_HEAD = """
    SELECT priority, due, seq FROM liteq_jobs
    WHERE stage = 0 AND lane = ? AND (expires IS NULL OR expires > ?) ORDER BY priority DESC, due, seq"""

TAKE = """
    UPDATE liteq_jobs SET stage = 2, state = 'STARTED', holder = ?1, token = ?2, started = ?3,
        attempts = attempts + 1, result = NULL, reason = NULL
    WHERE seq IN ({chosen})
    RETURNING seq, token, id, ?4, ?5, payload, coalesce(codec, 'msgpack'), priority, due, eta, expires,
        attempts, retries, crashes, max_crashes, ignore_result, options"""
TAKE_FROM_LANE = TAKE.format(
    chosen="SELECT seq FROM liteq_jobs WHERE stage = 0 AND lane = ?6 AND (expires IS NULL OR expires > ?3) "
    "ORDER BY priority DESC, due, seq LIMIT ?7"
)
BODY = "SELECT payload FROM liteq_bodies WHERE seq = ?"

_SEQ, _PRIORITY, _DUE = 0, 7, 8


class Holder(NamedTuple):
    """Who claims, and under which token."""

    number: int
    token: int


def new_token() -> int:
    """Return a fencing token that no other lease of the job has, whichever process made that.

    The time in steps of 4 µs, so that later claims sort later; 12 random bits, in case a clock is set back.
    """
    return time.time_ns() & ~0xFFF | int.from_bytes(os.urandom(2)) >> 4


def promote_due(cursor: sqlite3.Cursor, now: float) -> None:
    """Make delayed jobs ready whose time has come."""
    if cursor.execute(ANY_DUE, (now,)).fetchone():
        cursor.execute(PROMOTE, (now,))


def expire_waiting(cursor: sqlite3.Cursor, now: float, limit: int = 10_000) -> list[str]:
    """Make waiting jobs REVOKED whose `expires` has passed; return their ids."""
    if cursor.execute(ANY_EXPIRED, (now,)).fetchone() is None:
        return []
    return [row[0] for row in cursor.execute(EXPIRE, (now, limit)).fetchall()]


def open_lanes(connection: sqlite3.Connection, lanes: Lanes, request: ClaimRequest) -> list[tuple[int, Lane]]:
    """Return the lanes with ready jobs that the request would take from."""
    found = [(number, lanes.name(connection, number)) for (number,) in connection.execute(OPEN_LANES)]
    return [
        (number, lane)
        for number, lane in found
        if lane.task in request.tasks and (request.queues is None or lane.queue in request.queues)
    ]


def next_due(connection: sqlite3.Connection, lanes: Lanes, request: ClaimRequest) -> float | None:
    """Return 0 if the request would find a job now, else when the next delayed job is due, or None."""
    if open_lanes(connection, lanes, request):
        return 0.0
    due = connection.execute("SELECT min(due) FROM liteq_jobs WHERE stage = 1").fetchone()[0]
    return None if due is None else float(due)


def claim(
    connection: sqlite3.Connection, lanes: Lanes, request: ClaimRequest, holder: Holder, now: float
) -> list[Claim]:
    """Put the first jobs of the request's lanes under a lease, in the order in which they are to run."""
    if request.limit < 1:
        return []
    serving = open_lanes(connection, lanes, request)
    if not serving:
        return []
    if len(serving) == 1:
        [(number, lane)] = serving
        size = max(1, min(request.limit, request.budget // max(1, request.tasks[lane.task])))
        parameters = (holder.number, holder.token, now, lane.task, lane.queue, number, size)
        rows = connection.execute(TAKE_FROM_LANE, parameters).fetchall()
    else:
        rows = _take_from_many(connection, serving, request, holder, now)
    rows.sort(key=_place)
    return [_claim(connection, row) for row in rows]


def _place(row: tuple[object, ...]) -> tuple[object, ...]:
    """Where a claimed row stands among the others; RETURNING promises no order."""
    return (-row[_PRIORITY], row[_DUE], row[_SEQ])  # type: ignore[operator]


def _take_from_many(
    connection: sqlite3.Connection,
    serving: list[tuple[int, Lane]],
    request: ClaimRequest,
    holder: Holder,
    now: float,
) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for lane, seqs in _choose(connection, serving, request, now).items():
        take = TAKE.format(chosen=",".join(map(str, seqs)))
        parameters = (holder.number, holder.token, now, lane.task, lane.queue)
        rows += connection.execute(take, parameters).fetchall()
    return rows


def _choose(
    connection: sqlite3.Connection, serving: list[tuple[int, Lane]], request: ClaimRequest, now: float
) -> dict[Lane, list[int]]:
    """Merge the lanes by their order, reading no more of each than is taken."""
    heads = heapq.merge(*(_head(connection, number, lane, now) for number, lane in serving))
    chosen: dict[Lane, list[int]] = {}
    spent = 0
    for taken, (_, _, seq, lane) in enumerate(heads):
        spent += max(1, request.tasks[lane.task])
        if taken and (spent > request.budget or taken >= request.limit):
            break
        chosen.setdefault(lane, []).append(seq)
    return chosen


def _head(
    connection: sqlite3.Connection, number: int, lane: Lane, now: float
) -> Iterator[tuple[int, float, int, Lane]]:
    for priority, due, seq in connection.execute(LANE_HEAD, (number, now)):
        yield -priority, due, seq, lane


def _claim(connection: sqlite3.Connection, row: tuple[object, ...]) -> Claim:
    claimed = Claim._make(row)
    if claimed.payload is None:
        (payload,) = connection.execute(BODY, (claimed.seq,)).fetchone()
        return claimed._replace(payload=payload)
    return claimed
