"""What a process's death does to jobs: nothing is lost, and only the job to blame is charged."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from programs import Program, is_alive, wait_until

from liteq.clock import SystemClock
from liteq.errors import TimeLimitExceeded, WorkerLostError
from liteq.job import JobFilter
from liteq.states import PENDING, SUCCESS
from liteq.transports.sqlite.transport import SqliteTransport
from liteq.worker.config import TaskModule, WorkerConfig
from liteq.worker.recovery import Recovery
from liteq.worker.supervisor import Supervisor

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

TASKS = """
    import os
    import time
    from pathlib import Path
    from liteq import Queue

    HERE = Path(__file__).parent
    q = Queue(HERE / "queue.db", durability="normal", visibility_timeout={visibility})

    @q.task(bind=True)
    def work(self, name: str, until: str | None = None) -> int:
        with open(HERE / "trace", "a") as trace:
            trace.write(f"{{name}} {{os.getpid()}}\\n")
        while until is not None and not (HERE / until).exists():
            time.sleep(0.005)
        return self.request.attempt

    @q.task
    def quick(number: int) -> int:
        return number

    @q.task(max_crashes=0)
    def once(name: str) -> None:
        work.fn(work, name, "never")

    @q.task(max_crashes=2)
    def poison() -> None:
        os._exit(7)

    @q.task(max_crashes=2)
    def exits_well() -> None:
        os._exit(0)

    @q.task(max_crashes=2)
    def closes_everything() -> None:
        os.closerange(3, 300)

    @q.task
    def raises_half_a_character() -> None:
        raise ValueError("bad \\udcff name")

    @q.task
    def forks(number: int) -> int:
        with open(HERE / "trace", "a") as trace:
            trace.write(f"fork{{number}} {{os.getpid()}}\\n")
        if number == 5 and os.fork() == 0:
            raise SystemExit(0)
        return number

    @q.task(time_limit=1)
    def naps(seconds: float) -> None:
        time.sleep(seconds)

    @q.task(time_limit=0.3)
    def endless() -> None:
        while True:
            pass

    @q.task(time_limit=0.3, autoretry_for=(TimeoutError,), max_retries=1, default_retry_delay=0)
    def slow_at_first() -> str:
        if (HERE / "seen").exists():
            return "done"
        (HERE / "seen").touch()
        time.sleep(60)
        return "not reached"

    if __name__ == "__main__":
        with q.start_workers(2) as workers:
            print(*workers.pids, flush=True)
            time.sleep(300)
