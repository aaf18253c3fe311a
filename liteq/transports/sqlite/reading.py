"""Reading jobs and counting them; nothing here writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from liteq.job import Claim, Job, JobFilter, LaneCount
from liteq.transports.sqlite.lanes import Lanes

__all__ = ["count_lanes", "find_jobs", "get_jobs", "leased_by"]

COLUMNS = (
    "seq, id, lane, NULL, state, stage = 3, priority, enqueued, due, eta, expires, started, done, attempts, "
    "retries, crashes, max_crashes, ignore_result, holder, coalesce(codec, 'msgpack'), "
    "coalesce(payload, (SELECT b.payload FROM liteq_bodies b WHERE b.seq = liteq_jobs.seq)), "
    "options, result, reason"
)
BY_ID = f"SELECT {COLUMNS} FROM liteq_jobs WHERE id = ?"
LEASED = """
    SELECT seq, token, id, lane, NULL,
        coalesce(payload, (SELECT b.payload FROM liteq_bodies b WHERE b.seq = liteq_jobs.seq)),
        coalesce(codec, 'msgpack'), priority, due, eta, expires, attempts, retries, crashes, max_crashes,
        ignore_result, options
    FROM liteq_jobs WHERE stage = 2 AND holder = ? ORDER BY token, priority DESC, due, seq"""
COUNT = "SELECT lane, state, stage, count(*) FROM liteq_jobs GROUP BY lane, state, stage"
STATIONS = ("ready", "delayed", "leased", "finished")
_LANE = 2


def _job(connection: sqlite3.Connection, lanes: Lanes, row: Sequence[object]) -> Job:
    lane = lanes.name(connection, row[_LANE])  # type: ignore[arg-type]  # the column is an INTEGER
    job = Job._make(row)
    return job._replace(
        task=lane.task, queue=lane.queue, finished=bool(job.finished), ignore_result=bool(job.ignore_result)
    )


def get_jobs(connection: sqlite3.Connection, lanes: Lanes, job_ids: Sequence[str]) -> list[Job | None]:
    """Read jobs by id, in the order asked."""
    found: list[Job | None] = []
    for job_id in job_ids:
        row = connection.execute(BY_ID, (job_id,)).fetchone()
        found.append(None if row is None else _job(connection, lanes, row))
    return found


def find_jobs(connection: sqlite3.Connection, lanes: Lanes, which: JobFilter) -> list[Job]:
    """Read jobs by a filter, the newest first."""
    conditions: list[str] = []
    parameters: list[object] = []

    def among(column: str, values: Sequence[str] | None) -> None:
        if values is not None:
            conditions.append(f"{column} IN ({', '.join('?' * len(values))})")
            parameters.extend(str(value) for value in values)

    among("state", which.states)
    lane = (
        "(SELECT {0}.name FROM liteq_lanes l JOIN liteq_{0}s {0} ON {0}.id = l.{0} "
        "WHERE l.id = liteq_jobs.lane)"
    )
    among(lane.format("task"), which.tasks)
    among(lane.format("queue"), which.queues)
    if which.done_since is not None:
        conditions.append("stage = 3 AND done >= ?")
        parameters.append(which.done_since)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM liteq_jobs {where} ORDER BY seq DESC LIMIT ?", (*parameters, which.limit)
    ).fetchall()
    return [_job(connection, lanes, row) for row in rows]


def count_lanes(connection: sqlite3.Connection, lanes: Lanes) -> list[LaneCount]:
    """Count jobs by queue, task, state and station."""
    counts = []
    for number, state, stage, jobs in connection.execute(COUNT).fetchall():
        lane = lanes.name(connection, number)
        counts.append(LaneCount(lane.queue, lane.task, state, STATIONS[stage], jobs))
    return sorted(counts)


def leased_by(connection: sqlite3.Connection, lanes: Lanes, holder: int) -> list[Claim]:
    """Read what a holder has under lease, in the order in which it claimed."""
    claims = []
    for row in connection.execute(LEASED, (holder,)).fetchall():
        lane = lanes.name(connection, row[3])
        claims.append(Claim._make(row)._replace(task=lane.task, queue=lane.queue))
    return claims
