"""What people and the maintainer do to jobs: revoke, purge, requeue, forget, sweep."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from liteq.job import DEFAULT_RESULT_EXPIRES
from liteq.transports.sqlite.soundness import LATEST, has_strays

__all__ = ["discard_results", "forget", "next_sweep", "purge", "requeue", "revoke"]

_END = f"""
    UPDATE liteq_jobs SET stage = 3, state = 'REVOKED', reason = ?1, done = ?2, result = NULL,
        discard = CASE WHEN result_expires = 0 THEN NULL
            ELSE ?2 + coalesce(result_expires, {DEFAULT_RESULT_EXPIRES}) END
    WHERE stage < 2 AND """
REVOKE = _END + "id = ?3"
PURGE = _END + "lane IN (SELECT l.id FROM liteq_lanes l JOIN liteq_queues q ON q.id = l.queue WHERE {which})"
REQUEUE = """
    UPDATE liteq_jobs SET stage = 0, state = 'PENDING', due = ?1, attempts = 0, retries = 0, crashes = 0,
        expires = CASE WHEN expires <= ?1 THEN NULL ELSE expires END,
        started = NULL, done = NULL, discard = NULL, result = NULL, reason = NULL
    WHERE id = ?2 AND stage = 3 AND state IN ('FAILURE', 'REVOKED')"""
FORGET_FINISHED = "DELETE FROM liteq_jobs WHERE id = ? AND stage = 3"
FORGET_LATER = "UPDATE liteq_jobs SET ignore_result = 1 WHERE id = ?"
DISCARD = """
    DELETE FROM liteq_jobs WHERE seq IN (
        SELECT seq FROM liteq_jobs WHERE stage = 3 AND discard <= ? ORDER BY discard LIMIT ?)"""
# Text and blobs are greater than every number, and sort behind them.
NEXT_SWEEP = f"""
    SELECT min(at) FROM (
        SELECT min(discard) AS at FROM liteq_jobs WHERE stage = 3 AND discard < {LATEST}
        UNION ALL SELECT min(expires) FROM liteq_jobs WHERE stage < 2 AND expires < {LATEST})"""


def revoke(cursor: sqlite3.Cursor, job_ids: Sequence[str], now: float, reason: str) -> list[bool]:
    """Make waiting jobs REVOKED; False for the others."""
    return [cursor.execute(REVOKE, (reason, now, job_id)).rowcount == 1 for job_id in job_ids]


def purge(cursor: sqlite3.Cursor, queues: Sequence[str] | None, now: float) -> int:
    """Make all waiting jobs of these queue names REVOKED; return how many."""
    if queues is None:
        return cursor.execute(PURGE.format(which="1"), ("purged", now)).rowcount
    which = f"q.name IN ({', '.join('?' * len(queues))})"
    # Numbered and plain parameters mix: the plain ones go on after the highest number.
    return cursor.execute(PURGE.format(which=which), ("purged", now, *queues)).rowcount


def requeue(cursor: sqlite3.Cursor, job_ids: Sequence[str], now: float) -> list[bool]:
    """Put failed or revoked jobs back, as new; False for the others."""
    return [cursor.execute(REQUEUE, (now, job_id)).rowcount == 1 for job_id in job_ids]


def forget(cursor: sqlite3.Cursor, job_id: str) -> bool:
    """Drop a finished job's record, or see to it that an unfinished one keeps no success."""
    if cursor.execute(FORGET_FINISHED, (job_id,)).rowcount == 1:
        return True
    return cursor.execute(FORGET_LATER, (job_id,)).rowcount == 1


def discard_results(cursor: sqlite3.Cursor, now: float, limit: int) -> int:
    """Delete finished jobs whose results have expired; return how many."""
    return cursor.execute(DISCARD, (now, limit)).rowcount


def next_sweep(connection: sqlite3.Connection) -> float | None:
    """Return when the next result or waiting job expires; 0 if there are jobs that only a sweep can end."""
    if has_strays(connection):
        return 0.0
    at = connection.execute(NEXT_SWEEP).fetchone()[0]
    return None if at is None else float(at)
