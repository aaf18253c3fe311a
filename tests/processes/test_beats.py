"""Real programs that fire schedules: killed, suspended, and asked to stop."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from programs import Program, wait_until

from liteq import Queue
from liteq.calls.options import decode_options
from liteq.codec import get_codec
from liteq.firing import Policy, encode_policy, first_run
from liteq.job import JobFilter, NewJob
from liteq.schedule import encode, every
from liteq.timetable import ScheduleRecord
from liteq.transport import Transport
from liteq.worker.workers import ProcessWorkers

TASKS = """
    from pathlib import Path
    from liteq import Queue

    q = Queue(Path(__file__).parent / "queue.db", durability="normal", visibility_timeout=1.0)

    @q.task
    def tick() -> str:
        return "tock"
"""
PERIOD = 0.25

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
needs_locks = pytest.mark.skipif(sys.platform != "linux", reason="/proc/locks")


def add(app: ModuleType, name: str, seconds: float = PERIOD, policy: Policy | None = None) -> None:
    """Store a schedule, whose first tick is one interval from now."""
    now = time.time()
    schedule = every(seconds, anchor=now)
    job = NewJob("", app.tick.name, get_codec("msgpack").encode([[], {}]))
    record = ScheduleRecord(
        name=name,
        task=app.tick.name,
        spec=encode(schedule),
        policy=encode_policy(policy or Policy()),
        job=job,
        next_run=first_run(schedule, Policy(), now),
    )
    assert app.q.transport.save_schedules([record]) == [True]


def ticks(transport: Transport, name: str) -> list[float]:
    jobs = transport.find(JobFilter(limit=100_000))
    told = [decode_options(job.options).headers for job in jobs]
    return sorted(headers["tick"] for headers in told if headers["schedule"] == name)


def assert_each_once(transport: Transport) -> None:
    """Demand that the rows of each schedule are its ticks, without a gap and without a second one."""
    for record in transport.schedules():
        found = ticks(transport, record.name)
        assert Counter(found).most_common(1)[0][1] == 1
        assert len(found) == record.runs
        steps = [round((later - earlier) / PERIOD, 3) for earlier, later in itertools.pairwise(found)]
        assert set(steps) <= {1.0}


def leader(app: ModuleType) -> int | None:
    """Return the process id of whoever leads; None if nobody does."""
    lock = Path(f"{app.q.url}.liteq", "lead-scheduler")
    inode = lock.stat().st_ino if lock.exists() else 0
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        fields = line.split()
        if "->" not in fields and fields[5].rpartition(":")[2] == str(inode):
            return int(fields[4])
    return None


def beat(program: Program, *words: str) -> subprocess.Popen[str]:
    process = program.start("-m", "liteq", "beat", program.folder / "queue.db", "-A", "beating", *words)
    assert process.stdout is not None
    while process.stdout.readline() not in ("ready\n", ""):
        pass
    return process


def later(app: ModuleType, name: str, count: int) -> Callable[[], bool]:
    """Return whether so many more ticks have been fired than now."""
    runs = app.q.transport.schedules([name])[0].runs

    def fired() -> bool:
        return bool(app.q.transport.schedules([name])[0].runs >= runs + count)

    return fired


@needs_locks
def test_when_the_leader_is_killed_another_goes_on_and_no_tick_is_lost_or_doubled(
    program: Program, capsys: pytest.CaptureFixture[str]
):
    app = program.module("beating", TASKS)
    beats = {process.pid: process for process in (beat(program) for _ in range(3))}
    for name in "abc":
        add(app, name)
    handovers = []
    for _ in range(2):
        wait_until(later(app, "a", 2))
        pid = leader(app)
        assert pid in beats
        beats.pop(pid).kill()
        killed = time.time()
        wait_until(later(app, "a", 4))
        jobs = app.q.transport.find(JobFilter(limit=100_000))
        handovers.append(min(job.enqueued for job in jobs if job.enqueued > killed) - killed)
    assert leader(app) in beats

    assert_each_once(app.q.transport)
    with capsys.disabled():
        print(f" handover {' and '.join(f'{seconds:.2f} s' for seconds in handovers)} ", end="")


@needs_locks
def test_a_suspended_leader_stops_no_schedule(program: Program):
    app = program.module("beating", TASKS)
    beats = [beat(program), beat(program)]
    add(app, "a")
    wait_until(later(app, "a", 2))
    pid = leader(app)
    assert pid in [process.pid for process in beats]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(later(app, "a", 12))
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(later(app, "a", 4))

    assert leader(app) == pid
    assert_each_once(app.q.transport)


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_beat_that_is_asked_to_stop_ends_at_once_and_without_complaint(
    program: Program, number: signal.Signals
):
    program.module("beating", TASKS)
    process = beat(program)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert "Traceback" not in out


@needs_signals
def test_a_beat_that_is_asked_to_stop_while_it_is_suspended_ends_when_it_goes_on(program: Program):
    program.module("beating", TASKS)
    for _ in range(4):
        process = beat(program)
        # Then the system may hand the signal to the thread of the scheduler, and the other one sleeps on.
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGCONT):
            process.send_signal(number)
        process.communicate(timeout=30)

        assert process.returncode == 0


OWN_SCHEDULE = """
    import sys
    from datetime import timedelta

    class Leaving:
        asked = 0

        def next_after(self, t):
            self.asked += 1
            if self.asked > 3:
                sys.exit(3)
            return t + timedelta(seconds=0.2)

    q.add_periodic_task(Leaving(), tick.s(), name="leaving")
    q.add_periodic_task(0.25, tick.s(), name="a")
