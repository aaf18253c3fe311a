"""A producer: makes calls of every kind, and looks at what becomes of them, until it is told to stop."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

from chaos.calling import UndoneError
from chaos.history import JobSpec, Read, Revoked
from chaos.shop import (
    FOLDER,
    JOINS,
    asks,
    caller,
    flaky,
    frail,
    ignored,
    once,
    parent,
    pays,
    q,
    quick,
    recorder,
    slow,
    waits,
    waits_and_pays,
)
from liteq import AsyncResult, Task
from liteq.errors import ResultExpired, ResultTimeoutError, StoreBusyError, TaskRevokedError

__all__ = ["CALLS", "Producer", "backlog"]

ENOUGH = 50
"""Jobs that are ready, beyond which a producer waits: what is left has to be done when the storm is over."""
LOOKS = 0.1
"""How often a producer looks how many there are."""
SHARED_IDS = 6
"""Ids that all producers of a storm use again and again."""


class Producer:
    """One thread that makes calls.

    Args:
        seed: what makes the same calls in the same order.
        pause: seconds between two calls, on average.
    """

    def __init__(self, seed: int, pause: float) -> None:
        self._random = random.Random(seed)
        self._pause = pause
        self._numbers = count(1)
        self._name = f"{os.getpid()}.{seed}"
        self._seen: deque[str] = deque(maxlen=20)
        self._own: sqlite3.Connection | None = None
        self._kinds: dict[Callable[[], None], int] = {
            self._plain: 30,
            self._delayed: 8,
            self._many: 4,
            self._shared_id: 8,
            self._expiring: 3,
            self._revoked: 3,
            self._read: 10,
            self._wait: 3,
        }
        if JOINS:
            self._kinds |= {
                self._paying: 12,
                self._ordered: 8,
                self._undone: 3,
                self._on_own_connection: 5,
            }

    def run(self, is_over: threading.Event) -> None:
        """Make calls until it is over."""
        kinds, weights = list(self._kinds), list(self._kinds.values())
        while not is_over.is_set():
            # Those who enqueue write it down; those who look may try again.
            with suppress(StoreBusyError):
                self._random.choices(kinds, weights)[0]()
            is_over.wait(self._random.expovariate(1 / self._pause))
            if self._random.random() < LOOKS:
                with suppress(StoreBusyError):
                    while _ready() > ENOUGH and not is_over.is_set():
                        is_over.wait(0.1)
        if self._own is not None:
            self._own.close()

    def _tag(self) -> str:
        return f"{self._name}.{next(self._numbers)}"

    def _seconds(self) -> float:
        return self._random.uniform(0.01, 0.5)

    def _made(self, spec: JobSpec, enqueue: Callable[[], AsyncResult[str]]) -> None:
        self._seen.extend(caller.call([spec], lambda: [enqueue().id]))

    # ---- calls -----------------------------------------------------------------------------------

    def _plain(self) -> None:
        tag, seconds = self._tag(), self._seconds()
        fails = self._random.choice([0, 1, 1, 2, 3])
        children = self._random.randint(1, 3)
        spec, enqueue = self._random.choice(
            [
                (JobSpec(tag=tag), lambda: quick.delay(tag)),
                (JobSpec(tag=tag), lambda: quick.options(priority=fails - 1).delay(tag)),
                (JobSpec(tag=tag, task="slow"), lambda: slow.delay(tag, seconds)),
                (JobSpec(tag=tag, task="slow"), lambda: slow.delay(tag, seconds)),
                (JobSpec(tag=tag, task="once", max_crashes=0), lambda: once.delay(tag, seconds)),
                (JobSpec(tag=tag, task="once", max_crashes=0), lambda: once.delay(tag, 0.0)),
                (JobSpec(tag=tag, task="frail", max_crashes=1), lambda: frail.delay(tag, seconds)),
                (JobSpec(tag=tag, task="ignored", ignored=True), lambda: ignored.delay(tag)),
                (JobSpec(tag=tag, task="parent"), lambda: parent.delay(tag, children)),
                (JobSpec(tag=tag, task="flaky", fails=fails, max_retries=2), lambda: flaky.delay(tag, fails)),
                (JobSpec(tag=tag, task="asks", fails=fails, max_retries=2), lambda: asks.delay(tag, fails)),
            ]
        )
        self._made(spec, enqueue)

    def _paying(self) -> None:
        tag, seconds = self._tag(), self._seconds()
        afterwards = self._random.choices(["return", "raise", "die"], [20, 3, 1])[0]
        spec = JobSpec(tag=tag, task="pays", completes=True)
        self._made(spec, lambda: pays.delay(tag, seconds, afterwards))

    def _delayed(self) -> None:
        tag, countdown = self._tag(), self._random.uniform(0.05, 0.8)
        self._made(JobSpec(tag=tag), lambda: quick.options(countdown=countdown).delay(tag))

    def _many(self) -> None:
        specs = [JobSpec(tag=self._tag()) for _ in range(self._random.randint(2, 20))]
        atomic = self._random.random() < 0.5

        def enqueue() -> list[str]:
            signatures = [quick.s(spec.tag) for spec in specs]
            return [result.id for result in q.enqueue_many(signatures, atomic=atomic)]

        self._seen.extend(caller.call(specs, enqueue))

    def _shared_id(self) -> None:
        shared = f"shared-{self._random.randrange(SHARED_IDS)}"
        for _ in range(2):
            tag = self._tag()
            # Not looked at later: a later call may have taken the id by then.
            caller.call(
                [JobSpec(tag=tag, id=shared)],
                lambda tag=tag: [quick.apply_async((tag,), task_id=shared).id],
            )

    def _ordered(self) -> None:
        tag = self._tag()
        self._transact(tag, undone=False)

    def _undone(self) -> None:
        self._transact(self._tag(), undone=True)

    def _transact(self, tag: str, *, undone: bool) -> None:
        held = self._random.uniform(0.0, 0.03)

        def enqueue() -> list[str]:
            with q.transaction() as connection:
                connection.execute("INSERT INTO orders VALUES (?)", (tag,))
                result = quick.delay(tag)
                # So that it is often killed or suspended while it has the write lock.
                time.sleep(held)
                if undone:
                    raise UndoneError
            return [result.id]

        self._seen.extend(caller.call([JobSpec(tag=tag)], enqueue, order=tag))

    def _on_own_connection(self) -> None:
        tag = self._tag()

        def enqueue() -> list[str]:
            if self._own is None:
                self._own = sqlite3.connect(
                    q.settings.url, timeout=q.settings.busy_timeout, isolation_level=None
                )
            own = self._own
            own.execute("BEGIN IMMEDIATE")
            try:
                own.execute("INSERT INTO orders VALUES (?)", (tag,))
                result = quick.using(own).delay(tag)
                own.execute("COMMIT")
            except BaseException:
                if own.in_transaction:
                    own.execute("ROLLBACK")
                raise
            return [result.id]

        caller.call([JobSpec(tag=tag)], enqueue, order=tag)

    def _expiring(self) -> None:
        tag, expires = self._tag(), self._random.uniform(0.01, 0.5)
        self._made(JobSpec(tag=tag, expires=True), lambda: quick.options(expires=expires).delay(tag))

    def _revoked(self) -> None:
        tag, countdown = self._tag(), self._random.uniform(0.0, 0.5)
        ids = caller.call([JobSpec(tag=tag)], lambda: [quick.options(countdown=countdown).delay(tag).id])
        for job_id in ids:
            recorder.write(Revoked(id=job_id))
            recorder.write(Revoked(id=job_id, done=q.AsyncResult(job_id).revoke()))

    # ---- looking ---------------------------------------------------------------------------------

    def _read(self) -> None:
        for job_id in self._random.sample(list(self._seen), min(3, len(self._seen))):
            result = q.AsyncResult(job_id)
            if result.exists() and result.ready():
                self._note(job_id, result.result)

    def _wait(self) -> None:
        if not self._seen:
            return
        job_id = self._seen[-1]
        result = q.AsyncResult(job_id)
        if not result.exists():
            return
        try:
            self._note(job_id, result.get(timeout=0.5, propagate=False))
        except ResultTimeoutError:
            return
        except ResultExpired:
            # It was there a moment ago, and nothing expires so early.
            recorder.write(Read(id=job_id, state="gone"))

    def _note(self, job_id: str, value: object) -> None:
        if isinstance(value, TaskRevokedError):
            recorder.write(Read(id=job_id, state="REVOKED"))
        elif isinstance(value, BaseException):
            recorder.write(Read(id=job_id, state="FAILURE", value=type(value).__name__))
        elif isinstance(value, str):
            recorder.write(Read(id=job_id, state="SUCCESS", value=value))


def _ready() -> int:
    return sum(lane.jobs for lane in q.transport.count() if lane.waiting == "ready")


def backlog(seed: int, jobs: int) -> None:
    """Enqueue jobs of all priorities, some of them delayed, a few at a time."""
    chance = random.Random(seed)
    for number in range(jobs):
        tag = f"{os.getpid()}.{seed}.{number}"
        placed = quick.options(
            priority=chance.randint(-3, 3), countdown=chance.choice([None, None, None, 0.2])
        )
        caller.call([JobSpec(tag=tag)], lambda placed=placed, tag=tag: [placed.delay(tag).id])


def crosses(tag: str) -> None:
    """Read in a transaction, let others try to write meanwhile, and write then."""

    def enqueue() -> list[str]:
        with q.transaction() as connection:
            connection.execute("SELECT count(*) FROM orders").fetchone()
            (FOLDER / "reading").touch()
            while not (FOLDER / "tried").exists():
                time.sleep(0.005)
            connection.execute("INSERT INTO orders VALUES (?)", (tag,))
            return [quick.apply_async((tag,), task_id=tag).id]

    caller.call([JobSpec(tag=tag, id=tag)], enqueue, order=tag)


def _one(task: Task[..., str], **spec: Any) -> Callable[..., None]:
    """Return what makes one call of a task, with its tag as the job's id."""

    def call(tag: str, *args: object) -> None:
        caller.call(
            [JobSpec(tag=tag, id=tag, task=task.name, **spec)],
            lambda: [task.apply_async((tag, *args), task_id=tag).id],
        )

    return call


CALLS: Mapping[str, Callable[..., None]] = {
    "quick": _one(quick),
    "waits": _one(waits),
    "pays": _one(pays, completes=True),
    "waits and pays": _one(waits_and_pays, completes=True),
    "crosses": crosses,
}
"""The calls of the scenes by name."""
