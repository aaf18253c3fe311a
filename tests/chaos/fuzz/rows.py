"""Damages rows of a real file, then reads and works on it as another process would."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from chaos.fuzz.mutation import mutate
from chaos.fuzz.timetables import fill_timetable, fire_all
from chaos.fuzz.values import Sample, make_samples, make_value
from liteq import Queue
from liteq.cli.describing import carried, options_of, read_arguments, summary
from liteq.cli.output import plain
from liteq.errors import LiteqError
from liteq.failure import encode_failure
from liteq.job import ClaimRequest, JobFilter, WorkerInfo
from liteq.lifecycle import Raised, Succeeded, decide
from liteq.result import AsyncResult
from liteq.retry import RetryPolicy
from liteq.states import FAILURE, REVOKED, SUCCESS
from liteq.testing.clock import ManualClock
from liteq.transports.sqlite.soundness import LATEST
from liteq.transports.sqlite.transport import SqliteTransport
from liteq.worker.executor import Executor
from liteq.worker.log import JobLog
from liteq.worker.recovery import Recovery

__all__ = ["Rows"]

TOGETHER = 40
"""Rows that are damaged in one file, each a case of its own."""
TURNS = 60
"""A worker that has taken so many turns and is not done goes round in circles."""

_COLUMNS = {
    "liteq_jobs": (
        *("id", "lane", "stage", "state", "priority", "due", "eta", "expires", "holder", "token", "attempts"),
        *(
            "retries",
            "crashes",
            "max_crashes",
            "ignore_result",
            "result_expires",
            "enqueued",
            "started",
            "done",
        ),
        *("discard", "codec", "options", "reason", "result", "payload", "payload", "options", "result"),
    ),
    "liteq_bodies": ("payload",),
    "liteq_workers": (
        *("name", "hostname", "pid", "supervisor", "queues", "started", "expires", "visibility_timeout"),
        *("boot", "life"),
    ),
    "liteq_tasks": ("name", "module", "root", "directory"),
    "liteq_queues": ("name",),
    "liteq_lanes": ("queue", "task"),
    "liteq_schedules": (
        *("name", "task", "spec", "policy", "next_run", "last_run", "runs", "last_job", "paused", "broken"),
        *("module", "declaration", "created", "revision", "queue", "priority", "max_crashes"),
        *("ignore_result", "result_expires", "codec", "options", "payload"),
    ),
}
_TABLES = (*("liteq_jobs",) * 12, "liteq_bodies", "liteq_workers", "liteq_workers", *_COLUMNS)
Change = tuple[str, tuple[Any, ...]]
"""A statement with its parameters."""
CALM = "calm"
"""The task whose rows nobody damages."""
CALM_IDS = tuple(f"calm job {number}" for number in range(8))


class Rows:
    """Runs cases on the rows of a file.

    Args:
        seed: what makes the same cases again.
        folder: where the files may be.

    Attributes:
        figures: what was counted.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.figures: Counter[str] = Counter()
        self._seed = seed
        self._folder = folder
        self._samples = make_samples(Random(f"{seed}/samples"), 100)
        self._template = folder / "template.db"
        with _queue(self._template) as queue:
            for task in queue.tasks.values():
                task.delay()
        with closing(sqlite3.connect(self._template, isolation_level=None)) as raw:
            raw.execute("DELETE FROM liteq_jobs")
            raw.execute("PRAGMA writable_schema = 1")
            for constraint in (" NOT NULL", " UNIQUE"):
                raw.execute(
                    "UPDATE sqlite_master SET sql = replace(sql, ?, '') "
                    "WHERE name IN ('liteq_jobs', 'liteq_schedules')",
                    (constraint,),
                )

    def run(self, case: int) -> str | None:
        """Run the cases that share a file when the first of them comes; return what is wrong."""
        if case % TOGETHER:
            return None
        random = Random(f"{self._seed}/rows/{case}")
        filled = self._new_file()
        _fill(random, filled)
        filled.rename(self._folder / "filled.db")
        changes = self._changes(random)
        wrong = self._try(changes)
        if wrong is None:
            return None
        for change in list(changes):
            fewer = [each for each in changes if each is not change]
            if self._try(fewer) is not None:
                changes = fewer
        shown = "; ".join(f"{statement} {parameters!r:.200}" for statement, parameters in changes)
        return f"rows case {case} (seed {self._seed}): {wrong}; after {shown[:1500]}"

    def _new_file(self, model: Path | None = None) -> Path:
        path = self._folder / "queue.db"
        for old in self._folder.glob("queue.db*"):
            if old.is_file():
                old.unlink()
        shutil.copy(self._template if model is None else model, path)
        return path

    # ---- damage ----------------------------------------------------------------------------------

    def _changes(self, random: Random) -> list[Change]:
        """Choose what is to be damaged, and how."""
        changes: list[Change] = []
        with closing(sqlite3.connect(self._folder / "filled.db")) as raw:
            while len(changes) < TOGETHER:
                table = random.choice(_TABLES)
                if table == "liteq_jobs" and random.random() < 0.03:
                    changes.append(("DELETE FROM liteq_bodies", ()))
                    continue
                column = random.choice(_COLUMNS[table])
                value, written = self._value(random, column)
                where = _row(random, raw, table)
                parameters = () if value is None else (value,)
                changes.append(
                    (f"UPDATE OR IGNORE {table} SET {column} = {written} WHERE {where}", parameters)
                )
        self.figures["damaged"] += len(changes)
        return changes

    def _try(self, changes: list[Change]) -> str | None:
        """Damage a file in these ways and live on with it; return what is wrong."""
        path = self._new_file(self._folder / "filled.db")
        with closing(sqlite3.connect(path)) as raw, raw:
            for statement, parameters in changes:
                raw.execute(statement, parameters)
        try:
            self._live_on(path)
        except BaseException as error:
            return f"{type(error).__name__}: {error} ({_place(error)})"[:400]
        return None

    def _value(self, random: Random, column: str) -> tuple[Any, str]:
        """Return a value to bind, and how it is written."""
        if column in ("payload", "options", "result") and random.random() < 0.8:
            kinds = {"payload": ("call",), "options": ("options",), "result": ("value", "failure")}[column]
            sample: Sample = random.choice([each for each in self._samples if each.kind in kinds])
            return mutate(random, sample.data, random.choice(self._samples).data), "?"
        return random.choice(_VALUES)(random)

    # ---- what others do with it ------------------------------------------------------------------

    def _live_on(self, path: Path) -> None:
        clock = ManualClock(wall=time.time())
        with _queue(path) as queue:
            transport = queue.transport
            assert isinstance(transport, SqliteTransport)
            _read(queue, transport)
            self._recover(transport, clock)
            for _ in range(2):
                fire_all(transport, clock.wall())
                _sweep(transport, clock.wall())
                self._work(queue, transport, clock)
                clock.advance(10.0)
            _read(queue, transport)
            self._judge(transport)

    def _recover(self, transport: SqliteTransport, clock: ManualClock) -> None:
        recovery = Recovery(transport, clock, lambda: 0.5)
        for _ in range(80):
            recovery.look()
            if not transport.workers():
                break
            clock.advance(4.0)

    def _work(self, queue: Queue, transport: SqliteTransport, clock: ManualClock) -> None:
        executor = Executor(queue.tasks, transport, clock, log=_quiet())
        request = ClaimRequest(dict.fromkeys(queue.tasks, 1), limit=5)
        holder = transport.register(WorkerInfo("w", "host", 1, 1), 60.0, clock.wall())
        for _ in range(TURNS):
            claims = transport.claim(holder, request, clock.wall())
            for claim in claims:
                executor.time_limit(claim)
                decided = executor.run(claim)
                assert decided is not None
                transport.settle(holder, [decided], clock.wall())
            due = transport.next_due(request)
            if not claims and (due is None or due > clock.wall()):
                break
        else:
            raise AssertionError("a worker takes turn after turn and is never done")
        transport.unregister(holder)

    def _judge(self, transport: SqliteTransport) -> None:
        """Demand that every calm job ran, and that whatever cannot run has ended and says why."""
        jobs = transport.find(JobFilter(limit=10_000))
        for job in jobs:
            if job.id in CALM_IDS:
                assert job.state == SUCCESS, f"a job that nobody touched is {job.state}: {job.reason}"
                self.figures["ran"] += 1
            elif job.state in (FAILURE, REVOKED):
                self.figures["failed"] += job.state == FAILURE
        with closing(sqlite3.connect(transport.path)) as raw:
            left = raw.execute(
                "SELECT seq, lane, stage, typeof(due), typeof(holder) FROM liteq_jobs "
                "WHERE stage IN (0, 2) OR (stage = 1 AND due >= ?)",
                (LATEST,),
            ).fetchall()
            known = {number for (number,) in raw.execute(_KNOWN_LANES)}
        stuck = [row for row in left if row[1] in known or row[2] != 0]
        assert not stuck, f"jobs that nobody will ever run or end: {stuck}"
        reasons = [job.reason for job in jobs if job.state == FAILURE and job.finished and job.result is None]
        assert all(reason for reason in reasons), "a job failed without a reason"


