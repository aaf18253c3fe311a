"""A worker process of the simulation, made of the engine's real parts."""

from __future__ import annotations

import logging
import os
from enum import Enum

from chaos.simulation.jobs import Lease
from chaos.simulation.surroundings import Supervisor, Surroundings
from chaos.simulation.tasks import queue
from liteq.job import Claim, ClaimRequest, Transition, WorkerInfo
from liteq.worker import batching
from liteq.worker.batching import BATCH_BUDGET, Durations
from liteq.worker.desk import Desk
from liteq.worker.executor import Executor
from liteq.worker.log import JobLog
from liteq.worker.verdict import Death

__all__ = ["Worker"]

NOBODY = 2**31 - 1
"""A process id that no system gives, and so are those a bit lower."""

LONG = 0.05
"""Seconds that a job takes for which the others of its batch are handed back."""

_quiet = logging.getLogger("liteq.simulation")
_quiet.disabled = True


def _never_lost(error: Exception, has_others: bool) -> None:
    raise AssertionError("a store in memory has no descriptors to lose") from error


class Phase(Enum):
    """What a worker process does next."""

    TURN = "turn"
    TAKE = "take"
    PUBLISH = "publish"
    CHECK = "check"
    RUN = "run"
    FINISH = "finish"
    SETTLE = "settle"


class Worker:
    """A worker process: the real desk, executor and durations, and the steps of `liteq.worker.loop`.

    Attributes:
        killed: why its supervisor has killed it, if it has.
        deadline: until when the job that it publishes may run, on the monotonic clock; None for ever.
    """

    def __init__(
        self, program: Supervisor, machine: Surroundings, queues: tuple[str, ...] | None = None
    ) -> None:
        chance = machine.chance
        self.program = program
        self.alive = True
        self.suspended = False
        self.killed = Death.CRASHED
        self.died_at = 0.0
        self.shown: list[Lease | None] = [None]
        self.shown_at = 0.0
        self._began = 0.0
        self.deadline: float | None = None
        self._machine = machine
        self._queues = queues
        name = f"worker {machine.name()}"
        log = JobLog(_quiet)
        # Its own number as the process id, and that of this very process for a supervisor that lives.
        info = WorkerInfo(name, "host", NOBODY - machine.name(), os.getpid(), self._queues)
        store, clock = machine.store, machine.clock
        self.desk = Desk(store, info, program.visibility_timeout, clock, chance.random, log, _never_lost)
        self.executor = Executor(queue.tasks, store, clock, chance.random, name, log)
        self.durations = Durations(queue.tasks)
        self.phase = Phase.TURN
        self._job: Claim | None = None
        self._decided: Transition | None = None
        self._empty_turns = 0

    @property
    def holder(self) -> int | None:
        """The number under which it is registered."""
        return self.desk.holder

    @property
    def is_idle(self) -> bool:
        """Whether it has no job in hand, and no outcome either."""
        return self.phase is Phase.TURN and not self.desk.unstarted and self.desk.oldest_outcome() is None

    def die(self) -> None:
        """End at once."""
        if self.alive:
            self.died_at = self._machine.clock.monotonic()
        self.alive = self.suspended = False

    def step(self) -> None:
        """Do the next thing; between any two of them it may die or be suspended."""
        with self._machine.by(self):
            getattr(self, f"_{self.phase.value}")()

    def keep(self, returns: bool) -> None:
        """Do what the keeper does while a job runs: hand back the others or not, and settle."""
        with self._machine.by(self):
            if returns:
                self.desk.hand_back()
            if self.holder is not None:
                self.desk.settle()

    def leave(self) -> None:
        """End as asked: hand back, settle, unregister."""
        with self._machine.by(self):
            self.desk.hand_back()
            if self.holder is not None:
                self.desk.settle()
                self._machine.store.unregister(self.holder)
            self.killed = Death.STOPPED
            self.die()

    # ---- the steps of the loop ---------------------------------------------------------------------

    def _turn(self) -> None:
        desk, machine = self.desk, self._machine
        if desk.holder is None:
            self._register()
        elif desk.suspect and desk.is_expelled():
            desk.hand_back()
            desk.settle()
            self._show(None)
            self._register()
        elif desk.unstarted:
            self.phase = Phase.TAKE
        elif desk.claim(self._request()):
            self._empty_turns = 0
            self._began = machine.clock.monotonic()
            self.phase = Phase.TAKE
        else:
            self._show(None)
            due = machine.store.next_due(self._request())
            self._empty_turns += 1 if due is not None and due <= machine.clock.wall() else -self._empty_turns
            if self._empty_turns > 1:
                desk.suspect = True

    def _request(self) -> ClaimRequest:
        limit = self._machine.chance.choice((1, 2, 5, 128))
        return ClaimRequest(self.durations.costs, self._queues, BATCH_BUDGET, limit)

    def _register(self) -> None:
        self._slot = self._machine.store.slot(self.desk.register())
        assert self.holder is not None
        self._machine.by_holder[self.holder] = self

    def _take(self) -> None:
        self._job = self.desk.take()
        self.phase = Phase.TURN if self._job is None else Phase.PUBLISH

    def _publish(self) -> None:
        self._show(self._lease(self._claimed()))
        self.phase = Phase.CHECK

    def _check(self) -> None:
        job = self._claimed()
        in_time = self._machine.clock.monotonic() - self._began <= batching.BEGIN_WITHIN
        if in_time and (job.max_crashes > 0 or self.desk.is_held()):
            self.phase = Phase.RUN
        else:
            self._show(None)
            self.desk.hand_back(job)
            self.phase = Phase.TURN

    def _run(self) -> None:
        job, machine = self._claimed(), self._machine
        lease = self._lease(job)
        machine.begin(lease)
        decided = self.executor.run(job)
        assert decided is not None, "only a job that ends in a transaction of its own has nothing to settle"
        machine.ledger.ran(lease, decided, machine.clock.wall())
        self._decided = decided
        self.phase = Phase.FINISH

    def _finish(self) -> None:
        job = self._claimed()
        assert self._decided is not None
        [seconds] = self._machine.chance.choices((0.00001, 0.001, 0.005, LONG), (60, 20, 17, 3))
        self.durations.observe(job.task, seconds)
        self.desk.finish(job, self._decided, self._machine.clock.monotonic())
        if self.deadline is not None:
            self.deadline = None
            self._slot.begin(job.seq, job.token, None)
        if seconds == LONG:
            self.desk.hand_back()
        self.phase = Phase.SETTLE if job.max_crashes == 0 else Phase.TAKE

    def _settle(self) -> None:
        self.desk.settle()
        self.phase = Phase.TAKE

    def _claimed(self) -> Claim:
        assert self._job is not None
        return self._job

    def _lease(self, job: Claim) -> Lease:
        return self._machine.ledger.leases[job.seq, job.token]

    def _show(self, lease: Lease | None) -> None:
        """Publish what runs, some of it with a time limit."""
        if lease is None:
            self.deadline = None
            self._slot.clear()
        else:
            limit = self._machine.chance.choice((None, 5.0))
            self.deadline = None if limit is None else self._machine.clock.monotonic() + limit
            self._slot.begin(lease.claim.seq, lease.claim.token, self.deadline)
        self.shown_at = self._machine.clock.monotonic()
        self.shown.append(lease)
