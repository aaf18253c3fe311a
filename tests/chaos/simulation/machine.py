"""The simulated machine: its clock, its store, the processes on it, and what may happen to them."""

from __future__ import annotations

import os
import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from chaos.simulation.jobs import How, Lease
from chaos.simulation.ledger import Ledger, Trace
from chaos.simulation.program import Program
from chaos.simulation.store import Maker
from chaos.simulation.surroundings import Process, Publisher
from chaos.simulation.tasks import STAGE
from chaos.simulation.worker import Worker
from liteq.calls.request import Request
from liteq.job import WorkerRecord
from liteq.testing import ManualClock
from liteq.worker.recovery import MOMENT
from liteq.worker.verdict import Death

__all__ = ["Died", "Machine"]

DEATHS = {
    Death.CRASHED: How.CHARGED,
    Death.TIME_LIMIT: How.LATE,
    Death.STOPPED: How.INTERRUPTED,
}
"""By which right a supervisor ends the lease of the job that a dead worker ran."""


class Died(BaseException):
    """The process that acts has died at this very point."""


class Machine:
    """One machine with one store; everything on it happens in one thread.

    Args:
        chance: where everything that is left to chance comes from.
        trace: takes down what happens.
        make_store: makes its store.

    Attributes:
        calm: nothing goes wrong by itself any more.

    For the others see `chaos.simulation.surroundings`.
    """

    def __init__(self, chance: random.Random, trace: Trace, make_store: Maker) -> None:
        self.chance = chance
        self.clock = ManualClock()
        self.pace = chance.choice((1.0, 0.02))
        self.awake = 0.0
        self.signs: dict[int, float] = {}
        self.calm = False
        self.acts: Sequence[str] = ()
        self.sees_deaths = chance.random() < 0.5
        """Whether the system can tell that a process is dead, as life locks do."""
        self.store = make_store(self)
        self.ledger = Ledger(self.store.get, trace, self._rights)
        self.programs: list[Program] = []
        self.by_holder: dict[int, Publisher] = {}
        self._acting: Process | None = None
        self.is_interrupted = False
        self._silent: set[int] = set()
        """Holders that were taken for dead because they did not renew."""
        self._names = 0

    def name(self) -> int:
        """Return a number that nobody else has."""
        self._names += 1
        return self._names

    @property
    def workers(self) -> list[Worker]:
        """The worker processes that are not buried."""
        return [worker for program in self.programs for worker in program.workers]

    @contextmanager
    def by(self, actor: Process) -> Iterator[None]:
        """Return a block in which a process acts; it may die there."""
        before, self._acting = self._acting, actor
        try:
            yield
        except Died:
            actor.die()
        finally:
            self._acting = before

    # ---- time --------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Let time pass while the machine is awake: whoever is well renews in time."""
        end = self.clock.monotonic() + seconds
        due = [(program.last_beat_until(end), number) for number, program in enumerate(self.programs)]
        for beat, number in sorted(due):
            if beat <= end:
                self._advance(beat - self.clock.monotonic())
                self.programs[number].renew(beat)
        self._advance(end - self.clock.monotonic())

    def _advance(self, seconds: float) -> None:
        if seconds > 0:
            self.clock.advance(seconds)
            self.awake += seconds

    def sleep(self, seconds: float, counts: bool) -> None:
        """Let the machine be suspended; `counts`: its monotonic clock goes on meanwhile."""
        # Whenever it is awake, whatever was due is done before it falls asleep again.
        self.pass_time(0.0)
        if counts:
            self.clock.advance(seconds)
        else:
            self.clock.step(seconds)

    # ---- what may happen between two verbs ---------------------------------------------------------

    def meanwhile(self, holder: int) -> None:
        """Let others go on while a program is busy with a worker, or let it die."""
        program = self._acting
        if self.calm or self.is_interrupted or not isinstance(program, Program):
            return
        draw = self.chance.random()
        if draw < 0.01:
            raise Died
        if draw > 0.7:
            return
        self.is_interrupted = True
        try:
            others = [other for other in self.programs if other.is_able and other is not program]
            if others and draw < 0.1:
                self.chance.choice(others).look()
            else:
                self._let_work(holder)
        finally:
            self.is_interrupted = False

    def _let_work(self, holder: int) -> None:
        able = [worker for worker in self.workers if worker.alive]
        if not able:
            return
        # The one that the program is busy with may come back at this very moment.
        concerned = [worker for worker in able if worker.holder == holder]
        worker = self.chance.choice(concerned if concerned and self.chance.random() < 0.8 else able)
        worker.suspended = False
        for _ in range(self.chance.choice((1, 2, 3, 4, 4, 5))):
            if worker.alive:
                worker.step()

    def perhaps_die(self) -> None:
        """Let a worker process die when the store has answered and before it knows."""
        if not self.calm and isinstance(self._acting, Worker) and self.chance.random() < 0.004:
            raise Died

    def begin(self, lease: Lease) -> None:
        """Let the task that runs next tell the ledger that it does."""

        def began(request: Request) -> int:
            return self.ledger.began(lease, (request.id, request.attempt, request.retries))

        def ask() -> float:
            lease.asked = self.clock.wall() + 7.0
            return lease.asked

        STAGE.begin, STAGE.ask = began, ask

    # ---- what is so --------------------------------------------------------------------------------

    def seen(self, record: WorkerRecord) -> WorkerRecord:
        """Return a record as the system can tell it."""
        worker = self.by_holder.get(record.holder)
        if worker is None or record.alive is False:
            return replace(record, info=replace(record.info, supervisor=0))
        if not self.sees_deaths:
            return replace(record, alive=None)
        if worker.alive:
            return record
        supervisor = os.getpid() if worker.program.alive else 0
        return replace(record, alive=False, info=replace(record.info, supervisor=supervisor))

    def expelled(self, holder: int) -> None:
        """Demand that whoever renews in time is not taken for dead."""
        worker = self.by_holder[holder]
        silent = self.awake - self.signs[holder]
        is_silent = silent > worker.program.heartbeat + 1e-6
        if isinstance(self._acting, Program) and is_silent:
            self._silent.add(holder)
        if not isinstance(self._acting, Program) or not worker.alive:
            return
        self.ledger.counts["workers taken for dead"] += 1
        if not is_silent:
            self.ledger.complain(
                f"Worker {holder} was taken for dead, and had renewed {silent:g} s before.",
                next((entry for entry in self.ledger.leased.values() if _held_by(holder, entry.lease)), None),
            )

    def _rights(self, lease: Lease) -> Collection[How]:
        actor = self._acting
        if isinstance(actor, Worker):
            return [How.RETURNED if lease.outcome is None else How.OUTCOME]
        if not isinstance(actor, Program):
            return []
        owner = self.by_holder[lease.holder]
        if actor.is_taking_back:
            return [] if lease.run else [How.TAKEN]
        if actor.burying is not None:
            if owner.shown[-1] is not lease:
                return [How.RETURNED]
            return [DEATHS[actor.burying]]
        is_fresh = not owner.alive and self.clock.monotonic() - owner.died_at < MOMENT
        if is_fresh and owner.program.is_able and lease.holder not in self._silent:
            # Its own supervisor has had no time yet to say whether the job was to blame.
            return []
        rights = {How.LOST_BEGUN if shown is lease else How.LOST_UNBEGUN: None for shown in owner.shown}
        return list(rights)


def _held_by(holder: int, lease: Lease | None) -> bool:
    return lease is not None and lease.holder == holder