_KNOWN_LANES = (
    "SELECT l.id FROM liteq_lanes l JOIN liteq_tasks t ON t.id = l.task "
    "JOIN liteq_queues q ON q.id = l.queue "
    "WHERE CAST(t.name AS BLOB) IN (x'63616c6d', x'77696c64') AND typeof(t.name) = 'text'"
)


def _queue(path: Path) -> Queue:
    queue = Queue(path, durability="normal")
    for name in (CALM, "wild"):
        queue.task(name=name, max_retries=0)(_echo)
    return queue


def _echo(*args: object, **kwargs: object) -> object:
    return [args, kwargs]


def _quiet() -> JobLog:
    log = JobLog()
    log._logger.disabled = True
    return log


def _fill(random: Random, path: Path) -> None:
    """Store jobs at every station."""
    now = time.time()
    with _queue(path) as queue:
        wild, calm, transport = queue.tasks["wild"], queue.tasks[CALM], queue.transport
        for number in range(24):
            options: dict[str, Any] = {"priority": random.randrange(-3, 4)}
            if random.random() < 0.3:
                options["headers"] = {"a": 1}
            if random.random() < 0.2:
                options["countdown"] = random.choice([0.0, 5.0])
            if random.random() < 0.2:
                options["expires"] = 3600
            if random.random() < 0.2:
                options["queue"] = "mail"
            large = "x" * 2000 if random.random() < 0.2 else number
            wild.apply_async((large, make_value(random, 3)), **options)
        fill_timetable(transport, now)
        holder = transport.register(WorkerInfo("gone", "host", 1, 1, ("default",)), 60.0, now)
        claims = transport.claim(holder, ClaimRequest({"wild": 1}, limit=8), now + 1)
        for claim in claims[:4]:
            outcome = (
                Succeeded(b"\x92\x01\x02")
                if random.random() < 0.5
                else Raised(encode_failure(ValueError("no")), "ValueError: no", RetryPolicy())
            )
            transport.settle(holder, [decide(claim, outcome, now, random.random)], now)
        queue.enqueue_many(
            calm.s(job_id).set(task_id=job_id, priority=random.randrange(-3, 4)) for job_id in CALM_IDS
        )


