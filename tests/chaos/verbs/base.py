"""What every verb works with: a queue's file in this process, and the jobs that it begins with."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from chaos.filecheck import payload_of
from liteq.job import Claim, ClaimRequest, NewJob, TaskOrigin, WorkerInfo
from liteq.lifecycle import Outcome, Raised, Succeeded, decide
from liteq.retry import RetryPolicy
from liteq.timetable import Firing, ScheduleRecord
from liteq.transports.sqlite.connection import Database
from liteq.transports.sqlite.opening import Durability
from liteq.transports.sqlite.transport import SqliteTransport

__all__ = [
    "ANY",
    "FAILED",
    "LARGE",
    "LATER",
    "NOW",
    "SUCCESS",
    "TRIED_AGAIN",
    "VERBS",
    "VISIBILITY",
    "WORKER",
    "OwnStatementError",
    "Scene",
    "Verb",
    "make_stock",
    "verb",
]

NOW = 1_700_000_000.0
LATER = NOW + 100.0
VISIBILITY = 60.0
ANY = ClaimRequest({"shop.add": 1000, "shop.mail": 1000}, budget=10**9, limit=4)
WORKER = WorkerInfo("worker", "host", pid=1, supervisor=1, queues=("default", "slow"))
LARGE = 5000
SUCCESS = Succeeded(b"the result")
TRIED_AGAIN = Raised(b"the error", "it failed", RetryPolicy(default_retry_delay=5.0), automatic=True)
FAILED = Raised(b"the error", "it failed", RetryPolicy())


class OwnStatementError(Exception):
    """A statement of the user's own failed, on a connection of the user's; SQLite told the user so itself."""


class Scene:
    """A queue's file in this process, and what a verb works with."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.random = random.Random(seed)
        self._transport: SqliteTransport | None = None
        self.foreign: sqlite3.Connection | None = None
        self.holder = 0

    @property
    def transport(self) -> SqliteTransport:
        return self._transport or self.open()

    def open(self, durability: Durability = "full") -> SqliteTransport:
        """Open the queue, anew if need be."""
        self._transport = None
        self._transport = SqliteTransport(self.path, durability=durability, busy_timeout=1.0)
        return self._transport

    @property
    def database(self) -> Database:
        return self.transport._database

    def close(self) -> None:
        """Close what is open."""
        foreign, self.foreign = self.foreign, None
        if foreign is not None:
            foreign.close()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def job(self, name: str, *, size: int = 0, **fields: object) -> NewJob:
        """Return a new job with the payload that only it has."""
        job = NewJob(name, self.random.choice(["shop.add", "shop.mail"]), payload_of(name, size))
        return job._replace(**fields)

    def schedule(self, name: str, **fields: Any) -> ScheduleRecord:
        """Return a new schedule that is due."""
        template = self.job("")._replace(payload=payload_of(f"tick of {name}"))
        values = {"task": template.task, "spec": "{}", "policy": "{}", "job": template, "next_run": NOW}
        return ScheduleRecord(name=name, **{**values, **fields})

    def firing(self, seen: ScheduleRecord, *, again: bool = False) -> Firing:
        """Return the firing of a schedule's next tick; a large job, and one that waits."""
        assert seen.job is not None
        ids = [f"tick of {seen.name} {number}{' again' * again}" for number in range(2)]
        jobs = [seen.job._replace(id=job_id, payload=payload_of(job_id, LARGE)) for job_id in ids]
        jobs[1] = jobs[1]._replace(eta=LATER + 5.0, expires=LATER + 50.0)
        to = replace(seen, last_run=NOW, next_run=LATER + 60.0, runs=seen.runs + 2, last_job=ids[1])
        return Firing(to, tuple(jobs))

    def claim(self, limit: int = 4) -> list[Claim]:
        """Become a worker, and claim."""
        self.holder = self.transport.register(WORKER, VISIBILITY, NOW)
        return self.transport.claim(self.holder, ANY._replace(limit=limit), NOW)

    def execute(self, connection: sqlite3.Connection, sql: str, *values: object) -> None:
        """Execute a statement as the user would."""
        try:
            connection.execute(sql, values)
        except sqlite3.Error as error:
            raise OwnStatementError from error


Verb = Callable[[Scene], Iterator[None]]
VERBS: dict[str, Verb] = {}


def verb(function: Verb) -> Verb:
    VERBS[function.__name__.replace("_", " ")] = function
    return function


def make_stock(path: Path, seed: int) -> None:
    """Make the file that every verb begins with: jobs in every stage, some of a worker that is dead."""
    scene = Scene(path, seed)
    transport = scene.open()
    dice = scene.random
    transport.declare(TaskOrigin("shop.add", "shop", "/srv/shop", "/srv"))
    for number in range(dice.randint(4, 6)):
        transport.enqueue([scene.job(f"held-{number}", size=dice.choice([0, 0, LARGE]), priority=9)], NOW)
    dead = transport.register(WORKER, VISIBILITY, NOW)
    held = transport.claim(dead, ANY._replace(limit=99), NOW)
    ends: list[Outcome] = [
        Succeeded(b"the result" * dice.choice([1, 300])),
        Raised(b"the error", "it failed", RetryPolicy()),
        Raised(b"the error", "it failed", RetryPolicy(default_retry_delay=500.0), automatic=True),
    ]
    dice.shuffle(ends)
    settled = [decide(claim, end, NOW, dice.random) for claim, end in zip(held, ends, strict=False)]
    transport.settle(dead, settled, NOW)
    transport.enqueue([scene.job("old", size=LARGE, result_expires=50.0), scene.job("revoked")], NOW)
    transport.revoke(["old", "revoked"], NOW, "not wanted")
    ready = [
        scene.job(
            f"ready-{number}",
            size=dice.choice([0, 300, LARGE]),
            priority=dice.randint(-1, 1),
            queue=dice.choice(["default", "slow"]),
            ignore_result=number == 1,
            max_crashes=dice.choice([0, 3]),
        )
        for number in range(dice.randint(6, 9))
    ]
    delayed = [scene.job(f"delayed-{number}", eta=NOW + 50.0 + 100.0 * number) for number in range(2)]
    expiring = scene.job("expiring", expires=NOW + 80.0, size=dice.choice([0, LARGE]))
    transport.enqueue([*ready, *delayed, expiring], NOW)
    transport.save_schedules(
        [
            scene.schedule("hourly", last_job="ready-0"),
            scene.schedule("daily", next_run=NOW + 1.0, module="shop", declaration="as declared"),
            scene.schedule("broken", job=None, broken="There is no such task."),
        ]
    )
    scene.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY, what TEXT)")
