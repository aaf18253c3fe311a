"""What each pool is tried with: its tasks, and one trial for each row of the table in the guide."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from programs import Program, wait_until

from liteq.errors import NotSupportedError, TimeLimitExceeded, WorkerError, WorkerLostError
from liteq.states import PENDING, STARTED

PLAIN = """
    import os
    import time
    from pathlib import Path
    from liteq import Queue

    HERE = Path(__file__).parent
    q = Queue(HERE / "queue.db", durability="normal")

    def trace(line: str) -> None:
        with open(HERE / "trace", "a") as file:
            file.write(f"{line}\\n")

    def is_there(name: str) -> bool:
        return (HERE / name).exists()

    @q.task
    def pid() -> int:
        return os.getpid()

    @q.task
    def wait_for(name: str, own: str = "") -> int:
        trace(f"begun {name}")
        if own:
            (HERE / own).touch()
        give_up = time.monotonic() + 20
        while not is_there(name) and time.monotonic() < give_up:
            time.sleep(0.005)
        return os.getpid()

    @q.task(max_crashes=1)
    def crash() -> None:
        os._exit(3)

    @q.task(autoretry_for=(ValueError,), max_retries=1, default_retry_delay=0, bind=True)
    def again(self) -> int:
        if self.request.retries == 0:
            raise ValueError
        return self.request.attempt

    @q.task(bind=True)
    def writes(self) -> None:
        with self.transaction() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS written (row)")
            connection.execute("INSERT INTO written VALUES (1)")
            self.complete("stored")
"""

ASYNC = """
    import asyncio

    @q.task
    async def await_for(name: str, own: str = "") -> int:
        trace(f"begun {name}")
        if own:
            (HERE / own).touch()
        try:
            while not is_there(name):
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            trace(f"cancelled {name}")
            raise
        return os.getpid()

    @q.task(bind=True)
    async def writes_across(self) -> None:
        with self.transaction() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS written (row)")
            await asyncio.sleep(0)
            self.complete("stored")
"""

SOFT = """
    from liteq import SoftTimeLimitExceeded

    @q.task(soft_time_limit=0.1)
    def slow() -> float:
        began = time.monotonic()
        try:
            time.sleep(1)
            for _ in range(1000):
                time.sleep(0.01)
        except SoftTimeLimitExceeded:
            pass
        return time.monotonic() - began
"""

ASYNC_SOFT = """
    @q.task(soft_time_limit=0.1)
    async def slow_awaiting() -> str:
        try:
            await asyncio.sleep(20)
        except SoftTimeLimitExceeded:
            return "told"
        return "never told"
"""

LIMITED = """
    @q.task(time_limit=0.1)
    def late() -> None:
        time.sleep(20)
"""

ASYNC_LIMITED = """
    @q.task(time_limit=0.1)
    async def late_awaiting() -> None:
        await asyncio.sleep(20)
