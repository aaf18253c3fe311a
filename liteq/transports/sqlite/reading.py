"""Reading jobs and counting them; nothing here writes."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence

from liteq.job import Claim, Job, JobFilter, LaneCount, TaskOrigin
from liteq.transports.sqlite.lanes import Lanes
from liteq.transports.sqlite.soundness import DAMAGED, Columns, read_rows

__all__ = [
    "ANYTHING",
    "BYTES",
    "MAYBE_BYTES",
    "MAYBE_TEXT",
    "MAYBE_TIME",
    "NUMBER",
    "PAYLOAD",
    "STATIONS",
    "TEXT",
    "TIME",
    "count_lanes",
    "find_jobs",
    "get_jobs",
    "leased_by",
    "list_origins",
]

PAYLOAD = "coalesce(payload, (SELECT b.payload FROM liteq_bodies b WHERE b.seq = liteq_jobs.seq))"

COLUMNS = (
    "seq, id, lane, NULL, state, stage = 3, priority, enqueued, due, eta, expires, started, done, attempts, "
    "retries, crashes, max_crashes, ignore_result, holder, coalesce(codec, 'msgpack'), "
    f"{PAYLOAD}, options, result, reason"
)
BY_ID = f"SELECT {COLUMNS} FROM liteq_jobs WHERE id = ?"
LEASED = f"""
    SELECT seq, token, id, lane, NULL, {PAYLOAD},
        coalesce(codec, 'msgpack'), priority, due, eta, expires, attempts, retries, crashes, max_crashes,
        ignore_result, options
    FROM liteq_jobs WHERE stage = 2 AND holder = ? ORDER BY token, priority DESC, due, seq"""
COUNT = "SELECT lane, state, stage, count(*) FROM liteq_jobs GROUP BY lane, state, stage"
STATIONS = {0: "ready", 1: "delayed", 2: "leased", 3: "finished"}
ORIGINS = "SELECT name, module, root, directory FROM liteq_tasks WHERE module IS NOT NULL ORDER BY id"

NUMBER = ((int,), 0)
MAYBE_NUMBER = ((int, type(None)), None)
TIME = ((float, int), 0.0)
MAYBE_TIME = ((float, int, type(None)), None)
TEXT = ((str,), DAMAGED)
MAYBE_TEXT = ((str, type(None)), DAMAGED)
BYTES = ((bytes,), b"")
MAYBE_BYTES = ((bytes, type(None)), b"")
ANYTHING = ((int, float, str, bytes, type(None)), None)

# In the order of `COLUMNS` and of `Job`.
_JOB = Columns(
    *(NUMBER, TEXT, ANYTHING, ANYTHING, TEXT, MAYBE_NUMBER, NUMBER, TIME, TIME, MAYBE_TIME),
    *(MAYBE_TIME, MAYBE_TIME, MAYBE_TIME, NUMBER, NUMBER, NUMBER, NUMBER, ANYTHING, MAYBE_NUMBER),
    *(TEXT, BYTES, MAYBE_BYTES, MAYBE_BYTES, MAYBE_TEXT),
)
# In the order of `LEASED` and of `Claim`.
_CLAIM = Columns(
    *(NUMBER, NUMBER, TEXT, ANYTHING, ANYTHING, BYTES, TEXT, NUMBER, TIME, MAYBE_TIME, MAYBE_TIME),
    *(NUMBER, NUMBER, NUMBER, NUMBER, ANYTHING, MAYBE_BYTES),
)
_LANE = 2


def _job(connection: sqlite3.Connection, lanes: Lanes, row: Sequence[object]) -> Job:
    lane = lanes.name(connection, row[_LANE])  # type: ignore[arg-type]  # the column is an INTEGER
    job = Job._make(_JOB.mend(row))
    return job._replace(
        task=lane.task, queue=lane.queue, finished=bool(job.finished), ignore_result=bool(job.ignore_result)
    )


def get_jobs(connection: sqlite3.Connection, lanes: Lanes, job_ids: Sequence[str]) -> list[Job | None]:
    """Read jobs by id, in the order asked."""
    found: list[Job | None] = []
    for job_id in job_ids:
        rows = read_rows(connection, BY_ID, (job_id,))
        found.append(_job(connection, lanes, rows[0]) if rows else None)
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
    statement = f"SELECT {COLUMNS} FROM liteq_jobs {where} ORDER BY seq DESC LIMIT ?"
    rows = read_rows(connection, statement, (*parameters, which.limit))
    return [_job(connection, lanes, row) for row in rows]


def count_lanes(connection: sqlite3.Connection, lanes: Lanes) -> list[LaneCount]:
    """Count jobs by queue, task, state and station; `DAMAGED` stands for what is none of these."""
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for number, state, stage, jobs in read_rows(connection, COUNT):
        lane = lanes.name(connection, number)
        shown = state if isinstance(state, str) else DAMAGED
        counts[lane.queue, lane.task, shown, STATIONS.get(stage, DAMAGED)] += jobs
    return [LaneCount(*lane, jobs) for lane, jobs in sorted(counts.items())]


def leased_by(connection: sqlite3.Connection, lanes: Lanes, holder: int) -> list[Claim]:
    """Read what a holder has under lease, in the order in which it claimed."""
    claims = []
    for row in read_rows(connection, LEASED, (holder,)):
        lane = lanes.name(connection, row[3])
        claims.append(Claim._make(_CLAIM.mend(row))._replace(task=lane.task, queue=lane.queue))
    return claims


def list_origins(connection: sqlite3.Connection) -> list[TaskOrigin]:
    """Read where tasks live, as far as that is written in words."""
    rows = read_rows(connection, ORIGINS)
    return [TaskOrigin(*row) for row in rows if all(type(part) is str and "\0" not in part for part in row)]