"""


def test_a_users_own_schedule_that_ends_its_program_breaks_itself_only(program: Program):
    app = program.module("beating", TASKS + OWN_SCHEDULE)
    process = beat(program)
    wait_until(lambda: app.q.schedules.get("leaving").broken == "SystemExit: 3")
    wait_until(later(app, "a", 4))

    assert process.poll() is None


def test_a_beat_without_a_file_says_so(program: Program):
    done = program.run("-m", "liteq", "beat", "nowhere.db")

    assert done.returncode == 2
    assert "there is no queue here" in done.stderr


@needs_signals
@pytest.mark.parametrize("words", [["-c", "1"], ["-c", "1", "-B"], ["-P", "solo", "--beat"]])
def test_a_worker_fires_schedules_and_runs_what_they_enqueue(program: Program, words: list[str]):
    app = program.module("beating", TASKS)
    add(app, "a", policy=Policy(max_runs=2))
    process = program.start("-m", "liteq", "worker", program.folder / "queue.db", "-A", "beating", *words)
    wait_until(lambda: states(app.q) == ["SUCCESS", "SUCCESS"], timeout=30)
    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 0


def states(queue: Queue) -> list[str]:
    return [job.state for job in queue.transport.find(JobFilter())]


@pytest.mark.parametrize("words", [["--no-beat"], ["--drain"]])
def test_a_worker_that_does_not_fire_schedules_leaves_the_place_to_others(program: Program, words: list[str]):
    app = program.module("beating", TASKS)
    add(app, "a", seconds=3600)
    app.tick.delay().forget()
    process = program.start(
        "-m", "liteq", "worker", program.folder / "queue.db", "-A", "beating", "-c", "1", *words
    )
    wait_until(lambda: states(app.q) == [], timeout=30)
    with app.q.transport.lead("scheduler") as free:
        assert free
    process.kill()


@pytest.mark.parametrize("where", ["queue.db", "memory://"])
def test_workers_inside_a_program_fire_schedules(program: Program, where: str):
    app = program.module("beating", TASKS.replace('Path(__file__).parent / "queue.db"', place(where)))
    add(app, "a", policy=Policy(max_runs=2))
    with app.q.start_workers(1):
        wait_until(lambda: states(app.q) == ["SUCCESS", "SUCCESS"], timeout=30)


@pytest.mark.parametrize("where", ["queue.db", "memory://"])
def test_a_program_without_workers_can_fire_schedules(program: Program, where: str):
    app = program.module("beating", TASKS.replace('Path(__file__).parent / "queue.db"', place(where)))
    add(app, "a", policy=Policy(max_runs=2))
    with app.q.start_scheduler() as scheduler:
        wait_until(lambda: states(app.q) == ["PENDING", "PENDING"], timeout=30)
        scheduler.stop()
        with app.q.transport.lead("scheduler") as free:
            assert free


def place(where: str) -> str:
    return '"memory://"' if where == "memory://" else 'Path(__file__).parent / "queue.db"'


@pytest.mark.parametrize("where", ["queue.db", "memory://"])
def test_workers_inside_a_program_can_leave_schedules_to_others(program: Program, where: str):
    app = program.module("beating", TASKS.replace('Path(__file__).parent / "queue.db"', place(where)))
    with app.q.start_workers(1, beat=False) as workers:
        if isinstance(workers, ProcessWorkers):
            assert workers.is_alive
        with app.q.transport.lead("scheduler") as free:
            assert free
