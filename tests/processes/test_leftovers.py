"""What a task leaves behind in its process: what is put back, and what ends the process instead."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from programs import Program, wait_until

from liteq import AsyncResult, NotSupportedError, TimeLimitExceeded, WorkerLostError
from liteq.states import FAILURE, RETRY

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and descriptors")

TASKS = """
    import contextlib
    import gc
    import logging
    import logging.config
    import os
    import random
    import shutil
    import signal
    import sys
    import tempfile
    import time
    from pathlib import Path
    from liteq import Queue

    HERE = Path(__file__).parent
    q = Queue(HERE / "queue.db", durability="normal")
    if "pytest" not in sys.modules:
        # As applications do; it silences every logger that it does not name.
        logging.config.dictConfig({"version": 1, "root": {"level": "WARNING"}})

    def go_where_nothing_is():
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        os.rmdir(folder)

    def take_the_streams():
        sys.stdout = sys.stderr = open(os.devnull, "w")

    def close_the_streams():
        sys.stdout.close()
        sys.stderr.close()

    def take_the_descriptors():
        os.close(1)
        os.dup2(os.open(HERE / "mine", os.O_CREAT | os.O_WRONLY), 2)

    def silence_the_log():
        logging.disable(logging.CRITICAL)
        for name in ("liteq", "liteq.worker"):
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.disabled = True
            logger.setLevel("CRITICAL")
            logger.propagate = True
        logging.shutdown()

    def take_the_signals():
        for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD", "SIGPIPE", "SIGUSR1"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)

    def limit_the_interpreter():
        sys.setrecursionlimit(100)
        sys.setswitchinterval(100)
        gc.disable()

    LEFT = {
        "nothing": lambda: None,
        "folder": lambda: os.chdir("/"),
        "vanished folder": go_where_nothing_is,
        "umask": lambda: os.umask(0),
        "signals": take_the_signals,
        "blocked": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()),
        "alarm": lambda: signal.alarm(1),
        "timers": lambda: [signal.setitimer(which, 0.5) for which in
                           (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)],
        "interpreter": limit_the_interpreter,
        "streams": take_the_streams,
        "closed streams": close_the_streams,
        "descriptors": take_the_descriptors,
        "log": silence_the_log,
        "root logger": lambda: logging.root.handlers.clear() or logging.root.setLevel(logging.CRITICAL),
        "queue": q.close,
        "random": lambda: random.seed(0),
    }

    @q.task
    def leave(what: str) -> None:
        LEFT[what]()

    @q.task
    def look(number: int = 0) -> dict:
        print(f"out {number}", flush=True)
        print(f"err {number}", file=sys.stderr, flush=True)
        os.write(1, b"")
        liteq_log = logging.getLogger("liteq")
        return {
            "pid": os.getpid(),
            "folder": os.getcwd(),
            "umask": os.umask(os.umask(0o77)),
            "handlers": [repr(signal.getsignal(n)) for n in sorted(signal.valid_signals())],
            "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))),
            "timers": [signal.getitimer(which)[0] for which in range(3)],
            "interpreter": [sys.getrecursionlimit(), sys.getswitchinterval(), gc.isenabled()],
            "streams": [sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__, sys.stdout.closed,
                        os.fstat(1).st_ino, os.fstat(2).st_ino],
            "log": [logging.root.manager.disable, liteq_log.level, liteq_log.propagate,
                    len(liteq_log.handlers), logging.getLogger("liteq.worker").isEnabledFor(logging.ERROR)],
        }

    @q.task
    def follow_up() -> str:
        return look.delay().id

    @q.task(max_retries=0)
    def fails(text: str) -> None:
        raise ValueError(text)

    def begin_a_transaction():
        block = q.transaction()
        connection = block.__enter__()
        connection.execute("CREATE TABLE IF NOT EXISTS notes (text)")
        connection.execute("INSERT INTO notes VALUES ('lost')")
        quick.delay(99)
        return block

    @q.task
    def leave_open(raises: bool) -> None:
        globals()["left"] = begin_a_transaction()
        if raises:
            raise ValueError("in the middle")

    @q.task
    def use_it(x: int) -> int:
        with q.transaction() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS notes (text)")
            connection.execute("INSERT INTO notes VALUES (?)", (f"kept {x}",))
            # Its block ends only now, inside of this one.
            globals().pop("left", None)
            if q.store.in_transaction():
                connection.execute("INSERT INTO notes VALUES (?)", (f"kept {x} too",))
        return x

    @q.task(autoretry_for=(ValueError,), retry_backoff=600, retry_backoff_max=600)
    def seeds_and_fails() -> None:
        random.seed(0)
        raise ValueError

    @q.task
    def quick(number: int) -> int:
        return number

    @q.task
    def leave_late(what: str) -> None:
        LEFT[what]()
        time.sleep(0.01)

    def take_all(first: int, last: int, files: int):
        \"\"\"Close descriptors in a row, and let files of one's own have their numbers.\"\"\"
        os.closerange(first, last)
        mine = [open(HERE / f"mine-{number}", "w+b", buffering=0) for number in range(files)]
        for file in mine:
            file.write(b"mine")
        globals()["kept"] = mine

    def take_one(name: str):
        \"\"\"Put a file of one's own in the place of one that liteq has open.\"\"\"
        file = os.open(HERE / "mine-0", os.O_CREAT | os.O_RDWR)
        os.write(file, b"mine")
        for number in map(int, os.listdir("/proc/self/fd")):
            with contextlib.suppress(OSError):
                if Path(os.readlink(f"/proc/self/fd/{number}")).name == name:
                    os.dup2(file, number)

    def close_pipes():
        for number in map(int, os.listdir("/proc/self/fd")):
            with contextlib.suppress(OSError):
                if number > 2 and os.readlink(f"/proc/self/fd/{number}").startswith("pipe:"):
                    os.close(number)

    LOST = {
        "nothing": lambda: None,
        "all closed": lambda: take_all(3, 300, 0),
        "all replaced": lambda: take_all(3, 300, 40),
        "also the streams": lambda: take_all(0, 300, 40),
        "database": lambda: take_one("queue.db"),
        "wal": lambda: take_one("queue.db-wal"),
        "turnstile": lambda: take_one("turnstile"),
        "pipes": close_pipes,
    }

    @q.task(max_crashes=1)
    def lose(what: str, seconds: float = 0) -> None:
        LOST[what]()
        # Long enough for the keeper to bring what was finished before to the file.
        time.sleep(seconds)

    @q.task(time_limit=0.3)
    def endless() -> None:
        time.sleep(60)
