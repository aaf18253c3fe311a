"""A worker's loop as a thread of the test, and a gate that holds its jobs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from liteq import Queue, Task
from liteq.clock import Clock
from liteq.job import WorkerInfo
from liteq.worker.executor import Executor
from liteq.worker.loop import LoopEnd, WorkerLoop

PATIENCE = 30.0
"""Seconds after which a test that waits for something is lost."""


class Worker:
    """A loop in a thread."""

    def __init__(
        self,
        queue: Queue,
        *,
        tasks: Mapping[str, Task[..., Any]] | None = None,
        clock: Clock | None = None,
        name: str = "one",
        queues: tuple[str, ...] | None = None,
        **options: Any,
    ) -> None:
        store = queue.store.transport()
        known = dict(queue.registry.tasks if tasks is None else tasks)
        executor = Executor(known, store, clock, hostname=name)
        self.loop = WorkerLoop(
            store, executor, WorkerInfo(name, "host", 1, 1, queues), clock=clock, **options
        )
        self.end: LoopEnd | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.end = self.loop.run()
        except BaseException as error:
            self.error = error

    def start(self) -> Worker:
        self._thread.start()
        return self

    def join(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the worker did not end"

    def stop(self) -> None:
        self.loop.stop()
        self.join()


class Gate:
    """Holds jobs until the test opens it, and lets the test wait until one has come."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def wait_here(self) -> None:
        self.reached.set()
        assert self._open.wait(PATIENCE)

    def wait_until_reached(self) -> None:
        assert self.reached.wait(PATIENCE), "no job came to the gate"

    def open(self) -> None:
        self._open.set()
