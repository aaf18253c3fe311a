"""A supervisor of the simulation, with its worker processes."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.simulation.surroundings import Surroundings
from chaos.simulation.tasks import KINDS
from chaos.simulation.worker import Worker
from liteq.job import Transition
from liteq.worker import batching
from liteq.worker.recovery import Recovery
from liteq.worker.taking_back import TakingBack
from liteq.worker.verdict import Death, End, judge

__all__ = ["Program"]

TIMEOUTS = (6.0, 20.0, 60.0, 240.0)
"""The visibility timeouts of programs, in seconds; those of one store need not agree."""
SHORTEST = 0.12
"""The one of all programs where leases last no longer than a few jobs."""
SERVED = (None, None, ("default", "a"), ("b",))
"""The queue names that programs serve."""
LATE_TASKS = {
    name: {"max_retries": kind.max_retries, "default_retry_delay": 20.0 if name == "careful" else 0.0}
    | {"retries_time_limit": kind.retries_late}
    for name, kind in KINDS.items()
}
"""What workers tell their supervisors about their tasks."""


class Program:
    """A supervisor with its worker processes: the real recovery and verdicts."""

    def __init__(self, machine: Surroundings, serves_all: bool = False) -> None:
        self.visibility_timeout = machine.chance.choice(TIMEOUTS) if machine.pace == 1 else SHORTEST
        self.alive = True
        self.suspended = False
        self.burying: Death | None = None
        self.is_taking_back = False
        self._machine = machine
        self._queues = None if serves_all else machine.chance.choice(SERVED)
        self._renews_at = machine.clock.monotonic() + self.heartbeat
        self._recovery = Recovery(machine.store, machine.clock, machine.chance.random)
        self._taking_back = TakingBack(machine.store, machine.clock, machine.chance.random)
        self.workers = [Worker(self, machine, self._queues) for _ in range(machine.chance.randrange(1, 4))]

    @property
    def heartbeat(self) -> float:
        """Seconds between its renewals."""
        return self.visibility_timeout / 3

    @property
    def is_able(self) -> bool:
        """Whether it can act."""
        return self.alive and not self.suspended

    def die(self) -> None:
        """End at once; its worker processes end with it."""
        self.alive = self.suspended = self.is_taking_back = False
        self.burying = None
        for worker in self.workers:
            worker.die()

    def last_beat_until(self, end: float) -> float:
        """Return when it renews for the last time until then; infinity if it does not."""
        if not self.is_able or self._renews_at > end:
            return float("inf")
        now = self._machine.clock.monotonic()
        first = max(now, self._renews_at)
        return first + (end - first) // self.heartbeat * self.heartbeat

    def renew(self, now: float) -> None:
        """Renew the leases of the worker processes that are not suspended."""
        living = [
            worker.holder
            for worker in self.workers
            if worker.alive and not worker.suspended and worker.holder is not None
        ]
        if living:
            self._machine.store.renew(living, self.visibility_timeout, self._machine.clock.wall())
        self._renews_at = now + self.heartbeat

    def be_late(self, seconds: float) -> None:
        """Renew that much later than it should."""
        self._renews_at += seconds

    def look(self) -> int:
        """Look at the workers of the store; return how many jobs were taken over."""
        taken: Sequence[Transition] = ()
        if not self._machine.is_interrupted:
            for worker in self._machine.by_holder.values():
                worker.shown = worker.shown[-1:]
        with self._machine.by(self):
            own = [worker.holder for worker in self.workers if worker.holder is not None]
            taken = self._recovery.look(own)
        return len(taken)

    def take_back(self) -> None:
        """Take back what waits behind long jobs of its workers, as the supervisor does in another thread."""
        machine = self._machine
        with machine.by(self):
            self.is_taking_back = True
            for worker in self.workers:
                running = machine.store.running(worker.holder) if worker.alive and worker.holder else None
                overdue = running is not None and (
                    machine.clock.monotonic() - running.since >= batching.TAKE_BACK_AFTER
                )
                if running is not None and worker.holder is not None and overdue:
                    self._taking_back._take(worker.holder, running)
            self.is_taking_back = False

    def dead(self) -> list[Worker]:
        """Return its dead worker processes that are not buried."""
        return [worker for worker in self.workers if not worker.alive]

    def bury(self, worker: Worker) -> None:
        """Settle for a dead worker process, as the supervisor does, and put another one in its place."""
        machine, store = self._machine, self._machine.store
        death = worker.killed
        place = self.workers.index(worker)
        with machine.by(self):
            self.workers[place] = Worker(self, machine, self._queues)
            self.burying = death
            if worker.holder is not None:
                running = store.running(worker.holder)
                claims = store.leases(worker.holder)
                now = machine.clock.wall()
                decided = judge(claims, running, End(death, -9), LATE_TASKS, now, machine.chance.random)
                if decided:
                    store.settle(worker.holder, decided, now)
                store.expel(worker.holder, None)
            self.burying = None
