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
from liteq.transports.sqlite.soundness import (
    LATEST,
    SOUND_ID,
    quarantine,
    quarantine_lane,
    read_rows,
    undecodable,
)

__all__ = ["claim", "expire_waiting", "new_token", "next_due", "promote_due"]

PROMOTION_LIMIT = 10_000
"""Delayed jobs that one transaction makes ready, so that a million of them due at once block nobody."""

MOST_DAMAGED = 1000
"""How often one claim begins again because all that it took was damaged."""

# A loose index scan: one seek for each lane that has ready jobs, however many jobs those are. The lower bound
# passes by what is NULL although the table says that it cannot be.
OPEN_LANES = """
    WITH RECURSIVE open (lane) AS (
        SELECT min(lane) FROM liteq_jobs WHERE stage = 0 AND lane >= -9e999
        UNION ALL
        SELECT (SELECT min(lane) FROM liteq_jobs WHERE stage = 0 AND lane > open.lane)
        FROM open WHERE open.lane IS NOT NULL
    ) SELECT lane FROM open WHERE lane IS NOT NULL"""

NEXT_DUE = f"SELECT min(due) FROM liteq_jobs WHERE stage = 1 AND due BETWEEN -9e999 AND {LATEST}"
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
LANE_HEAD = f"""
    SELECT iif(priority < 32768, priority, 32767), iif(due < {LATEST}, due, 0.0), seq FROM liteq_jobs
    WHERE stage = 0 AND lane = ? AND (expires IS NULL OR expires > ?) ORDER BY priority DESC, due, seq"""

CLAIM = f"""seq, token, {SOUND_ID}, ?4, ?5, payload, coalesce(codec, 'msgpack'), priority, due, eta, expires,
        attempts, retries, crashes, max_crashes, ignore_result, options"""
TAKE = """
    UPDATE liteq_jobs SET stage = 2, state = 'STARTED', holder = ?1, token = ?2, started = ?3,
        attempts = attempts + 1, result = NULL, reason = NULL
    WHERE seq IN ({chosen})
    RETURNING {claim}"""
TAKE_FROM_LANE = TAKE.format(
    claim=CLAIM,
    chosen="SELECT seq FROM liteq_jobs WHERE stage = 0 AND lane = ?6 AND (expires IS NULL OR expires > ?3) "
    "ORDER BY priority DESC, due, seq LIMIT ?7",
)
TAKEN = f"SELECT {CLAIM} FROM liteq_jobs WHERE stage = 2 AND holder = ?1 AND token = ?2 AND lane = ?6"
# A text would have to be UTF-8 to be read; the worker says what is wrong with the bytes.
BODY = "SELECT CAST(payload AS BLOB) FROM liteq_bodies WHERE seq = ?"

_SEQ, _ID, _PRIORITY, _DUE = 0, 2, 7, 8


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
    found = read_rows(cursor, EXPIRE, (now, limit))
    return [job_id if isinstance(job_id, str) else "" for (job_id,) in found]


def open_lanes(
    connection: sqlite3.Connection, lanes: Lanes, request: ClaimRequest
) -> tuple[list[tuple[int, Lane]], list[int]]:
    """Return the lanes with ready jobs that the request would take from, and those that lead nowhere."""
    found = [(number, lanes.find(connection, number)) for (number,) in read_rows(connection, OPEN_LANES)]
    serving = [
        (number, lane)
        for number, lane in found
        if lane is not None
        and lane.task in request.tasks
        and (request.queues is None or lane.queue in request.queues)
    ]
    return serving, [number for number, lane in found if lane is None]


def next_due(connection: sqlite3.Connection, lanes: Lanes, request: ClaimRequest) -> float | None:
    """Return 0 if the request would find a job now, else when the next delayed job is due, or None.

    Jobs of a lane that leads nowhere count as found: the claim ends them.
    """
    if any(open_lanes(connection, lanes, request)):
        return 0.0
    due = connection.execute(NEXT_DUE).fetchone()[0]
    return None if due is None else float(due)


