"""The move: it is killed again and again and called anew, while a worker runs what has come over.

The queue goes from store to store, and back to one that it came from before. Jobs that ran leave no record
half of the time, so that nothing but the progress of the move tells that they were there. At the end each
waiting job has run once, everything else is as it was, and the stores that were left are empty.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from chaos.crew import PATIENCE, Crew, CrewError, Member
from chaos.ground import ground
from chaos.proof import Proof
from liteq.errors import StoreMovedError
from liteq.job import Claim, ClaimRequest, Job, JobFilter, NewJob, WorkerInfo
from liteq.lifecycle import Outcome, Raised, Succeeded, decide
from liteq.moving import MoveMark
from liteq.retry import RetryPolicy
from liteq.timetable import ScheduleRecord
from liteq.transport import Transport
from liteq.transports.sqlite.transport import SqliteTransport

__all__ = ["OTHERS", "Ledger", "Worker", "fill", "judge", "prove"]

TASK = "work"
REQUEST = ClaimRequest({TASK: 1}, limit=3)
WAITING, OTHERS, SCHEDULES = 60, 12, 4
"""How many of each kind are added before each move."""
BATCH = 4
KILL_WITHIN = (0.03, 0.1, 0.3)
"""Seconds after its start within which a move is killed; one of these, as machines are of different speed."""
SHARE_OF_KILLS = 0.9
MOST_RUNS = 500
"""Calls after which a move that does not end is given up."""
LATER = 1e9


@dataclass(slots=True)
class Ledger:
    """What must be there at the end.

    Attributes:
        waiting: the ids of the jobs that were to run.
        ran: how often each has run.
        kept: every other job as it was stored.
        schedules: every schedule as it was stored.
    """

    waiting: list[str] = field(default_factory=list)
    ran: Counter[str] = field(default_factory=Counter)
    kept: dict[str, Job] = field(default_factory=dict)
    schedules: dict[str, ScheduleRecord] = field(default_factory=dict)


class Worker:
    """Runs the jobs of a store in a thread; a context manager."""

    def __init__(self, transport: Transport, ledger: Ledger, chooser: random.Random) -> None:
        self._transport = transport
        self._ledger = ledger
        self._chooser = chooser
        self._is_over = threading.Event()
        self._holder: int | None = None
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        if self._holder is not None:
            self._transport.unregister(self._holder)

    def _work(self) -> None:
        # It is slower than the move, so that most jobs wait when the next move begins.
        while not self._is_over.wait(0.02):
            self.run_some()

    def run_some(self) -> bool:
        """Run a few jobs; tell whether there were any."""
        if self._holder is None:
            try:
                self._holder = _register(self._transport)
            except StoreMovedError:
                # What was moved away from here is coming back, but nothing of it has come yet.
                return False
        claims = self._transport.claim(self._holder, REQUEST, time.time())
        for claim in claims:
            self._ledger.ran[claim.id] += 1
            keep = self._chooser.random() < 0.5
            end = decide(claim, Succeeded(b"result"), time.time(), self._chooser.random)
            self._transport.settle(self._holder, [end._replace(keep=keep)], time.time())
        return bool(claims)


def prove(size: int, seed: int, transport: str = "sqlite") -> Proof:
    """Kill moves so many times, and compare what is there at the end with what was stored."""
    chooser = random.Random(seed)
    ledger = Ledger()
    problems: list[str] = []
    kills: Counter[str] = Counter()
    moves = 0
    with ground(transport) as crew:
        here = str(crew.folder / "0.db")
        try:
            while kills.total() < size:
                there = crew.store.url if moves % 2 == 0 else str(crew.folder / f"{moves}.db")
                with closing(_open(crew, here)) as source, closing(_open(crew, there)) as target:
                    fill(source, ledger, moves)
                    with Worker(target, ledger, chooser):
                        _move(crew, source, target, chooser, kills)
                    problems += judge_left(source, here)
                here, moves = there, moves + 1
            with closing(_open(crew, here)) as last:
                worker = Worker(last, ledger, chooser)
                while worker.run_some():
                    pass
                problems += judge(ledger, last.find(JobFilter(limit=1_000_000)), last.schedules())
        except CrewError as error:
            problems.append(str(error))
    figures = {"kills": kills.total(), **kills, "moves": moves, "jobs run": ledger.ran.total()}
    return Proof("move", seed, figures, problems, transport)


def fill(store: Transport, ledger: Ledger, number: int) -> None:
    """Add jobs of every kind to a store, and schedules, and note them."""
    now = time.time()
    holder = _register(store)
    ended = [f"{number}-ended-{each}" for each in range(OTHERS)]
    store.enqueue([NewJob(each, f"{TASK} elsewhere", each.encode()) for each in ended], now)
    for claim in store.claim(holder, ClaimRequest({f"{TASK} elsewhere": 1}), now):
        store.settle(holder, [decide(claim, _end_of(claim), now, lambda: 0.5)], now)
    store.unregister(holder)
    delayed = [f"{number}-delayed-{each}" for each in range(OTHERS)]
    store.enqueue([NewJob(each, TASK, b"", eta=now + LATER) for each in delayed], now)
    waiting = [f"{number}-waiting-{each}" for each in range(WAITING)]
    store.enqueue([NewJob(each, TASK, b"", priority=index % 3) for index, each in enumerate(waiting)], now)
    records = [
        ScheduleRecord(
            name=f"{number}-{each}",
            task=TASK,
            spec="a spec",
            policy="a policy",
            job=NewJob("", TASK, b""),
            next_run=now + LATER,
            paused=each % 2 == 0,
        )
        for each in range(SCHEDULES)
    ]
    store.save_schedules(records)
    ledger.waiting += waiting
    ledger.kept |= {job.id: job for job in store.get([*ended, *delayed]) if job is not None}
    ledger.schedules |= {record.name: record for record in store.schedules([each.name for each in records])}


def judge(ledger: Ledger, jobs: Sequence[Job], schedules: Sequence[ScheduleRecord]) -> list[str]:
    """Say what was lost, doubled or changed.

    Args:
        ledger: what was stored, and what ran.
        jobs: what is there at the end.
        schedules: the schedules that are there at the end.
    """
    problems = [f"{job_id} was lost" for job_id in ledger.waiting if not ledger.ran[job_id]]
    problems += [f"{job_id} ran {times} times" for job_id, times in ledger.ran.items() if times > 1]
    found = Counter(job.id for job in jobs)
    problems += [f"{job_id} is there {times} times" for job_id, times in found.items() if times > 1]
    there = {job.id: job for job in jobs}
    problems += _compared("job", ledger.kept, there)
    for job in jobs:
        if job.id not in ledger.kept and (job.state != "SUCCESS" or not ledger.ran[job.id]):
            problems.append(f"{job.id} is there, {job.state}, and ran {ledger.ran[job.id]} times")
    return problems + _compared("schedule", ledger.schedules, {record.name: record for record in schedules})


def _compared(
    kind: str,
    expected: Mapping[str, Job | ScheduleRecord],
    found: Mapping[str, Job | ScheduleRecord],
) -> list[str]:
    problems = [f"{kind} {name} was lost" for name in expected if name not in found]
    for name, was in expected.items():
        now = found.get(name, was)
        same = was._replace(seq=0) == now._replace(seq=0) if isinstance(was, Job) else was == now
        problems += [] if same else [f"{kind} {name} has changed from {was} to {now}"]
    return problems


def judge_left(source: Transport, name: str) -> list[str]:
    """Say what a store that was left still has, and whether it can be used by mistake."""
    mark: MoveMark | None = source.moving()
    problems = [] if mark is not None and mark.ended is not None else [f"{name} is open: {mark}"]
    left = [*source.count(), *source.schedules()]
    return problems + ([f"{name} still has {left}"] if left else [])


def _move(
    crew: Crew, source: Transport, target: Transport, chooser: random.Random, kills: Counter[str]
) -> None:
    """Move everything, and kill whoever does it; count how often, by how far it had come."""
    for _ in range(MOST_RUNS):
        member = crew.start("mover", [source.url, target.url, BATCH])
        if chooser.random() < SHARE_OF_KILLS:
            _wait(crew, member, chooser.uniform(0, chooser.choice(KILL_WITHIN)))
            killed = crew.kill(member.target)
            kills[_stage(source, target)] += killed
        _wait(crew, member, PATIENCE)
        if member.status == 0:
            return
    raise CrewError(f"the move from {source.url} to {target.url} does not end")


def _wait(crew: Crew, member: Member, seconds: float) -> None:
    until = time.monotonic() + seconds
    while member.status is None and (left := until - time.monotonic()) > 0:
        crew.listen(left)


def _stage(source: Transport, target: Transport) -> str:
    mark = source.moving()
    if mark is None:
        return "before it began"
    if mark.ended is not None:
        return "while the old store was emptied"
    return "before the first batch" if target.move_progress(mark.id) is None else "half-way"


def _register(store: Transport) -> int:
    return store.register(WorkerInfo("worker", "host", 1, 1), 60.0, time.time())


def _end_of(claim: Claim) -> Outcome:
    if claim.seq % 2:
        return Succeeded(b"result of " + claim.payload)
    return Raised(b"error of " + claim.payload, "it failed", RetryPolicy())


def _open(crew: Crew, url: str) -> Transport:
    return crew.store.open() if url == crew.store.url else SqliteTransport(Path(url), durability="normal")
