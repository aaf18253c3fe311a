"""The application of the storm: a queue, its tasks, and what is written down about them.

Everything comes from the environment, so that workers, which import this by its name, find the same.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from chaos import seeded_faults
from chaos.calling import Caller
from chaos.history import JobSpec, Recorder
from chaos.observing import Running, observe
from chaos.stores import transport_class
from liteq import Queue, StoreBusyError

__all__ = ["FOLDER", "JOINS", "caller", "q", "recorder", "running"]

FOLDER = Path(os.environ["CHAOS_FOLDER"])
"""Where the histories are."""
JOINS = bool(os.environ.get("CHAOS_JOINS"))
"""Whether rows of one's own can be written in one transaction with a job."""
FAULT = os.environ.get("CHAOS_FAULT", "")
"""Which fault this process has; see `chaos.seeded_faults`."""

LONG = 0.3
"""Seconds."""

q = Queue(
    os.environ["CHAOS_URL"],
    durability="full" if os.environ.get("CHAOS_DURABILITY") == "full" else "normal",
    visibility_timeout=float(os.environ.get("CHAOS_VISIBILITY", "1")),
    busy_timeout=float(os.environ.get("CHAOS_BUSY", "30")),
    signing_key=os.environ.get("CHAOS_KEY"),
)
recorder = Recorder(FOLDER, os.environ.get("CHAOS_ROLE", "worker"))
running = Running(recorder)
caller = Caller(recorder)


class Flaky(Exception):
    """A failure that another attempt may mend."""


@q.task
def quick(tag: str) -> str:
    running.has_effect()
    return running.evidence


@q.task
def slow(tag: str, seconds: float) -> str:
    time.sleep(seconds / 2)
    running.has_effect()
    time.sleep(seconds / 2)
    return running.evidence


@q.task(max_crashes=0)
def once(tag: str, seconds: float) -> str:
    return slow.fn(tag, seconds)


@q.task(max_crashes=1)
def frail(tag: str, seconds: float) -> str:
    return slow.fn(tag, seconds)


@q.task(ignore_result=True)
def ignored(tag: str) -> str:
    return quick.fn(tag)


@q.task(bind=True, autoretry_for=(Flaky,), max_retries=2, default_retry_delay=0.05)
def flaky(self: Any, tag: str, fails: int) -> str:
    if self.request.retries < fails:
        raise Flaky(running.evidence)
    return quick.fn(tag)


@q.task(bind=True, max_retries=2)
def asks(self: Any, tag: str, fails: int) -> str:
    if self.request.retries < fails:
        raise self.retry(exc=Flaky(running.evidence), countdown=0.05)
    return quick.fn(tag)


@q.task
def parent(tag: str, children: int) -> str:
    """Enqueues other jobs, half of them together with a row of its own where that can be."""
    for number in range(children):
        # Another attempt of this job makes other children.
        spec = JobSpec(tag=f"{tag}/{number}/{running.token}")
        if JOINS and number % 2:
            order(spec)
        else:
            caller.call([spec], lambda spec=spec: [quick.delay(spec.tag).id])
    return quick.fn(tag)


@q.task(bind=True, autoretry_for=(StoreBusyError,), max_retries=None, default_retry_delay=0.05)
def pays(self: Any, tag: str, seconds: float, afterwards: str) -> str:
    """Completes in the transaction of its own row; what comes afterwards cannot change that."""
    time.sleep(seconds / 2)
    with self.transaction() as connection:
        connection.execute("INSERT INTO paid VALUES (?, ?)", (tag, running.evidence))
        self.complete(running.evidence)
        if seconds > LONG:
            # So that it is often killed or suspended between its own write and the commit.
            time.sleep(0.01)
    running.has_effect()
    if afterwards == "raise":
        raise Flaky("too late")
    if afterwards == "die":
        running.dies()
    time.sleep(seconds / 2)
    return "too late"


@q.task
def waits(tag: str, gate: str) -> str:
    wait_at(gate)
    return quick.fn(tag)


@q.task(bind=True)
def waits_and_pays(self: Any, tag: str, gate: str) -> str:
    wait_at(gate)
    return pays.fn(self, tag, 0.0, "return")


def wait_at(gate: str) -> None:
    """Say by a file that this process has come here, and wait until the gate is opened, for it or for all."""
    (FOLDER / f"{gate}.begun.{os.getpid()}").touch()
    opened = (FOLDER / gate, FOLDER / f"{gate}.{os.getpid()}")
    while not any(path.exists() for path in opened):
        time.sleep(0.005)


def order(spec: JobSpec) -> None:
    """Enqueue a job in one transaction with a row of the application's."""

    def enqueue() -> list[str]:
        with q.transaction() as connection:
            connection.execute("INSERT INTO orders VALUES (?)", (spec.tag,))
            return [quick.delay(spec.tag).id]

    caller.call([spec], enqueue, order=spec.tag)


observe(running, transport_class(q.settings.url))
if FAULT:
    seeded_faults.install(FAULT)