def claim(
    connection: sqlite3.Connection, lanes: Lanes, request: ClaimRequest, holder: Holder, now: float
) -> list[Claim]:
    """Put the first jobs of the request's lanes under a lease, in the order in which they are to run."""
    if request.limit < 1:
        return []
    for _ in range(MOST_DAMAGED):
        rows = _lease(connection, lanes, request, holder, now)
        sound = [row for row in rows if row[_ID] is not None]
        if len(sound) == len(rows):
            break
        # Those behind the damaged ones are not to wait for another turn.
        quarantine(connection, [row[_SEQ] for row in rows if row[_ID] is None], now)
        if sound:
            break
    sound.sort(key=_place)
    return [_claim(connection, row) for row in sound]


def _lease(
    connection: sqlite3.Connection, lanes: Lanes, request: ClaimRequest, holder: Holder, now: float
) -> list[tuple[object, ...]]:
    """Lease the first rows of the request's lanes, in no order; those that cannot be run have no id."""
    serving, lost = open_lanes(connection, lanes, request)
    for number in lost:
        quarantine_lane(connection, number, now)
    if not serving:
        return []
    if len(serving) == 1:
        [(number, lane)] = serving
        size = max(1, min(request.limit, request.budget // max(1, request.tasks[lane.task])))
        parameters = (holder.number, holder.token, now, lane.task, lane.queue, number, size)
        return _take(connection, TAKE_FROM_LANE, parameters, number)
    return _take_from_many(connection, serving, request, holder, now)


def _take(
    connection: sqlite3.Connection, statement: str, parameters: tuple[object, ...], number: int
) -> list[tuple[object, ...]]:
    """Lease rows of one lane and return them; those that cannot be run have no id."""
    try:
        return connection.execute(statement, parameters).fetchall()
    except sqlite3.OperationalError as error:
        if not undecodable(error):
            raise
    # All were leased before the first was fetched, and no other lease has this token.
    connection.text_factory = _text_or_nothing
    try:
        return connection.execute(TAKEN, (*parameters[:5], number)).fetchall()
    finally:
        connection.text_factory = str


def _text_or_nothing(written: bytes) -> str | None:
    try:
        return written.decode()
    except UnicodeDecodeError:
        return None


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
    for (number, lane), seqs in _choose(connection, serving, request, now).items():
        take = TAKE.format(claim=CLAIM, chosen=",".join(map(str, seqs)))
        rows += _take(connection, take, (holder.number, holder.token, now, lane.task, lane.queue), number)
    return rows


def _choose(
    connection: sqlite3.Connection, serving: list[tuple[int, Lane]], request: ClaimRequest, now: float
) -> dict[tuple[int, Lane], list[int]]:
    """Merge the lanes by their order, reading no more of each than is taken."""
    heads = heapq.merge(*(_head(connection, number, lane, now) for number, lane in serving))
    chosen: dict[tuple[int, Lane], list[int]] = {}
    spent = 0
    for taken, (_, _, seq, number, lane) in enumerate(heads):
        spent += max(1, request.tasks[lane.task])
        if taken and (spent > request.budget or taken >= request.limit):
            break
        chosen.setdefault((number, lane), []).append(seq)
    return chosen


def _head(
    connection: sqlite3.Connection, number: int, lane: Lane, now: float
) -> Iterator[tuple[int, float, int, int, Lane]]:
    for priority, due, seq in connection.execute(LANE_HEAD, (number, now)):
        yield -priority, due, seq, number, lane


def _claim(connection: sqlite3.Connection, row: tuple[object, ...]) -> Claim:
    claimed = Claim._make(row)
    if claimed.payload is None:
        body = connection.execute(BODY, (claimed.seq,)).fetchone()
        # No body and no payload: it is a text, and not even that. The worker says that it cannot be decoded.
        return claimed._replace(payload=b"" if body is None else body[0])
    return claimed
