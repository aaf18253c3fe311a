"""Queues, workers that run as threads of the test, and scenes on a clock turned by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scene import Scene
from worker_thread import PATIENCE, Gate, Worker

from liteq import Queue
from liteq.transport import Transport
from liteq.transports.memory import MemoryTransport
from liteq.transports.sqlite.transport import SqliteTransport


@pytest.fixture
def queue() -> Iterator[Queue]:
    with Queue("memory://") as queue:
        yield queue


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def work(queue: Queue, gate: Gate) -> Iterator[Callable[..., Worker]]:
    """Start workers on the queue; they are stopped at the end of the test."""
    workers: list[Worker] = []

    def start(**options: Any) -> Worker:
        workers.append(Worker(queue, **options))
        return workers[-1].start()

    yield start
    gate.open()
    for worker in workers:
        worker.stop()


@pytest.fixture
def until(queue: Queue) -> Callable[[Callable[[], bool]], None]:
    """Wait until something holds: looks whenever a job becomes ready, and every now and then."""

    def wait(holds: Callable[[], bool]) -> None:
        listener = queue.store.transport().listen_for_jobs()
        give_up = time.monotonic() + PATIENCE
        try:
            listener.arm()
            while not holds():
                assert time.monotonic() < give_up, "it never came to hold"
                listener.wait(0.02)
                listener.arm()
        finally:
            listener.close()

    return wait


@pytest.fixture(params=["memory", "sqlite"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    if request.param == "memory":
        transport: Transport = MemoryTransport()
    else:
        transport = SqliteTransport(tmp_path / "queue.db", durability="normal")
    with transport:
        yield Scene(transport)