"""


def tasks(program: Program, visibility: float = 60.0):
    return program.module("crashing", TASKS.format(visibility=visibility))


def trace(program: Program) -> list[tuple[str, int]]:
    path = program.folder / "trace"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(name, int(pid)) for name, pid in (line.split() for line in lines)]


def running(program: Program, name: str, times: int = 1) -> int:
    """Wait until a job runs for the so-manieth time, and return the process id of its worker."""

    def begun() -> list[int]:
        return [pid for started, pid in trace(program) if started == name]

    wait_until(lambda: len(begun()) >= times)
    return begun()[times - 1]


def test_a_job_whose_worker_is_killed_runs_again_within_a_second(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(2):
        result = app.work.delay("victim", until="go")
        os.kill(running(program, "victim"), signal.SIGKILL)
        killed_at = time.monotonic()
        running(program, "victim", times=2)
        again_after = time.monotonic() - killed_at
        (program.folder / "go").touch()
        assert result.get(timeout=10) == 2
        [job] = app.q.transport.get([result.id])
        assert job is not None
        assert (job.crashes, job.retries) == (1, 0)
    assert again_after < 1.0


def test_jobs_of_the_same_batch_are_not_charged_with_the_crash(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        app.q.enqueue_many(app.quick.s(number) for number in range(200))[-1].get(timeout=10)
        app.quick.delay(0).get(timeout=10)
        results = app.q.enqueue_many(
            [app.poison.s(), *(app.quick.s(number) for number in range(100))], atomic=True
        )
        with pytest.raises(WorkerLostError):
            results[0].get(timeout=10)
        assert [result.get(timeout=10) for result in results[1:]] == list(range(100))
        jobs = app.q.transport.get([result.id for result in results])
    assert [job.crashes for job in jobs] == [2, *[0] * 100]
    assert {job.attempts for job in jobs[1:]} == {1}


class LooksMeanwhile(SqliteTransport):
    """A store on which another supervisor looks around each time that a worker has been expelled."""

    def expel(self, holder: int, seen_expires: float | None) -> bool:
        done = super().expel(holder, seen_expires)
        with SqliteTransport(self.path) as other:
            Recovery(other, SystemClock(), random.random).look()
        return done


def test_a_crash_is_charged_although_another_supervisor_looks_at_that_very_moment(program: Program) -> None:
    app = tasks(program)
    folder = str(program.folder)
    config = WorkerConfig(
        url=app.q.url, modules=(TaskModule("crashing", folder, folder),), supervisor=os.getpid()
    )
    result = app.work.delay("victim", until="go")
    with LooksMeanwhile(Path(app.q.url)) as store:
        supervisor = Supervisor(store, config, 1)
        thread = threading.Thread(target=supervisor.run)
        thread.start()
        try:
            os.kill(running(program, "victim"), signal.SIGKILL)
            running(program, "victim", times=2)
            (program.folder / "go").touch()
            assert result.get(timeout=10) == 2
        finally:
            supervisor.kill()
            thread.join(20)
    [job] = app.q.transport.get([result.id])
    assert job is not None
    assert job.crashes == 1


def test_a_task_that_must_run_at_most_once_fails_when_its_worker_is_killed(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        result = app.once.delay("single")
        os.kill(running(program, "single"), signal.SIGKILL)
        with pytest.raises(WorkerLostError):
            result.get(timeout=10)
    assert len(trace(program)) == 1


def test_a_task_that_must_run_at_most_once_fails_even_when_everything_is_killed(program: Program) -> None:
    app = tasks(program)
    process = program.start(app.__file__)
    result = app.once.delay("single")
    running(program, "single")
    os.killpg(process.pid, signal.SIGKILL)
    with app.q.start_workers(1), pytest.raises(WorkerLostError):
        result.get(timeout=10)
    assert len(trace(program)) == 1


def test_nobody_is_charged_when_the_whole_program_is_killed(program: Program) -> None:
    app = tasks(program)
    for killed in range(1, 5):
        process = program.start(app.__file__)
        result = app.work.apply_async(("victim", "go"), task_id="victim")
        running(program, "victim", times=killed)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    (program.folder / "go").touch()
    with app.q.start_workers(1):
        result.get(timeout=10)
        [job] = app.q.transport.get(["victim"])
    assert job is not None
    assert (job.state, job.crashes) == (SUCCESS, 0)


def test_workers_die_with_their_supervisor_and_another_takes_over_within_two_seconds(
    program: Program,
) -> None:
    app = tasks(program)
    process = program.start(app.__file__)
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    result = app.work.delay("victim", until="go")
    running(program, "victim")
    other = program.start(app.__file__)
    assert other.stdout is not None
    other.stdout.readline()
    process.kill()
    killed_at = time.monotonic()
    # Not waited for: the dead supervisor stays a zombie, and must not look alive.
    running(program, "victim", times=2)
    assert time.monotonic() - killed_at < 2.0
    wait_until(lambda: not any(is_alive(pid) for pid in pids), timeout=2.0 - (time.monotonic() - killed_at))
    (program.folder / "go").touch()
    result.get(timeout=10)


def test_what_a_suspended_worker_settles_after_its_lease_was_recovered_is_refused(program: Program) -> None:
    app = tasks(program, visibility=1.0)
    with app.q.start_workers(1) as first:
        result = app.work.delay("frozen", until="go")
        frozen = running(program, "frozen")
        os.kill(frozen, signal.SIGSTOP)
        try:
            with app.q.start_workers(1):
                other = running(program, "frozen", times=2)
                assert other != frozen
                (program.folder / "go").touch()
                assert result.get(timeout=10) == 2
                settled = app.q.transport.get([result.id])
        finally:
            os.kill(frozen, signal.SIGCONT)
        # Its next job shows that it has tried to settle the old one, and was refused.
        assert app.quick.delay(5).get(timeout=10) == 5
        assert first.pids == [frozen]
        assert app.q.transport.get([result.id]) == settled


@pytest.mark.parametrize("task", ["exits_well", "closes_everything"])
def test_a_job_that_ruins_its_process_is_charged_however_it_ends(program: Program, task: str) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        result = getattr(app, task).delay()
        after = app.quick.delay(1)
        with pytest.raises(WorkerLostError):
            result.get(timeout=20)
        assert after.get(timeout=20) == 1
        [job] = app.q.transport.get([result.id])
    assert job is not None
    assert job.crashes == 2


def test_an_exception_that_is_no_text_fails_the_job_and_nothing_else(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1) as workers:
        pids = workers.pids
        with pytest.raises(ValueError, match="bad"):
            app.raises_half_a_character.delay().get(timeout=10)
        assert workers.pids == pids


def test_a_process_that_a_task_forks_runs_no_jobs_of_its_parents(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        app.q.enqueue_many(app.forks.s(number) for number in range(100, 300))[-1].get(timeout=10)
        results = app.q.enqueue_many(app.forks.s(number) for number in range(60))
        assert [result.get(timeout=10) for result in results] == list(range(60))
    started = [name for name, _ in trace(program)]
    assert sorted(started) == sorted(set(started))


def test_a_time_limit_holds_also_right_after_a_short_job(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        for _ in range(3):
            app.naps.delay(0).get(timeout=10)
            with pytest.raises(TimeLimitExceeded):
                app.naps.delay(5).get(timeout=4)


def test_a_time_limit_ends_the_job_whatever_it_does(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        app.quick.delay(1).get(timeout=10)
        result = app.endless.delay()
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=10)
        [job] = app.q.transport.get([result.id])
        assert job is not None
        assert job.done is not None
        assert job.started is not None
        took = job.done - job.started
        assert app.quick.delay(2).get(timeout=10) == 2
    assert 0.3 <= took < 0.4 + 0.1


def test_a_time_limit_is_a_retry_where_the_task_retries_it(program: Program) -> None:
    app = tasks(program)
    with app.q.start_workers(1):
        result = app.slow_at_first.delay()
        assert result.get(timeout=10) == "done"
        [job] = app.q.transport.get([result.id])
    assert job is not None
    assert (job.retries, job.crashes) == (1, 0)


def test_a_stop_finishes_the_running_job_and_hands_back_the_rest(program: Program) -> None:
    app = tasks(program)
    workers = app.q.start_workers(1)
    running_one = app.work.delay("running", until="go")
    running(program, "running")
    waiting = [app.quick.delay(number) for number in range(3)]
    (program.folder / "go").touch()
    workers.stop()
    assert running_one.status == "SUCCESS"
    with app.q.start_workers(1):
        assert [result.get(timeout=10) for result in waiting] == [0, 1, 2]
    assert {job.attempts for job in app.q.transport.get([result.id for result in waiting])} == {1}


def test_a_stop_that_runs_out_of_time_returns_the_job_without_losing_an_attempt(program: Program) -> None:
    app = tasks(program)
    workers = app.q.start_workers(1)
    result = app.work.delay("endless", until="go")
    running(program, "endless")
    workers.stop(timeout=0.1)
    [job] = app.q.transport.get([result.id])
    assert job is not None
    assert (job.state, job.attempts, job.crashes) == ("PENDING", 0, 0)


def test_a_task_that_must_run_at_most_once_fails_when_a_stop_interrupts_it(program: Program) -> None:
    app = tasks(program)
    workers = app.q.start_workers(1)
    result = app.once.delay("single")
    running(program, "single")
    workers.stop(timeout=0.1)
    with pytest.raises(WorkerLostError, match="interrupted by a stop"):
        result.get(timeout=1)


def test_nothing_is_left_running_after_the_workers_are_stopped(program: Program, tmp_path: Path) -> None:
    app = tasks(program)
    with app.q.start_workers(2) as workers:
        pids = workers.pids
        app.quick.delay(1).get(timeout=10)
    assert not any(is_alive(pid) for pid in pids)
    assert app.q.transport.workers() == []


def test_whoever_will_not_wait_for_a_stop_leaves_no_job_with_a_dead_worker(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = program.module("crashing", TASKS.format(visibility=60))
    workers = app.q.start_workers(1)
    app.work.delay("long", "never")
    wait_until(lambda: (program.folder / "trace").exists())
    join = workers._thread.join

    def interrupt(timeout: float | None = None) -> None:
        # Ctrl-C reaches a program that waits here.
        monkeypatch.setattr(workers._thread, "join", join)
        raise KeyboardInterrupt

    monkeypatch.setattr(workers._thread, "join", interrupt)
    with pytest.raises(KeyboardInterrupt):
        workers.stop()

    assert (workers.pids, workers.is_alive) == ([], False)
    [job] = app.q.transport.find(JobFilter())
    assert (job.state, job.holder, job.crashes) == (PENDING, None, 0)
