"""Jobs that end their process, or keep it from ending: bounded harm, a clear end, and the others unharmed."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from programs import Program, is_alive, wait_until

from liteq import WorkerLostError
from liteq.states import FAILURE, PENDING

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

TASKS = """
    import contextlib
    import ctypes
    import faulthandler
    import functools
    import multiprocessing
    import os
    import signal
    import subprocess
    import sys
    import threading
    import time
    from pathlib import Path
    from liteq import Queue

    HERE = Path(__file__).parent
    q = Queue(HERE / "queue.db", durability="normal")

    def overflow_the_stack():
        sys.setrecursionlimit(10**8)
        # Through C each time, or Python would grow its own stack instead, and take all memory.
        def deeper(*_):
            return functools.reduce(deeper, (1, 2))
        deeper()

    def forget_to_return():
        forget_to_return()

    def run_out_of_memory():
        import resource
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20), resource.RLIM_INFINITY))
        bytearray(1 << 30)

    WAYS = {
        "not": lambda: None,
        "segfault": lambda: ctypes.string_at(0),
        "abort": os.abort,
        "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "stack": overflow_the_stack,
        "recursion": forget_to_return,
        "memory": run_out_of_memory,
    }

    @q.task(max_crashes=1)
    def die(way: str) -> None:
        faulthandler.disable()
        WAYS[way]()

    @q.task
    def quick(number: int) -> int:
        return number

    @q.task(max_crashes=1)
    def deaf() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        (HERE / "deaf").touch()
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(60)

    def child_of(way: str) -> int:
        if way == "program":
            return subprocess.Popen(["sleep", "60"]).pid
        if way == "fork":
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            return pid
        if way == "multiprocessing":
            process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
            process.start()
            return process.pid
        # Behind Python's back, so that nothing is told of it.
        libc = ctypes.CDLL(None)
        pid = libc.fork()
        if pid == 0:
            libc.sleep(60)
            libc._exit(0)
        return pid

    @q.task(bind=True)
    def parent(self, way: str) -> int:
        if self.request.attempt > 1:
            return self.request.attempt
        pid = child_of(way)
        (HERE / f"{way}.new").write_text(f"{os.getpid()} {pid}")
        (HERE / f"{way}.new").rename(HERE / f"{way}.pids")
        while True:
            time.sleep(60)

    @q.task
    def pool(numbers: list[int], method: str) -> list[int]:
        with multiprocessing.get_context(method).Pool(2) as workers:
            return workers.map(abs, numbers)

    @q.task
    def leaves_a_thread() -> None:
        threading.Thread(target=time.sleep, args=(60,), daemon=False).start()

    @q.task
    def exits_in_a_thread() -> None:
        thread = threading.Thread(target=sys.exit, args=(5,))
        thread.start()
        thread.join()

    @q.task
    def forks_and_terminates(times: int) -> list[int]:
        ended = []
        for _ in range(times):
            child = os.fork()
            if not child:
                time.sleep(20)
                os._exit(0)
            os.kill(child, signal.SIGTERM)
            ended.append(os.waitpid(child, 0)[1])
        return ended

    @q.task(max_crashes=2)
    def breaks_the_loop() -> None:
        # What liteq itself calls after every job, so that the process ends with a traceback.
        threading.Thread(target=time.sleep, args=(60,), daemon=False).start()
        time.monotonic = None
        import liteq.clock
        liteq.clock.SystemClock.wall = staticmethod(lambda: 1 / 0)

    @q.task
    def chatters(text: str) -> None:
        for number in map(int, os.listdir("/dev/fd")):
            if number > 2:
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/self/fd/{number}").startswith("pipe:"):
                        os.write(number, text.encode() + b"\\\\n")

    if __name__ == "__main__":
        with q.start_workers(1):
            print("ready", flush=True)
            time.sleep(300)
