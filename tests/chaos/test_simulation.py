"""The simulation holds what is promised, makes the same run again, and notices each part that is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaos.proof import PROOFS, check, prove
from chaos.simulation.store import Store
from liteq import lifecycle
from liteq.job import Claim, Transition
from liteq.lifecycle import Event
from liteq.retry import RetryPolicy
from liteq.transports.memory import MemoryTransport, stations, transport
from liteq.transports.memory.stations import Record, Stations
from liteq.worker import batching, recovery, taking_back, verdict
from liteq.worker.desk import Desk
from liteq.worker.executor import Executor
from liteq.worker.recovery import Recovery

SHORT = PROOFS["simulation"].short
TESTS = Path(__file__).parents[1]


def test_the_engine_keeps_its_promises_whatever_happens_in_whatever_order(seed: int) -> None:
    proof = prove("simulation", SHORT, seed)
    check(proof)
    # A run in which nothing went wrong would prove nothing.
    for what in ("program crashes", "crashes charged", "workers taken for dead", "refused settlements"):
        assert int(proof.figures[what]) > 10, what


def test_a_seed_makes_the_same_run_again_in_any_process(seed: int) -> None:
    command = [sys.executable, "-m", "chaos", "simulation", "--size", "5000", "--seed", str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "7"}
    told = subprocess.run(
        command, env=environment, cwd=TESTS.parent, capture_output=True, text=True, check=False, timeout=60
    )
    assert told.returncode == 0, told.stderr
    here = prove("simulation", 5000, seed)
    assert str(here) in told.stdout
    assert here.figures["trace"] != prove("simulation", 5000, seed + 1).figures["trace"]


# ---- parts that are broken on purpose --------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]
FAULTS: dict[str, Patch] = {}


def fault(name: str) -> Callable[[Patch], Patch]:
    def add(patch: Patch) -> Patch:
        FAULTS[name] = patch
        return patch

    return add


@fault("a fence that looks at the job only")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transport, "_under_lease", lambda stations, seq, token: stations.leased.get(seq))


@fault("a fence that looks at the job and its state")
def _(patch: pytest.MonkeyPatch) -> None:
    def under_lease(stations: Stations, seq: int, token: int) -> Record | None:
        record = stations.leased.get(seq)
        return record if record is not None and record.state == "STARTED" else None

    patch.setattr(transport, "_under_lease", under_lease)


@fault("a fence that refuses what it must accept")
def _(patch: pytest.MonkeyPatch) -> None:
    fenced = transport._under_lease

    def under_lease(stations: Stations, seq: int, token: int) -> Record | None:
        return None if token % 50 == 0 else fenced(stations, seq, token)

    patch.setattr(transport, "_under_lease", under_lease)


@fault("an attempt that is not counted")
def _(patch: pytest.MonkeyPatch) -> None:
    lease = Stations.lease

    def uncounted(self: Stations, record: Record, holder: int, now: float) -> None:
        lease(self, record, holder, now)
        record.attempts -= record.retries > 1

    patch.setattr(Stations, "lease", uncounted)


@fault("a retry that is lost")
def _(patch: pytest.MonkeyPatch) -> None:
    put_back = Stations.put_back

    def lose(self: Stations, record: Record, due: float, now: float) -> None:
        put_back(self, record, due, now)
        if record.state == "RETRY" and record.retries > 1:
            (self.ready if record.station == stations.READY else self.delayed).remove(record)

    patch.setattr(Stations, "put_back", lose)


@fault("a job that is given out twice")
def _(patch: pytest.MonkeyPatch) -> None:
    lease = Stations.lease

    def stay(self: Stations, record: Record, holder: int, now: float) -> None:
        lease(self, record, holder, now)
        if record.attempts == 3:
            self.ready.add(record)

    patch.setattr(Stations, "lease", stay)


@fault("an order without priorities")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stations, "_claim_order", lambda record: (record.due, record.seq))


@fault("an order in which a retry does not take its place")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        stations, "_claim_order", lambda record: (-record.new.priority, record.enqueued, record.seq)
    )


@fault("a job that is ready before its time")
def _(patch: pytest.MonkeyPatch) -> None:
    enter = Stations._enter_waiting
    patch.setattr(Stations, "_enter_waiting", lambda self, record, now: enter(self, record, now + 1.0))


@fault("an expired job that runs")
def _(patch: pytest.MonkeyPatch) -> None:
    finish = Stations.finish

    def spare(self: Stations, record: Record, state: str, *told: Any) -> None:
        if state != "REVOKED" or record.retries == 0:
            finish(self, record, state, *told)

    patch.setattr(Stations, "finish", spare)


@fault("results that are mixed up")
def _(patch: pytest.MonkeyPatch) -> None:
    finish = Stations.finish
    last: list[bytes | None] = [None]

    def mix(
        self: Stations, record: Record, state: str, at: float, result: bytes | None, reason: str | None
    ) -> None:
        finish(self, record, state, at, last[0] if result and last[0] else result, reason)
        last[0] = result

    patch.setattr(Stations, "finish", mix)


@fault("a result that is dropped too soon")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stations, "DEFAULT_RESULT_EXPIRES", 3600.0)


@fault("a requeued job that keeps its crashes")
def _(patch: pytest.MonkeyPatch) -> None:
    requeue = transport._requeue

    def keep(stations: Stations, job_id: str, now: float) -> bool:
        record = stations.jobs.get(job_id)
        crashes = 0 if record is None else record.crashes
        done = requeue(stations, job_id, now)
        if done and record is not None:
            record.crashes = crashes
        return done

    patch.setattr(transport, "_requeue", keep)


@fault("a worker that is expelled and claims all the same")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryTransport, "expel", lambda self, holder, seen: True)


@fault("renewals that do nothing")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryTransport, "renew", lambda self, holders, visibility_timeout, now: None)


@fault("recovery after one look")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Recovery, "_is_silent", lambda self, record: self._transport.expel(record.holder, record.expires)
    )


@fault("recovery of a worker that renewed at the last moment")
def _(patch: pytest.MonkeyPatch) -> None:
    expel = MemoryTransport.expel
    patch.setattr(MemoryTransport, "expel", lambda self, holder, seen: expel(self, holder, None))


@fault("recovery by the looker's own visibility timeout")
def _(patch: pytest.MonkeyPatch) -> None:
    is_silent = Recovery._is_silent
    patch.setattr(
        Recovery, "_is_silent", lambda self, record: is_silent(self, replace(record, visibility_timeout=6.0))
    )


@fault("recovery that counts the time in which the looker slept")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "SLEPT", float("inf"))


@fault("recovery that waits until a clock that was set back has caught up")
def _(patch: pytest.MonkeyPatch) -> None:
    is_gone = Recovery._is_gone
    patch.setattr(
        Recovery,
        "_is_gone",
        lambda self, record, own: (
            is_gone(self, replace(record, visibility_timeout=1e9), own)
            if record.expires > self._clock.wall()
            else is_gone(self, record, own)
        ),
    )


@fault("a worker that does not ask whether a job is still its own")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Desk, "is_held", lambda self: True)


@fault("a worker that begins a job of its batch late")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(batching, "BEGIN_WITHIN", float("inf"))


@fault("a supervisor that takes back the job that runs")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(taking_back, "waiting_behind", lambda claims, running: claims)


@fault("a supervisor that lets go of a dead worker before it has settled for it")
def _(patch: pytest.MonkeyPatch) -> None:
    leases = Store.leases

    def expel_first(self: Store, holder: int) -> list[Claim]:
        self.expel(holder, None)
        return leases(self, holder)

    patch.setattr(Store, "leases", expel_first)


@fault("batch mates that are charged with a crash")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verdict, "find_running", lambda running, seq, token: running)


@fault("a crash that is charged to nobody")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verdict, "find_running", lambda running, seq, token: None)


@fault("crashes without an end")
def _(patch: pytest.MonkeyPatch) -> None:
    crashed = lifecycle._crashed

    def endless(job: Claim, now: float, error: bytes, reason: str) -> Transition:
        return crashed(job._replace(max_crashes=99), now, error, reason)

    patch.setattr(lifecycle, "_crashed", endless)


@fault("a crash that counts as a retry")
def _(patch: pytest.MonkeyPatch) -> None:
    crashed = lifecycle._crashed

    def counted(job: Claim, now: float, error: bytes, reason: str) -> Transition:
        return crashed(job, now, error, reason)._replace(retries=job.retries + 1)

    patch.setattr(lifecycle, "_crashed", counted)


@fault("a lost job that may run only once and runs again")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "is_running", lambda running, claim: False)


@fault("one retry too many")
def _(patch: pytest.MonkeyPatch) -> None:
    left = RetryPolicy.has_retries_left
    patch.setattr(
        RetryPolicy, "has_retries_left", lambda self, retries, *most: left(self, retries - 1, *most)
    )


@fault("a failure that is stored as a success")
def _(patch: pytest.MonkeyPatch) -> None:
    succeed = lifecycle.TRANSITIONS[lifecycle.STARTED, Event.SUCCEED]
    patch.setitem(lifecycle.TRANSITIONS, (lifecycle.STARTED, Event.FAIL), succeed)


@fault("a state that is taken for another job's")
def _(patch: pytest.MonkeyPatch) -> None:
    classify = Executor._classify

    def confuse(self: Executor, job: Claim, *told: Any) -> Any:
        if self._report is not None:
            self._report = self._report._replace(seq=job.seq, token=job.token)
        return classify(self, job, *told)

    patch.setattr(Executor, "_classify", confuse)


@fault("an outcome that is lost on the desk")
def _(patch: pytest.MonkeyPatch) -> None:
    finish = Desk.finish

    def lose(self: Desk, job: Claim, decided: Transition, at: float) -> None:
        if job.attempts != 3:
            finish(self, job, decided, at)

    patch.setattr(Desk, "finish", lose)


@fault("a job that is not handed back")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Desk, "hand_back", lambda self: self._unstarted.clear())


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_part_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    FAULTS[name](monkeypatch)
    proof = prove("simulation", SHORT, seed)
    assert proof.problems, f"{name} went unnoticed in {SHORT:,} steps"


def test_a_report_has_the_last_events_of_the_job_concerned(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    FAULTS["an attempt that is not counted"](monkeypatch)
    [problem, *_] = prove("simulation", SHORT, seed).problems
    first, *events = problem.splitlines()
    job = first.split()[2]
    assert first.startswith(f"Episode {seed}/")
    assert "stored" in events[0]
    assert events
    assert all(f" {job} " in event for event in events)
