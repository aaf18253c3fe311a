"""What a queue's file says, what must always be true of it, and whether it can still be worked with."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from liteq.job import Claim, ClaimRequest, WorkerInfo
from liteq.lifecycle import Lost, Succeeded, decide
from liteq.transports.sqlite.schema import VERSION
from liteq.transports.sqlite.transport import SqliteTransport

__all__ = ["ABSENT", "broken_rules", "differences", "dump", "finish_all", "payload_of"]

ABSENT = "no queue"
"""What `dump` says of a file without liteq's tables."""

FAR_FUTURE = 4_000_000_000.0
LONG = 48
"""Bytes; longer values are told by their hash."""
RANDOM = {("liteq_jobs", "token"), ("liteq_workers", "life"), ("liteq_workers", "boot")}
"""What differs between two runs of the same: told only as being there or not."""

RULES = {
    "a job is leased, but has no holder or no token": "stage = 2 AND (holder IS NULL OR token IS NULL)",
    "a job has a holder or a token, but is not leased": (
        "stage <> 2 AND (holder IS NOT NULL OR token IS NOT NULL)"
    ),
    "a job is in no stage that there is": "stage NOT IN (0, 1, 2, 3)",
    "a job is finished in a state that is not": (
        "stage = 3 AND state NOT IN ('SUCCESS', 'FAILURE', 'REVOKED')"
    ),
    "a job waits in a state that does not": "stage < 2 AND state NOT IN ('PENDING', 'RETRY')",
    "a job runs in a state of another stage": (
        "stage = 2 AND state IN ('PENDING', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED')"
    ),
    "a job has a time at which it was done, but is not finished": "(stage = 3) <> (done IS NOT NULL)",
    "a job's payload is nowhere": ("payload IS NULL AND seq NOT IN (SELECT seq FROM liteq_bodies)"),
    "a job's payload is in two places": ("payload IS NOT NULL AND seq IN (SELECT seq FROM liteq_bodies)"),
    "a job's lane is not there": "lane NOT IN (SELECT id FROM liteq_lanes)",
    "a job was claimed more often than it failed or runs": "attempts < retries + crashes",
}
"""Conditions that hold of no row of `liteq_jobs`."""

QUERIES = {
    "a payload is left of a job that is gone": (
        "SELECT seq FROM liteq_bodies WHERE seq NOT IN (SELECT seq FROM liteq_jobs)"
    ),
    "two jobs have one id": "SELECT id FROM liteq_jobs NOT INDEXED GROUP BY id HAVING count(*) > 1",
    "a lane's queue or task is not there": (
        "SELECT id FROM liteq_lanes WHERE queue NOT IN (SELECT id FROM liteq_queues) "
        "OR task NOT IN (SELECT id FROM liteq_tasks)"
    ),
    "a worker has a number that may be given again": (
        "SELECT holder FROM liteq_workers WHERE holder > (SELECT seq FROM sqlite_sequence "
        "WHERE name = 'liteq_workers')"
    ),
}
"""What returns no row."""

SCHEDULE_QUERIES = {
    "two schedules have one name": (
        "SELECT name FROM liteq_schedules NOT INDEXED GROUP BY name HAVING count(*) > 1"
    ),
    "a schedule moved on without its job, or its job came without it": (
        "SELECT name FROM liteq_schedules WHERE (last_run IS NOT NULL) <> (runs > 0) "
        "OR (runs > 0 AND last_job NOT IN (SELECT id FROM liteq_jobs))"
    ),
    "a tick's job is there and its schedule does not know": (
        "SELECT id FROM liteq_jobs WHERE id LIKE 'tick of %' AND NOT EXISTS (SELECT 1 FROM liteq_schedules "
        "WHERE id LIKE 'tick of ' || name || ' %' AND runs = 2)"
    ),
    "a job of a tick that was fired before": "SELECT id FROM liteq_jobs WHERE id LIKE '% again'",
}
"""The same, for files that have schedules."""
SCHEDULES_SINCE = 2
"""The first version of the format that has them."""