"""

WAYS = ["segfault", "abort", "killed", "stack"]


def tasks(program: Program) -> ModuleType:
    return program.module("poisonous", TASKS.replace("\\\\", "\\"))


def warm_up(app: ModuleType) -> None:
    """Let the worker learn that the tasks are short, so that it claims them in batches."""
    for _ in range(4):
        calls = [call for number in range(50) for call in (app.quick.s(number), app.die.s("not"))]
        for result in app.q.enqueue_many(calls):
            result.get(timeout=20)


def pids(program: Program, way: str) -> tuple[int, int]:
    """Wait until the worker has started its child; return both process ids."""
    path = program.folder / f"{way}.pids"
    wait_until(path.exists)
    worker, child = map(int, path.read_text().split())
    return worker, child


def test_each_way_to_die_is_charged_to_its_job_alone(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        for way in WAYS:
            warm_up(app)
            calls = [app.quick.s(number) for number in range(5)]
            calls.append(app.die.s(way))
            calls += [app.quick.s(number) for number in range(5, 40)]
            results = app.q.enqueue_many(calls, atomic=True)
            poison = results.pop(5)
            # Where the interpreter counts the C stack itself, endless recursion ends in an exception.
            with pytest.raises((WorkerLostError, RecursionError)) as died:
                poison.get(timeout=20)
            assert [result.get(timeout=20) for result in results] == list(range(40)), way
            [job, *mates] = app.q.transport.get([result.id for result in (poison, *results)])
            assert job.state == FAILURE, way
            assert job.crashes == isinstance(died.value, WorkerLostError), way
            assert job.crashes or way == "stack", way
            assert {(mate.crashes, mate.attempts) for mate in mates} == {(0, 1)}, way


@pytest.mark.parametrize("way", ["recursion", "memory"])
def test_what_python_itself_notices_fails_the_job_and_nothing_else(program: Program, way: str) -> None:
    if way == "memory" and not Path("/proc/self/statm").exists():
        pytest.skip("RLIMIT_AS and /proc")
    app = tasks(program)
    with app.q.start_workers(1):
        result = app.die.delay(way)
        with pytest.raises({"recursion": RecursionError, "memory": MemoryError}[way]):
            result.get(timeout=20)
        [job] = app.q.transport.get([result.id])
        assert (job.state, job.crashes) == (FAILURE, 0)
        assert len(job.result) < 200_000
        assert app.quick.delay(1).get(timeout=20) == 1


def test_a_task_that_hears_no_signal_is_ended_by_a_stop_with_a_timeout(program: Program) -> None:
    app = tasks(program)
    workers = app.q.start_workers(1)
    result = app.deaf.delay()
    wait_until((program.folder / "deaf").exists)
    [pid] = workers.pids
    began = time.monotonic()
    workers.stop(timeout=0.3)
    assert time.monotonic() - began < 3
    assert not is_alive(pid)
    [job] = app.q.transport.get([result.id])
    assert (job.state, job.attempts, job.crashes) == (PENDING, 0, 0)


def test_a_task_that_hears_no_signal_is_ended_by_the_second_one_to_its_supervisor(program: Program) -> None:
    app = tasks(program)
    result = app.deaf.delay()
    process = program.start(
        "-m", "liteq", "worker", app.__file__.replace("poisonous.py", "queue.db"), "-c", 1
    )
    wait_until((program.folder / "deaf").exists, timeout=20)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(Exception, match="timed out"):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    process.wait(5)
    [job] = app.q.transport.get([result.id])
    assert (job.state, job.attempts, job.crashes) == (PENDING, 0, 0)


@pytest.mark.parametrize("way", ["program", "fork", "multiprocessing", "libc"])
def test_what_a_killed_worker_has_started_runs_on_and_keeps_nobody_from_its_jobs(
    program: Program, way: str
) -> None:
    app = tasks(program)
    workers = app.q.start_workers(1)
    result = app.parent.delay(way)
    worker, child = pids(program, way)
    try:
        os.kill(worker, signal.SIGKILL)
        assert result.get(timeout=3) == 2
        assert is_alive(child)
        began = time.monotonic()
        workers.stop()
        assert time.monotonic() - began < 5
        assert app.q.transport.workers() == []
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("way", ["program", "fork", "multiprocessing"])
def test_what_a_killed_program_has_started_does_not_make_its_worker_look_alive(
    program: Program, way: str
) -> None:
    app = tasks(program)
    process = program.start(app.__file__)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    result = app.parent.delay(way)
    _, child = pids(program, way)
    try:
        # Not the whole group: the child is in it.
        process.kill()
        process.wait(10)
        with app.q.start_workers(1):
            assert result.get(timeout=5) == 2
            assert is_alive(child)
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_task_may_use_a_pool_of_processes(program: Program, method: str) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        assert app.pool.delay([-1, -2, 3], method).get(timeout=30) == [1, 2, 3]
        assert app.quick.delay(1).get(timeout=10) == 1


def test_a_process_that_a_task_forks_hears_sigterm_from_its_first_moment(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        assert app.forks_and_terminates.delay(50).get(120) == [signal.SIGTERM] * 50


def test_threads_that_tasks_leave_or_exit_do_not_hold_up_a_stop_for_long(program: Program) -> None:
    app = tasks(program)
    workers = app.q.start_workers(1)
    app.exits_in_a_thread.delay().get(timeout=10)
    app.leaves_a_thread.delay().get(timeout=10)
    assert app.quick.delay(1).get(timeout=10) == 1
    began = time.monotonic()
    workers.stop()
    # The process gets 5 s to end by itself after its last job is stored.
    assert time.monotonic() - began < 8


def test_a_worker_that_fails_ends_though_a_task_has_left_a_thread(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        result = app.breaks_the_loop.delay()
        with pytest.raises(WorkerLostError):
            result.get(timeout=20)
        assert app.quick.delay(1).get(timeout=20) == 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="finds the pipe by /proc")
def test_what_a_task_writes_into_the_pipe_to_its_supervisor_does_no_harm(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1) as workers:
        before = workers.pids
        for text in [
            "5",
            "[]",
            "{}",
            '{"type": 1}',
            '{"type": "hello"}',
            '{"type": "hello", "holder": "x"}',
            "[" * 9000,
        ]:
            app.chatters.delay(text).get(timeout=10)
        assert app.quick.delay(1).get(timeout=10) == 1
        assert workers.is_alive
        assert workers.pids == before
