"""One run of a simulated machine: events in any order, then a drain, then the last look."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import accumulate

from chaos.simulation.jobs import FINISHED, GONE, Entry
from chaos.simulation.machine import Machine
from chaos.simulation.program import Program
from chaos.simulation.store import Maker
from chaos.simulation.tasks import ENDINGS, KINDS, REPEATS, queue
from chaos.simulation.worker import Worker
from liteq.job import JobFilter
from liteq.worker.verdict import Death

__all__ = ["Episode"]

HOUR, YEAR = 3600.0, 365 * 86400.0
EARLIEST, LATEST = 1e9, 2.4e9
"""The wall clock is kept between these, so that its errors do not add up to an impossible date."""
CROWD = 25
"""Jobs that wait at most, so that each step is short."""
AUDIT_EVERY = 500
LOOKS = 300
"""Looks, 2 s apart, after which nobody who is gone may hold a job: the longest lease and two heartbeats."""
ROUNDS = 20_000
"""Steps of a drain after which every job must have ended."""
PROGRAMS = 3


class Episode:
    """A machine, and the chance that drives it.

    Args:
        seed: makes the same run again.
        make_store: makes the store of the machine.

    Attributes:
        steps: how many events there were.
        digest: over everything that happened.
    """

    def __init__(self, seed: str, make_store: Maker) -> None:
        self.seed = seed
        self.steps = 0
        self.digest = hashlib.blake2b(digest_size=8)
        self.chance = random.Random(seed)
        self.machine = Machine(self.chance, self._trace, make_store)
        self.ledger = self.machine.ledger
        events: dict[Callable[[], object], float] = {
            self._work: 60,
            self._enqueue: 14,
            self._pass_time: 12,
            self._look: 4,
            self._take_back: 2,
            self._bury: 5,
            self._keep: 4,
            self._resume: 1.5,
            self._kill_worker: 1.5,
            self._suspend_worker: 4,
            self._manage: 2,
            self._sweep: 1,
            self._be_late: 1,
            self._step_clock: 1,
            self._start_program: 0.6,
            self._leave: 0.5,
            self._sleep: 1,
            self._suspend_program: 0.3,
            self._kill_program: 0.2,
        }
        self._events = [*events]
        self._weights = [*accumulate(events.values())]

    def run(self, steps: int) -> None:
        """Let so many events happen, and then see every job to its end; stop at the first problem."""
        try:
            self._start_program()
            while self.steps < steps and not self.ledger.problems:
                [event] = self.chance.choices(self._events, cum_weights=self._weights)
                event()
                self.steps += 1
                if self.steps % AUDIT_EVERY == 0:
                    self._audit()
            if not self.ledger.problems:
                self._drain()
            self._trace(f"at {self.machine.clock.wall()!r} {self.machine.clock.monotonic()!r}")
        except Exception as error:
            self.ledger.complain(f"step {self.steps} raised {error!r}")

    def _trace(self, what: str) -> str:
        line = f"{self.steps} {what}"
        self.digest.update(line.encode())
        return line

    def _audit(self) -> None:
        self.ledger.audit([job.id for job in self.machine.store.find(JobFilter(limit=1_000_000))])

    # ---- whom it concerns --------------------------------------------------------------------------

    def _worker(self, *, suspended: bool = False) -> Worker | None:
        able = [worker for worker in self.machine.workers if worker.alive and worker.suspended is suspended]
        return self.chance.choice(able) if able else None

    def _program(self) -> Program | None:
        able = [program for program in self.machine.programs if program.is_able]
        return self.chance.choice(able) if able else None

    def _some_id(self) -> str:
        """Return one of the last ids, there or not."""
        newest = self.ledger.counts["jobs"]
        return f"job-{max(0, newest - self.chance.randrange(40))}"

    # ---- producing and managing --------------------------------------------------------------------

    def _enqueue(self) -> None:
        if len(self.ledger.waiting) >= CROWD:
            return
        chance, now = self.chance, self.machine.clock.wall()
        task = queue.tasks[chance.choice([*KINDS])]
        repeats = chance.choices(REPEATS, k=chance.choice((0, 0, 1, 2, 4)))
        self.machine.acts = [str(act) for act in (*repeats, chance.choice(ENDINGS))]
        options = {
            "queue": chance.choice(("default", "default", "a", "b")),
            "priority": chance.choice((0, 0, 0, 5, -3)),
            "ignore_result": chance.random() < 0.15,
            "eta": _datetime(now + chance.uniform(-5, 60) if chance.random() < 0.2 else None),
            "expires": _datetime(now + chance.uniform(-5, 90) if chance.random() < 0.15 else None),
        }
        jobs = []
        for number in range(chance.choice((1, 1, 1, 2, 5))):
            is_new = chance.random() < 0.9
            job_id = f"job-{self.ledger.counts['jobs'] + number}" if is_new else self._some_id()
            placement = task.place({**options, "task_id": job_id})
            jobs.append(task.new_job(([*self.machine.acts],), {}, placement))
        self.machine.store.enqueue(jobs, now)

    def _manage(self) -> None:
        store, now = self.machine.store, self.machine.clock.wall()
        act = self.chance.randrange(12)
        job_ids = [self._some_id() for _ in range(self.chance.randrange(1, 4))]
        if act < 5:
            store.revoke(job_ids, now, "not wanted")
        elif act < 9:
            failed = [entry.id for entry in self.ledger.entries.values() if entry.crashes and not entry.lease]
            store.requeue([*job_ids, *failed[-1:]], now)
        elif act < 11:
            store.forget(job_ids[0])
        else:
            store.purge(self.chance.choice((["a"], ["b"], ["a", "default"])), now)

    def _sweep(self) -> None:
        self.machine.store.sweep(self.machine.clock.wall())

    # ---- working -----------------------------------------------------------------------------------

    def _work(self) -> None:
        worker = self._worker()
        if worker is not None:
            worker.step()

    def _keep(self) -> None:
        worker = self._worker()
        if worker is not None:
            worker.keep(self.chance.random() < 0.5)

    def _leave(self) -> None:
        worker = self._worker()
        if worker is not None and worker.is_idle:
            worker.leave()

    def _look(self) -> None:
        program = self._program()
        if program is not None:
            self._look_by(program)

    def _look_by(self, program: Program) -> None:
        self.ledger.counts["jobs recovered"] += program.look()

    def _take_back(self) -> None:
        program = self._program()
        if program is not None:
            program.take_back()

    def _bury(self) -> None:
        program = self._program()
        for worker in () if program is None else program.dead():
            if program is not None and program.is_able:
                program.bury(worker)

    def _be_late(self) -> None:
        program = self._program()
        if program is not None:
            program.be_late(self.chance.uniform(0, 4) * program.heartbeat)

    # ---- dying, stopping, coming back --------------------------------------------------------------

    def _kill_worker(self) -> None:
        worker = self._worker(suspended=self.chance.random() < 0.2)
        if worker is None or not worker.program.alive:
            return
        self.ledger.counts["worker crashes"] += 1
        if worker.program.is_able:
            is_late = worker.deadline is not None and worker.deadline <= self.machine.clock.monotonic()
            worker.killed = (
                Death.TIME_LIMIT
                if is_late
                else self.chance.choice((Death.CRASHED, Death.CRASHED, Death.STOPPED))
            )
        worker.die()
        if self.chance.random() < 0.5:
            self._bury()

    def _kill_program(self) -> None:
        program = self._program()
        if program is not None:
            self.ledger.counts["program crashes"] += 1
            program.die()

    def _start_program(self) -> None:
        alive = [program for program in self.machine.programs if program.alive]
        if len(alive) < PROGRAMS:
            # The processes of dead programs are nobody's any more.
            self.machine.programs[:] = [*alive, Program(self.machine)]

    def _suspend_worker(self) -> None:
        workers = [worker for worker in self.machine.workers if worker.alive and not worker.suspended]
        # One that holds jobs is the more interesting one.
        busy = [worker for worker in workers if not worker.is_idle]
        if workers:
            self.chance.choice(busy or workers).suspended = True

    def _suspend_program(self) -> None:
        program = self._program()
        if program is not None:
            program.suspended = True

    def _resume(self) -> None:
        for program in self.machine.programs:
            program.suspended = False
        worker = self._worker(suspended=True)
        if worker is not None:
            worker.suspended = False

    # ---- time --------------------------------------------------------------------------------------

    def _pass_time(self) -> None:
        """Let time pass; programs look at each other every few seconds, as their agenda says."""
        pace = self.machine.pace
        left = pace * self.chance.uniform(0, self.chance.choice((0.02, 0.3, 0.3, 2.0, 2.0, 10.0, 40.0)))
        while left > 0:
            part = min(left, pace * self.chance.uniform(1, 4))
            self.machine.pass_time(part)
            left -= part
            for program in self.machine.programs if part > pace else ():
                if program.is_able:
                    self._look_by(program)

    def _sleep(self) -> None:
        self.machine.sleep(
            self.chance.uniform(60, self.chance.choice((600, 90_000))), self.chance.random() < 0.5
        )

    def _step_clock(self) -> None:
        self.ledger.counts["clock steps"] += 1
        seconds = self.chance.choice((HOUR, YEAR, self.chance.uniform(0, 100)))
        wall = self.machine.clock.wall()
        forward = self.chance.random() < 0.5
        if wall + seconds > LATEST or wall - seconds < EARLIEST:
            forward = wall < (EARLIEST + LATEST) / 2
        self.machine.clock.step(seconds if forward else -seconds)
        self._trace(f"the clock is set to {self.machine.clock.wall()!r}")

    # ---- the end -----------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Let nothing go wrong any more, and demand that every job comes to its end."""
        machine = self.machine
        machine.calm = True
        for program in machine.programs:
            program.suspended = False
        machine.programs.append(Program(machine, serves_all=True))
        self._recover_all()
        for worker in machine.workers:
            worker.suspended = False
        for _ in range(ROUNDS):
            if not self.ledger.unfinished or self.ledger.problems or not self._round():
                break
        if self.ledger.problems:
            return
        for entry in self.ledger.unfinished:
            self.ledger.complain(f"{entry.id} never ended, it is {entry.state}.", entry)
        self._audit()
        self._expire_all()

    def _expire_all(self) -> None:
        """Let the time come at which no result is kept any more that is not kept for ever."""
        machine = self.machine
        done = [entry.done for entry in self.ledger.entries.values() if entry.done is not None]
        machine.clock.step(max(done, default=0.0) + 2 * 86400.0 - machine.clock.wall())
        machine.store.sweep(machine.clock.wall())
        for entry in self.ledger.entries.values():
            if entry.station != (FINISHED if _is_kept(entry) else GONE):
                self.ledger.complain(f"{entry.id} is {entry.station} at the end.", entry)
        self._audit()

    def _recover_all(self) -> None:
        """Look until no worker that is dead or hangs holds a job; the clock may stand anywhere."""
        machine = self.machine
        for _ in range(LOOKS):
            held = [entry for entry in self.ledger.leased.values() if not self._is_served(entry)]
            if not held or self.ledger.problems:
                return
            machine.pass_time(2.0)
            for program in machine.programs:
                if program.alive:
                    for worker in program.dead():
                        program.bury(worker)
                    program.look()
            self.steps += 1
        for entry in held:
            self.ledger.complain(
                f"{entry.id} is held by a worker that is gone, and nobody recovers it.", entry
            )

    def _is_served(self, entry: Entry) -> bool:
        assert entry.lease is not None
        worker = self.machine.by_holder[entry.lease.holder]
        return worker.alive and not worker.suspended and worker.holder == entry.lease.holder

    def _round(self) -> bool:
        """Let every worker make a step, and time pass if there was nothing to do; False if none ever will."""
        workers = [worker for worker in self.machine.workers if worker.alive]
        for worker in workers:
            worker.step()
            self.steps += 1
        if all(worker.is_idle for worker in workers):
            if not self.ledger.waiting:
                return False
            now = self.machine.clock.wall()
            dues = [entry.due - now for entry in self.ledger.waiting.values() if not entry.ready]
            self.machine.pass_time(max(0.01, min(dues, default=0.01)))
            for program in self.machine.programs:
                program.look()
        return True


def _datetime(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _is_kept(entry: Entry) -> bool:
    """Tell whether the record of a finished job is kept for ever."""
    return entry.station == FINISHED and entry.kind.kept == 0
