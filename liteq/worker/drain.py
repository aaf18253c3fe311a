"""A worker for as long as there is something to do: it runs what is ready in the calling thread."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from liteq.app.store import Store
from liteq.calls.request import current
from liteq.clock import Clock, SystemClock
from liteq.drained import Drained
from liteq.errors import DrainTimeoutError, LiteqError, NotSupportedError
from liteq.job import Claim, ClaimRequest, Transition, WorkerInfo
from liteq.lifecycle import Returned, decide
from liteq.states import FAILURE, SUCCESS
from liteq.task import Task
from liteq.transport import RunningSlot, Transport
from liteq.worker.executor import Executor
from liteq.worker.log import JobLog

__all__ = ["Drain", "drain"]

SHORTEST_WAIT = 0.001
LONGEST_WAIT = 1.0
"""Seconds after which a drain that waits for delayed jobs looks whether something else has come."""


def drain(
    store: Store,
    tasks: Mapping[str, Task[..., Any]],
    *,
    timeout: float | None,
    queues: Collection[str] | None,
    delayed: bool,
    propagate: bool,
) -> Drained:
    """Run what is ready; see `Queue.drain`."""
    _refuse(store)
    work = Drain(store, tasks, queues)
    deadline = None if timeout is None else time.monotonic() + timeout
    work.sweep()
    with work.registered():
        while True:
            if deadline is not None and time.monotonic() >= deadline and work.has_more(delayed):
                raise DrainTimeoutError(
                    f"{store.settings.url} was not drained within {timeout:g} s: {work.told()}."
                )
            if work.step():
                if propagate and work.errors:
                    raise work.errors[0]
            elif not (delayed and work.wait(deadline)):
                break
    work.sweep()
    return work.summary()


def _refuse(store: Store) -> None:
    if store.settings.eager:
        raise NotSupportedError("An eager queue has nothing to drain: it runs tasks at once in the caller.")
    if store.in_transaction():
        raise NotSupportedError("drain() inside q.transaction() would wait for it; leave the block first.")
    running = current()
    if running is not None:
        raise NotSupportedError(
            f"Task {running.request.task} cannot drain a queue: a worker runs the others."
        )


class Drain:
    """Claims, runs and settles one job at a time in the calling thread.

    Args:
        store: the queue's hold on its store; its clock decides what is due.
        tasks: the tasks that it runs.
        queues: the queue names that it serves; None for all.

    Attributes:
        errors: what the jobs raised that failed for good.
    """

    def __init__(
        self, store: Store, tasks: Mapping[str, Task[..., Any]], queues: Collection[str] | None = None
    ) -> None:
        self.errors: list[BaseException] = []
        self._clock: Clock = store.clock
        self._transport: Transport = store.transport()
        self._visibility_timeout = store.settings.visibility_timeout
        self._known = frozenset(tasks)
        self._queues = queues
        host = f"drain@{socket.gethostname()}"
        pid = os.getpid()
        self._info = WorkerInfo("drain", host, pid, pid, None if queues is None else tuple(queues))
        self._notes = _Notes()
        self._executor = Executor(tasks, self._transport, self._clock, hostname=host, log=self._notes)
        self._request = ClaimRequest(
            dict.fromkeys(tasks, 1), None if queues is None else [*queues], budget=1, limit=1
        )
        self._holder = 0
        self._slot: RunningSlot | None = None
        self._claimed: Claim | None = None
        self._finished: list[Transition] = []
        self._ran = self._succeeded = self._retried = self._failed = 0

    @contextmanager
    def registered(self) -> Iterator[None]:
        """Be a worker of the store until the block ends, however it does."""
        transport = self._transport
        self._holder = transport.register(self._info, self._visibility_timeout, self._clock.wall())
        try:
            self._slot = transport.slot(self._holder)
            with self._heartbeat():
                yield
        finally:
            try:
                self._leave()
            finally:
                self._executor.close()
                if self._slot is not None:
                    self._slot.close()
                transport.unregister(self._holder)

    def step(self) -> bool:
        """Settle what has ended, and run the next job; tell whether there was one."""
        job = self._turn(self._request)
        if job is None:
            return False
        self._claimed = job
        if self._slot is not None:
            self._slot.begin(job.seq, job.token, None)
        self._notes.error = None
        decided = self._executor.run(job)
        error = self._notes.error
        if isinstance(error, KeyboardInterrupt):
            # It is meant for whoever waits for the drain, and not for the job.
            raise error
        self._claimed = None
        self._ran += 1
        self._count(decided, error)
        if decided is not None:
            self._finished.append(decided)
            if job.max_crashes == 0:
                # It must not run twice, so its outcome is stored before anything else happens.
                self._turn(None)
        return True

    def _turn(self, request: ClaimRequest | None) -> Claim | None:
        turn = self._transport.turn(self._holder, self._clock.wall(), self._finished, request)
        self._finished = []
        return turn.claimed[0] if turn.claimed else None

    def _count(self, decided: Transition | None, error: BaseException | None) -> None:
        if decided is None or decided.state == SUCCESS:
            self._succeeded += 1
        elif decided.due is not None:
            self._retried += 1
        elif decided.state == FAILURE:
            self._failed += 1
            if error is not None:
                self.errors.append(error)

    def _leave(self) -> None:
        """Settle what has ended, and give back the job that has not."""
        if self._claimed is not None:
            returned = decide(self._claimed, Returned(), self._clock.wall(), random.random)
            self._finished.append(returned)
        if self._finished:
            self._turn(None)

    @contextmanager
    def _heartbeat(self) -> Iterator[None]:
        """Renew the lease while a job takes long; on a manual clock none does."""
        if not isinstance(self._clock, SystemClock):
            yield
            return
        over = threading.Event()

        def renew() -> None:
            while not over.wait(self._visibility_timeout / 3):
                # What is wrong with the store is told by the next turn.
                with suppress(LiteqError):
                    self._transport.renew([self._holder], self._visibility_timeout, self._clock.wall())

        thread = threading.Thread(target=renew, name="liteq-drain", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    # ---- time ------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """Return when there is next something to run, in UTC seconds; 0.0 for now, None for never."""
        return self._transport.next_due(self._request)

    def has_more(self, delayed: bool) -> bool:
        """Tell whether there is more to run: now, or with `delayed` at any time."""
        if self._finished:
            # A job that gave itself back is ready again only then.
            self._turn(None)
        due = self.next_due()
        return due is not None and (delayed or due <= self._clock.wall())

    def wait(self, deadline: float | None = None) -> bool:
        """Let the time pass until the next delayed job is due; False if there is none.

        Args:
            deadline: wait no longer than until then, on the machine's own monotonic clock.
        """
        due = self.next_due()
        if due is None:
            return False
        pause = max(0.0, due - self._clock.wall())
        if isinstance(self._clock, SystemClock):
            pause = max(SHORTEST_WAIT, min(pause, LONGEST_WAIT))
            if deadline is not None:
                pause = min(pause, max(0.0, deadline - time.monotonic()))
        self._clock.sleep(pause)
        return True

    def sweep(self) -> None:
        """Expire what has expired, as the maintainer does where workers run."""
        while self._transport.sweep(self._clock.wall()):
            pass

    # ---- telling ---------------------------------------------------------------------------------

    def told(self) -> str:
        """Return what was done so far, in words."""
        return f"{self._ran} attempts ran, {self._failed} of them failed for good, and more is to run"

    def summary(self) -> Drained:
        """Return what was done, and what waits now."""
        due, now = self.next_due(), self._clock.wall()
        return Drained(
            ran=self._ran,
            succeeded=self._succeeded,
            retried=self._retried,
            failed=self._failed,
            errors=tuple(self.errors),
            delayed=self._count_waiting(True, ("delayed",)),
            due_in=None if due is None else max(0.0, due - now),
            unknown=self._count_waiting(False, ("ready", "delayed")),
        )

    def _count_waiting(self, known: bool, stations: Collection[str]) -> int:
        return sum(
            lane.jobs
            for lane in self._transport.count()
            if lane.waiting in stations
            and (lane.task in self._known) is known
            and (self._queues is None or lane.queue in self._queues)
        )


class _Notes(JobLog):
    """Writes the log lines of jobs, and keeps what the last one that failed has raised."""

    error: BaseException | None = None

    def failed(self, job: Claim, error: BaseException) -> None:
        """Say that a job failed for good, and remember why."""
        self.error = error
        super().failed(job, error)