def _row(random: Random, raw: sqlite3.Connection, table: str) -> str:
    """Choose the row to damage; nothing that the calm jobs need."""
    calm_task = "(SELECT id FROM liteq_tasks WHERE name = 'calm')"
    match table:
        case "liteq_jobs":
            kept = f"lane NOT IN (SELECT id FROM liteq_lanes WHERE task = {calm_task})"
        case "liteq_tasks":
            kept = "name <> 'calm'"
        case "liteq_queues":
            kept = "name = 'mail'"
        case "liteq_lanes":
            kept = f"task <> {calm_task}"
        case _:
            kept = "1"
    rowids = [row for (row,) in raw.execute(f"SELECT rowid FROM {table} WHERE {kept}")]
    return f"rowid = {random.choice(rowids)}" if rowids else "0"


_VALUES: tuple[Callable[[Random], tuple[Any, str]], ...] = (
    lambda random: (None, "NULL"),
    lambda random: (random.randrange(-(2**63), 2**63), "?"),
    lambda random: (random.randrange(-3, 9), "?"),
    lambda random: (random.uniform(-1e12, 1e12), "?"),
    lambda random: (time.time() + random.uniform(-1e6, 1e6), "?"),
    lambda random: (None, random.choice(["9e999", "-9e999", "1e300", "-1e300", "0.5", "x''"])),
    lambda random: ("".join(random.choices("ab/.\0\nÄ𝄞%", k=random.randrange(9))), "?"),
    lambda random: (
        random.choice(["wild", "calm", "FAILURE", "SUCCESS", "msgpack", "json", "../../x", "[1]"]),
        "?",
    ),
    lambda random: (random.randbytes(random.randrange(40)), "?"),
    lambda random: (random.randbytes(1 + random.randrange(9)) + b"\xff", "CAST(? AS TEXT)"),
    lambda random: ("x" * 100_000, "?"),
)


# ---- readers -----------------------------------------------------------------------------------------------


def _sweep(transport: SqliteTransport, now: float) -> None:
    for _ in range(20):
        at = transport.next_sweep()
        if at is None or at > now:
            break
        transport.sweep(now)
    else:
        raise AssertionError("a sweep finds something to do again and again")
    transport.tend(now)


def _read(queue: Queue, transport: SqliteTransport) -> None:
    """Read through everything that reads; nothing may be raised but what a reader of results promises."""
    jobs = transport.find(JobFilter(limit=10_000))
    transport.get([job.id for job in jobs])
    contents = queue.settings.contents
    for job in jobs:
        described = [summary(job), carried(job, contents), options_of(job, contents)]
        described.append(read_arguments(job, contents)._asdict())
        json.dumps(plain(described), allow_nan=False)
    for result in _results(queue, jobs):
        _ask(result)
    counted = transport.count()
    assert sum(lane.jobs for lane in counted) == len(jobs)
    for record in transport.workers():
        transport.leases(record.holder)
        transport.running(record.holder)
    transport.origins()
    transport.schedules()
    transport.next_due(ClaimRequest({"wild": 1}))
    transport.next_sweep()
    json.dumps([finding.detail for finding in transport.diagnose(time.time())])


def _results(queue: Queue, jobs: list[Any]) -> Iterator[AsyncResult[Any]]:
    for job in jobs:
        yield AsyncResult(job.id, queue.store)


def _ask(result: AsyncResult[Any]) -> None:
    for look in (
        lambda: result.status,
        lambda: result.ready(),
        lambda: result.result,
        lambda: result.traceback,
        lambda: result.get(timeout=0, propagate=False),
    ):
        try:
            look()
        except LiteqError:
            pass


def _place(error: BaseException) -> str:
    """Return the innermost lines of liteq's in a traceback."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        lines.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(lines[-4:])