def payload_of(job_id: str, size: int = 0) -> bytes:
    """Return the payload that a job of this id has: nothing of it can be lost or swapped unnoticed."""
    piece = f"payload of {job_id};".encode()
    return (piece * (size // len(piece) + 1))[: max(size, len(piece))]


def dump(connection: sqlite3.Connection, *, exact: bool = False) -> list[str]:
    """Say all that the tables hold, one line for each row.

    Args:
        connection: any connection on the file.
        exact: whether tokens and the like are told too, which no other run can have.
    """
    schema = _rows(connection, "SELECT type, name, sql FROM sqlite_master ORDER BY type, name")
    if not any(name == "liteq_meta" for _, name, _ in schema):
        return [ABSENT]
    lines = [f"{kind} {name} {_short(sql)}" for kind, name, sql in schema]
    for kind, table, _ in schema:
        if kind == "table":
            lines += _table_lines(connection, table, exact)
    return lines


def _table_lines(connection: sqlite3.Connection, table: str, exact: bool) -> Iterator[str]:
    columns = [name for _, name, *_ in _rows(connection, f"PRAGMA table_info({table})")]
    hidden = [not exact and (table, column) in RANDOM for column in columns]
    for row in _rows(connection, f"SELECT * FROM {table} ORDER BY 1"):
        values = [
            value is not None if secret else _short(value) for value, secret in zip(row, hidden, strict=True)
        ]
        yield f"{table} {values}"


def _rows(connection: sqlite3.Connection, sql: str) -> list[Sequence[object]]:
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor.execute(sql).fetchall()


def _short(value: object) -> object:
    if isinstance(value, str | bytes) and len(value) > LONG:
        raw = value.encode() if isinstance(value, str) else value
        return f"{len(value)} of {hashlib.blake2b(raw, digest_size=8).hexdigest()}"
    return value


def differences(found: Sequence[str], expected: Sequence[str]) -> str:
    """Say where two dumps differ, in a line."""
    extra = [f"+ {line}" for line in found if line not in set(expected)]
    missing = [f"- {line}" for line in expected if line not in set(found)]
    shown = (extra + missing)[:4]
    more = len(extra) + len(missing) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


def broken_rules(connection: sqlite3.Connection) -> list[str]:
    """Check everything that must be true of a file at any moment; return what is not."""
    problems = []
    said = [row[0] for row in _rows(connection, "PRAGMA integrity_check")]
    if said != ["ok"]:
        return [f"the database is damaged: {'; '.join(map(str, said[:3]))}"]
    if not _rows(connection, "SELECT 1 FROM sqlite_master WHERE name = 'liteq_meta'"):
        return []
    version = _rows(connection, "SELECT value FROM liteq_meta WHERE key = 'version'")
    if version not in [[(known,)] for known in range(1, VERSION + 1)]:
        return ["the format's version is not told"]
    for rule, condition in RULES.items():
        problems += _told(rule, _rows(connection, f"SELECT id FROM liteq_jobs WHERE {condition}"))
    has_schedules = version >= [(SCHEDULES_SINCE,)]
    for rule, query in {**QUERIES, **(SCHEDULE_QUERIES if has_schedules else {})}.items():
        problems += _told(rule, _rows(connection, query))
    payloads = _rows(
        connection,
        "SELECT id, coalesce(j.payload, b.payload) FROM liteq_jobs j LEFT JOIN liteq_bodies b USING (seq)",
    )
    wrong = [(job_id,) for job_id, payload in payloads if not _is_payload(str(job_id), payload)]
    return problems + _told("a job's payload is not the one that it was stored with", wrong)


def _told(rule: str, rows: Sequence[Sequence[object]]) -> list[str]:
    return [f"{rule}: {', '.join(str(row[0]) for row in rows[:5])}"] if rows else []


def _is_payload(job_id: str, payload: object) -> bool:
    return isinstance(payload, bytes) and payload == payload_of(job_id, len(payload))


def finish_all(path: Path) -> list[str]:
    """Open the queue as the next program would, and bring every job in it to its end; return what fails.

    All its workers are dead: their leases are taken over. Then a fresh worker claims and finishes whatever
    waits, however long it was delayed.
    """
    with SqliteTransport(path, durability="normal", busy_timeout=2.0) as transport:
        problems = _take_over(transport)
        holder = transport.register(WorkerInfo("finisher", "host", 1, 1), 60.0, FAR_FUTURE)
        tasks = {lane.task: 1000 for lane in transport.count()}
        due = transport.next_due(ClaimRequest(tasks))
        waiting = {lane.waiting for lane in transport.count()} & {"ready", "delayed"}
        if (due is None) != (not waiting):
            problems.append(f"something is next due at {due}, and there are {waiting or 'no'} jobs")
        while claims := transport.claim(holder, ClaimRequest(tasks, budget=10**9), FAR_FUTURE):
            problems += [
                f"{claim.id} was claimed with a payload that is not its own"
                for claim in claims
                if not _is_payload(claim.id, claim.payload)
            ]
            problems += _settle(transport, holder, claims)
        left = [lane for lane in transport.count() if lane.waiting != "finished"]
        problems += [f"{lane.jobs} of {lane.task} are still {lane.waiting}" for lane in left]
        transport.unregister(holder)
        with closing(sqlite3.connect(path)) as connection:
            problems += broken_rules(connection)
    return problems


def _take_over(transport: SqliteTransport) -> list[str]:
    problems = []
    for worker in transport.workers():
        # Unknown where its life lock did not come along: a copy of the file alone, or one after a power cut.
        if worker.alive:
            problems.append(f"worker {worker.holder} counts as alive")
        transport.expel(worker.holder, None)
        lost = [
            decide(claim, Lost(True, b"lost", "its worker is dead"), FAR_FUTURE, lambda: 0.5)
            for claim in transport.leases(worker.holder)
        ]
        if transport.settle(worker.holder, lost, FAR_FUTURE):
            problems.append(f"a lease of the dead worker {worker.holder} could not be ended")
    return problems


def _settle(transport: SqliteTransport, holder: int, claims: Sequence[Claim]) -> list[str]:
    ended = [decide(claim, Succeeded(b"done"), FAR_FUTURE, lambda: 0.5) for claim in claims]
    refused = transport.settle(holder, ended, FAR_FUTURE)
    return [f"{to.id} could not be finished under its own lease" for to in refused]