"""

GREEN = ("gevent", "eventlet")
POOLS = ("processes", "threads", "asyncio", "gevent", "eventlet", "solo")
YES, NO, REFUSED = "yes", "no", "refused at start"


class Trial:
    """One pool, tried with one program."""

    def __init__(self, program: Program, pool: str) -> None:
        self.program = program
        self.pool = pool
        self.takes_async = pool not in GREEN
        self.takes_limits = pool != "solo"
        self.has_processes = pool != "solo"
        source = PLAIN
        if self.takes_async:
            source += ASYNC + SOFT + ASYNC_SOFT
        else:
            source += SOFT
        if self.takes_limits:
            source += LIMITED + (ASYNC_LIMITED if self.takes_async else "")
        self.app: Any = program.module("pool_tasks", source)
        self._gates = 0

    def start(self) -> Any:
        """Start workers for two jobs at once, or one where that is all."""
        number = None if self.pool == "solo" else 2
        return self.app.q.start_workers(number, pool=self.pool, loglevel="critical")

    def gate(self) -> str:
        """Return the name of a file that is not there yet."""
        self._gates += 1
        return f"gate{self._gates}"

    def open(self, *gates: str) -> None:
        for gate in gates:
            (self.program.folder / gate).touch()

    def traced(self, line: str) -> int:
        path = self.program.folder / "trace"
        return path.read_text().splitlines().count(line) if path.exists() else 0

    def job(self, result: Any) -> Any:
        [job] = self.app.q.transport.get([result.id])
        return job

    @contextlib.contextmanager
    def bystander(self, task: Any) -> Iterator[tuple[Any, str]]:
        """Let a job run beside what the block tries."""
        gate = self.gate()
        result = task.delay(gate)
        wait_until(lambda: self.traced(f"begun {gate}"))
        try:
            yield result, gate
        finally:
            self.open(gate)
        result.get(timeout=20)


def refuses(trial: Trial, source: str, name: str) -> str:
    """Try to start workers with a module that the pool cannot serve."""
    app: Any = trial.program.module(name, PLAIN.replace('"queue.db"', f'"{name}.db"') + source)
    try:
        with app.q.start_workers(1, pool=trial.pool, loglevel="critical"):
            return YES
    except (NotSupportedError, WorkerError):
        return REFUSED


# ---- with workers that run ------------------------------------------------------------------------------


def plain_tasks(trial: Trial) -> str:
    assert trial.app.pid.delay().get(timeout=20) > 0
    return YES


def async_tasks(trial: Trial) -> str:
    if not trial.takes_async:
        return refuses(trial, ASYNC, "pool_async")
    gate = trial.gate()
    trial.open(gate)
    assert trial.app.await_for.delay(gate).get(timeout=20) > 0
    return YES


def several_at_once(trial: Trial) -> str:
    """Two jobs that wait for each other end only if both run; one after the other would never."""
    if trial.pool == "solo":
        return NO
    task = trial.app.await_for if trial.pool == "asyncio" else trial.app.wait_for
    mine, yours = trial.gate(), trial.gate()
    first, second = task.delay(mine, yours), task.delay(yours, mine)
    return YES if first.get(timeout=20) == second.get(timeout=20) else NO


def retries(trial: Trial) -> str:
    assert trial.app.again.delay().get(timeout=20) == 2
    return YES


def transaction(trial: Trial) -> str:
    assert trial.app.writes.delay().get(timeout=20) == "stored"
    return YES


def transaction_across_await(trial: Trial) -> str:
    if not trial.takes_async:
        return "—"
    try:
        assert trial.app.writes_across.delay().get(timeout=20) == "stored"
    except NotSupportedError:
        return "rolled back, and the job fails"
    return YES


def _limit(trial: Trial, late: str, beside: str) -> str:
    with trial.bystander(getattr(trial.app, beside)) as (_result, gate):
        try:
            getattr(trial.app, late).delay().get(timeout=20)
        except TimeLimitExceeded:
            pass
        wait_until(lambda: trial.traced(f"begun {gate}") in (1, 2))
    times = trial.traced(f"begun {gate}")
    return "yes, it alone" if times == 1 else "yes; those beside it run again"


def time_limit(trial: Trial) -> str:
    return _limit(trial, "late", "wait_for") if trial.takes_limits else refuses(trial, LIMITED, "pool_late")


def time_limit_of_async(trial: Trial) -> str:
    if not trial.takes_async:
        return "—"
    if not trial.takes_limits:
        return refuses(trial, ASYNC + ASYNC_LIMITED, "pool_late_async")
    return _limit(trial, "late_awaiting", "wait_for")


def soft_time_limit(trial: Trial) -> str:
    took = trial.app.slow.delay().get(timeout=20)
    assert took < 5
    return "yes, where it waits" if took < 0.8 else "yes, when its blocking call returns"


def soft_time_limit_of_async(trial: Trial) -> str:
    if not trial.takes_async:
        return "—"
    assert trial.app.slow_awaiting.delay().get(timeout=20) == "told"
    return "yes, where it awaits"


def crash(trial: Trial) -> str:
    if not trial.has_processes:
        return "ends the worker"
    with trial.bystander(trial.app.wait_for) as (result, _gate):
        crashed = trial.app.crash.delay()
        try:
            crashed.get(timeout=20)
        except WorkerLostError:
            pass
    assert trial.job(crashed).crashes == 1
    return "to the job" if trial.job(result).crashes == 0 else "to all that ran"


WORKING = {
    "plain tasks": plain_tasks,
    "async tasks": async_tasks,
    "several jobs at once in a process": several_at_once,
    "retries": retries,
    "`self.transaction()`": transaction,
    "a transaction kept open over an `await`": transaction_across_await,
    "`time_limit` of a plain task ends the job": time_limit,
    "`time_limit` of an async task ends the job": time_limit_of_async,
    "`soft_time_limit` of a plain task is raised in it": soft_time_limit,
    "`soft_time_limit` of an async task is raised in it": soft_time_limit_of_async,
    "a crash is charged": crash,
}
"""What is tried while workers run."""


# ---- with workers of its own ----------------------------------------------------------------------------


def stop(trial: Trial) -> str:
    """Stop while a job runs, and give it no time."""
    gate = trial.gate()
    task = trial.app.await_for if trial.pool == "asyncio" else trial.app.wait_for
    workers = trial.start()
    running = task.delay(gate)
    wait_until(lambda: trial.traced(f"begun {gate}"))
    workers.stop(timeout=0.05)
    job = trial.job(running)
    went_back = (job.state, job.attempts) == (PENDING, 0)
    trial.open(gate)
    if not went_back:
        assert job.state == STARTED
        # The thread lives as long as its job.
        assert running.get(timeout=20) > 0
        return "is left running"
    return "is cancelled, and goes back" if trial.traced(f"cancelled {gate}") else "is killed, and goes back"


def _drain(trial: Trial, *words: object) -> list[int]:
    """Let a worker of the command line run three jobs and end; return in which processes they ran."""
    results = [trial.app.pid.delay() for _ in range(3)]
    number = () if trial.pool == "solo" else ("-c", 1)
    command = ("-m", "liteq", "worker", "pool_tasks:q", "-P", trial.pool, *number, "--drain", *words)
    done = trial.program.run(*command)
    assert done.returncode == 0, done.stderr
    return [result.get(timeout=20) for result in results]


def drain_and_max_jobs(trial: Trial) -> tuple[str, str]:
    if not trial.has_processes:
        _drain(trial)
        refused = trial.program.run(
            "-m", "liteq", "worker", "pool_tasks:q", "-P", trial.pool, "--max-jobs", 1
        )
        return YES, "refused at start" if refused.returncode == 2 else YES
    return YES, YES if len(set(_drain(trial, "--max-jobs", 1))) == 3 else NO


def column(program: Program, pool: str) -> dict[str, str]:
    """Try everything with one pool; return what came of it, row by row."""
    trial = Trial(program, pool)
    with trial.start():
        found = {name: attempt(trial) for name, attempt in WORKING.items()}
    found["a job that outlasts `stop(timeout)`"] = stop(trial)
    found["`--drain`"], found["`--max-jobs`"] = drain_and_max_jobs(trial)
    return found
