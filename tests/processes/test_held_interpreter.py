"""A task that holds the interpreter in C: no other thread of its process runs; nobody else waits for it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from types import ModuleType

import pytest
from programs import Program, wait_until

from liteq import AsyncResult
from liteq.states import PENDING, STARTED, SUCCESS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the C library's sleep, by way of ctypes")

TASKS = """
    import ctypes
    import os
    from pathlib import Path
    from liteq import Queue

    HERE = Path(__file__).parent
    q = Queue(HERE / "queue.db", durability="{durability}")

    def run(number: int, *holds: float) -> int:
        with open(HERE / "trace", "a") as trace:
            trace.write(f"{{number}} {{os.getpid()}}\\n")
        for hold in holds:
            # PyDLL keeps the interpreter's lock while the C function runs.
            ctypes.PyDLL(None).usleep(ctypes.c_uint(int(hold * 1e6)))
        return number

    @q.task
    def step(number: int, *holds: float) -> int:
        return run(number, *holds)

    @q.task(max_crashes=0)
    def once(number: int) -> int:
        return run(number)

    @q.task(time_limit=1)
    def limited(number: int, *holds: float) -> int:
        return run(number, *holds)
"""

WARM = -1
HOLDER = 10


def tasks(program: Program, durability: str = "normal") -> ModuleType:
    return program.module("holding", TASKS.format(durability=durability))


def warm_up(app: ModuleType, *names: str) -> None:
    """Let the workers learn that these tasks are short, so that they claim them in batches."""
    for _ in range(4):
        calls = [getattr(app, name).s(WARM) for name in names for _ in range(50)]
        for result in app.q.enqueue_many(calls):
            result.get(timeout=20)


def begun(program: Program) -> dict[int, list[int]]:
    """Return the process ids of the workers that began each job."""
    path = program.folder / "trace"
    runs: dict[int, list[int]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        number, pid = map(int, line.split())
        if number != WARM:
            runs.setdefault(number, []).append(pid)
    return runs


def states(results: Sequence[AsyncResult[int]]) -> Counter[str]:
    return Counter(result.status for result in results)


def test_the_jobs_behind_it_run_elsewhere_and_no_job_runs_twice(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(2) as workers:
        warm_up(app, "step", "once")
        calls = [app.step.s(number) for number in range(HOLDER)]
        calls.append(app.step.s(HOLDER, 4))
        for number in range(HOLDER + 1, 40):
            calls.append((app.step if number % 2 else app.once).s(number))
        results = app.q.enqueue_many(calls, atomic=True)
        behind = results[HOLDER + 1 :]
        assert [result.get(timeout=5) for result in behind] == list(range(HOLDER + 1, 40))
        assert results[HOLDER].status == STARTED
        assert [result.get(timeout=20) for result in results] == list(range(40))
        assert len(workers.pids) == 2
        jobs = app.q.transport.get([result.id for result in results])
    runs = begun(program)
    [holder] = runs[HOLDER]
    assert all(len(pids) == 1 for pids in runs.values()), runs
    assert any(runs[number] != [holder] for number in range(HOLDER + 1, 40))
    assert {(job.attempts, job.crashes) for job in jobs} == {(1, 0)}


def test_its_own_worker_runs_what_was_taken_back_if_there_is_no_other(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        warm_up(app, "step", "once")
        calls = [app.step.s(0), app.once.s(1), app.step.s(2, 4), app.once.s(3), app.step.s(4)]
        results = app.q.enqueue_many(calls, atomic=True)
        wait_until(lambda: states(results[3:]) == {STARTED: 2})
        # Claimed with the holder, and back in the queue while it still holds the interpreter.
        wait_until(lambda: states(results[3:]) == {PENDING: 2}, timeout=4)
        assert results[2].status == STARTED
        assert results[1].status == SUCCESS
        assert [result.get(timeout=20) for result in results] == list(range(5))
        jobs = app.q.transport.get([result.id for result in results])
    assert {number: len(pids) for number, pids in begun(program).items()} == dict.fromkeys(range(5), 1)
    assert {job.attempts for job in jobs} == {1}


def test_its_time_limit_ends_it_and_the_jobs_behind_it_are_not_charged(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        warm_up(app, "limited")
        calls = [app.limited.s(0, 30), *(app.limited.s(number) for number in range(1, 20))]
        results = app.q.enqueue_many(calls, atomic=True)
        with pytest.raises(TimeoutError, match="time limit"):
            results[0].get(timeout=10)
        assert [result.get(timeout=10) for result in results[1:]] == list(range(1, 20))
        jobs = app.q.transport.get([result.id for result in results[1:]])
    assert {job.crashes for job in jobs} == {0}


def test_writers_do_not_wait_for_it(program: Program) -> None:
    # At `full` its worker's keeper waits for the disk while it holds the write lock, and between two holds.
    app = tasks(program, durability="full")
    with app.q.start_workers(1):
        warm_up(app, "step")
        calls = [app.step.s(0), app.step.s(1, 0.04, 1.5), *(app.step.s(number) for number in range(2, 10))]
        results = app.q.enqueue_many(calls, atomic=True)
        longest = 0.0
        while not results[1].ready():
            began = time.monotonic()
            app.step.delay(WARM)
            longest = max(longest, time.monotonic() - began)
            # Leave the write lock to the keeper now and then.
            time.sleep(0.002)
        assert [result.get(timeout=10) for result in results] == list(range(10))
    assert longest < 1