"""

LEFT = [
    "folder",
    "vanished folder",
    "umask",
    "signals",
    "blocked",
    "alarm",
    "timers",
    "interpreter",
    "streams",
    "closed streams",
    "descriptors",
    "log",
    "root logger",
    "queue",
    "random",
]


def tasks(program: Program) -> ModuleType:
    return program.module("leaving", TASKS)


def warm_up(app: ModuleType) -> None:
    """Let the worker learn that the tasks are short, so that it claims them in batches."""
    for _ in range(4):
        calls = [call for number in range(50) for call in (app.quick.s(number), app.lose.s("nothing"))]
        for result in app.q.enqueue_many(calls):
            result.get(timeout=20)


def jobs_of(app: ModuleType, results: Sequence[AsyncResult[Any]]) -> list[Any]:
    return app.q.transport.get([result.id for result in results])


def check_file(app: ModuleType) -> None:
    """Demand that the queue's file is whole."""
    connection = sqlite3.connect(app.HERE / "queue.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


def test_the_next_job_finds_its_process_as_it_was(
    program: Program, capfd: pytest.CaptureFixture[str]
) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        # As it is after a first job: the tasks' own queue is open.
        app.follow_up.delay().get(timeout=10)
        before = app.look.delay().get(timeout=10)
        after = {}
        for number, what in enumerate(LEFT, 1):
            app.leave.delay(what).get(timeout=10)
            after[what] = app.look.delay(number).get(timeout=10)
            followed = app.q.AsyncResult(app.follow_up.delay().get(timeout=10))
            assert followed.get(timeout=10)["pid"] == before["pid"]
        with pytest.raises(ValueError, match="in the end"):
            app.fails.delay("in the end").get(timeout=10)
    assert after == dict.fromkeys(LEFT, before)
    said, told = capfd.readouterr()
    assert [line for line in said.splitlines() if line != "out 0"] == [
        f"out {n}" for n in range(1, len(LEFT) + 1)
    ]
    assert [line for line in told.splitlines() if line.startswith("err ") and line != "err 0"] == [
        f"err {n}" for n in range(1, len(LEFT) + 1)
    ]
    assert "raised unexpected: ValueError('in the end')" in told


def test_a_job_of_the_same_batch_finds_it_too_after_one_that_took_a_while(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        warm_up(app)
        for _ in range(30):
            app.leave_late.delay("nothing")
            app.look.delay().get(timeout=10)
        before = app.look.delay().get(timeout=10)
        what = ["folder", "umask", "signals", "alarm", "interpreter", "log"]
        calls = [call for left in what for call in (app.leave_late.s(left), app.look.s())]
        results = app.q.enqueue_many(calls, atomic=True)
        after = [result.get(timeout=10) for result in results[1::2]]
    assert after == [before] * len(what)


def test_tasks_that_seed_the_random_numbers_are_not_all_tried_again_at_one_moment(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        results = [app.seeds_and_fails.delay() for _ in range(6)]
        wait_until(lambda: all(result.status == RETRY for result in results))
        jobs = jobs_of(app, results)
    assert len({round(job.due - job.started) for job in jobs}) > 1


@pytest.mark.parametrize("raises", [False, True])
def test_a_transaction_that_a_task_leaves_open_is_rolled_back_and_blocks_nobody(
    program: Program, raises: bool
) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        for number in range(2):
            left, after = app.leave_open.delay(raises), app.use_it.delay(number)
            with pytest.raises(
                (ValueError, NotSupportedError), match="middle" if raises else "inside a transaction"
            ):
                left.get(timeout=10)
            assert after.get(timeout=10) == number
            assert app.quick.delay(number).get(timeout=10) == number
        connection = sqlite3.connect(app.HERE / "queue.db")
        notes = [text for (text,) in connection.execute("SELECT text FROM notes")]
        connection.close()
    assert notes == ["kept 0", "kept 0 too", "kept 1", "kept 1 too"]
    stored = sum(lane.jobs for lane in app.q.transport.count() if lane.task.endswith("quick"))
    assert stored == 2, "what was enqueued in a transaction that was rolled back is not there"


def test_an_alarm_that_goes_off_in_the_next_job_is_not_its_end(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1) as workers:
        pids = workers.pids
        app.leave.delay("timers").get(timeout=10)
        app.leave_late.delay("nothing").get(timeout=10)
        # A second of work, in which a timer of half a second would have run out.
        for _ in range(100):
            app.leave_late.delay("nothing").get(timeout=10)
        assert workers.pids == pids


@pytest.mark.parametrize("what", ["all closed", "all replaced", "also the streams"])
@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_a_job_that_takes_the_queues_descriptors_ends_its_process_and_no_other_job(
    program: Program, what: str, seconds: float
) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        warm_up(app)
        calls = [app.quick.s(number) for number in range(5)]
        calls.append(app.lose.s(what, seconds))
        calls += [app.quick.s(number) for number in range(5, 40)]
        results = app.q.enqueue_many(calls, atomic=True)
        lost = results.pop(5)
        with pytest.raises(WorkerLostError, match="descriptors"):
            lost.get(timeout=20)
        assert [result.get(timeout=20) for result in results] == list(range(40))
        assert {job.crashes for job in jobs_of(app, results)} == {0}
        check_file(app)
    mine = sorted(program.folder.glob("mine-*"))
    assert len(mine) == (0 if what == "all closed" else 40)
    assert {path.read_bytes() for path in mine} <= {b"mine"}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="finds the descriptors by /proc")
@pytest.mark.parametrize("what", ["database", "wal", "turnstile"])
def test_a_job_that_takes_a_single_descriptor_ends_its_process_before_anything_is_stored(
    program: Program, what: str
) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        warm_up(app)
        lost = app.lose.delay(what)
        with pytest.raises(WorkerLostError, match="descriptors"):
            lost.get(timeout=20)
        # In a batch nobody can tell which job it was, so none is charged before it has run alone.
        warm_up(app)
        calls = [app.lose.s(what), *(app.quick.s(number) for number in range(20))]
        results = app.q.enqueue_many(calls, atomic=True)
        with pytest.raises(WorkerLostError, match="descriptors"):
            results[0].get(timeout=20)
        assert [result.get(timeout=20) for result in results[1:]] == list(range(20))
        assert {job.crashes for job in jobs_of(app, results[1:])} == {0}
        [job] = jobs_of(app, [lost])
        assert (job.state, job.crashes) == (FAILURE, 1)
        check_file(app)
    assert (program.folder / "mine-0").read_bytes() == b"mine"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="finds the descriptors by /proc")
def test_a_worker_that_its_supervisor_cannot_hear_any_more_is_replaced(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1) as workers:
        warm_up(app)
        before = workers.pids
        # It is charged or has succeeded: that depends on when its worker looked last.
        app.lose.delay("pipes").get(timeout=20, propagate=False)
        # Its time limit is kept, for which the worker has to be heard.
        with pytest.raises(TimeLimitExceeded):
            app.endless.delay().get(timeout=10)
        assert workers.pids != before
