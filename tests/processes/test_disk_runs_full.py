"""The disk runs full under workers and producers: nothing is lost, and all goes on when there is room."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from disks import Disk
from programs import Program, is_alive, processor_seconds, wait_until

from liteq.errors import StoreFullError, TimeLimitExceeded, WorkerLostError
from liteq.states import FAILURE, PENDING, STARTED, SUCCESS
from liteq.transports.sqlite.reserve import RESERVE
from liteq.worker.workers import ProcessWorkers

TASKS = """
    import os
    import time
    from pathlib import Path
    from liteq import Queue

    HERE = Path(__file__).parent
    q = Queue({file!r}, durability="normal")

    @q.task
    def quick(number, payload=b""):
        with open(HERE / "effects", "a") as effects:
            effects.write(f"{{number}}\\n")
        return number

    @q.task(bind=True, max_crashes=1)
    def wait_for(self, gate, result=b""):
        (HERE / f"running-{{self.request.id}}").touch()
        while not (HERE / gate).exists():
            time.sleep(0.005)
        self.update_state("PROGRESS", b"m" * 100_000)
        return result

    @q.task(time_limit=0.5)
    def sleep_on():
        (HERE / "asleep").touch()
        time.sleep(60)
"""


class App:
    """Tasks whose queue is on the small disk, and everything else elsewhere."""

    def __init__(self, program: Program, disk: Disk) -> None:
        self.module = program.module("full_disk_app", TASKS.format(file=str(disk.folder / "queue.db")))
        self.q, self.quick, self.wait_for = self.module.q, self.module.quick, self.module.wait_for
        self.here = program.folder
        self.disk = disk

    def hold(self, count: int, gate: str = "gate", result: bytes = b"") -> list:
        """Let workers begin jobs that end when the gate opens."""
        results = [self.wait_for.delay(gate, result) for _ in range(count)]
        wait_until(lambda: all((self.here / f"running-{each.id}").exists() for each in results))
        return results

    def enqueue_until_full(self) -> list:
        """Use up what room is left in the WAL; return what was accepted."""
        accepted: list = []
        with pytest.raises(StoreFullError):  # noqa: PT012 (any of them may be the first)
            while True:
                accepted.append(self.quick.delay(len(accepted)))
        return accepted

    def use_up_last_page(self) -> None:
        """Leave no room in the WAL for the smallest transaction."""
        with pytest.raises(StoreFullError):  # noqa: PT012 (any of them may be the first)
            for _ in range(10_000):
                with self.q.transaction() as connection:
                    connection.execute("UPDATE pages SET number = number + 1")

    @contextmanager
    def workers(self, count: int) -> Iterator[ProcessWorkers]:
        """Run workers beside a whole reserve; whatever happens, they can end."""
        with self.q.transaction() as connection:
            connection.execute("CREATE TABLE pages (number)")
            connection.execute("INSERT INTO pages VALUES (0)")
        with self.q.start_workers(count) as workers:
            try:
                wait_until(lambda: self.reserve() == RESERVE)
                yield workers
            finally:
                self.open()

    def open(self, gate: str = "gate") -> None:
        (self.here / gate).touch()

    def reserve(self) -> int:
        path = self.disk.folder / "queue.db.liteq" / "reserve"
        return path.stat().st_size if path.exists() else 0

    def effects(self) -> list[int]:
        path = self.here / "effects"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def app(program: Program, disk: Disk) -> App:
    return App(program, disk)


def is_intact(path: Path) -> bool:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


@pytest.mark.parametrize("filled_by", ["another program", "the queue itself"])
def test_a_disk_that_runs_full_under_workers_loses_nothing(app: App, disk: Disk, filled_by: str) -> None:
    with app.workers(2) as workers:
        pids = workers.pids
        held = app.hold(2, result=b"r" * 50_000)
        if filled_by == "another program":
            disk.fill()
        else:
            with pytest.raises(StoreFullError, match="and stored the first"):
                app.q.enqueue_many(app.quick.s(-1, os.urandom(1000)) for _ in range(100_000))
        accepted = app.enqueue_until_full()
        with pytest.raises(StoreFullError), app.q.transaction() as connection:  # noqa: PT012
            connection.execute("CREATE TABLE notes AS SELECT randomblob(100000)")
            app.quick.delay(-2)
        with pytest.raises(StoreFullError, match="and stored the first 0"):
            app.q.enqueue_many([app.quick.s(-3, os.urandom(1000))] * 1000, atomic=True)

        app.open()
        assert [len(each.get(timeout=10)) for each in held] == [50_000] * 2
        assert app.reserve() < RESERVE
        spent = processor_seconds(*pids)
        time.sleep(1.0)
        assert processor_seconds(*pids) - spent < 0.2
        assert {each.status for each in accepted} <= {PENDING, SUCCESS}

        if filled_by == "another program":
            disk.empty()
        else:
            disk.resize("size=64m")
        assert [each.get(timeout=20) for each in accepted] == list(range(len(accepted)))
        assert app.quick.delay(7).get(timeout=10) == 7
        wait_until(lambda: app.reserve() == RESERVE)
        wait_until(lambda: not any(lane.waiting != "finished" for lane in app.q.transport.count()))
        assert workers.pids == pids
        jobs = app.q.transport.get([each.id for each in (*held, *accepted)])
        assert {(job.state, job.attempts, job.crashes) for job in jobs} == {(SUCCESS, 1, 0)}
        effects = app.effects()
        assert -2 not in effects
        assert -3 not in effects
        assert len(effects) == sum(lane.jobs for lane in app.q.transport.count()) - 2
        tables = sqlite3.connect(disk.folder / "queue.db")
        assert tables.execute("SELECT 1 FROM sqlite_master WHERE name = 'notes'").fetchall() == []
        tables.close()
    assert is_intact(disk.folder / "queue.db")


def test_workers_that_are_stopped_on_a_full_disk_leave_nothing_unsettled(app: App, disk: Disk) -> None:
    with app.workers(2):
        held = app.hold(2)
        disk.fill()
        app.enqueue_until_full()
        app.open()
    assert [each.status for each in held] == [SUCCESS] * 2
    assert app.q.transport.workers() == []


def test_a_worker_killed_on_a_full_disk_is_charged_there_and_replaced(app: App, disk: Disk) -> None:
    with app.workers(1) as workers:
        [held] = app.hold(1)
        disk.fill()
        accepted = app.enqueue_until_full()
        [pid] = workers.pids
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerLostError):
            held.get(timeout=10)
        assert held.status == FAILURE
        wait_until(lambda: workers.pids not in ([], [pid]))
        disk.empty()
        assert [each.get(timeout=20) for each in accepted] == list(range(len(accepted)))


def test_a_time_limit_holds_on_a_full_disk(app: App, disk: Disk) -> None:
    with app.workers(1):
        late = app.module.sleep_on.delay()
        wait_until((app.here / "asleep").exists)
        disk.fill()
        app.enqueue_until_full()
        with pytest.raises(TimeLimitExceeded):
            late.get(timeout=10)
        assert disk.free() < RESERVE


def test_what_a_worker_died_of_is_remembered_until_there_is_room_to_say_so(
    app: App, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    with app.workers(1) as workers:
        [held] = app.hold(1)
        disk.fill()
        os.truncate(disk.folder / "queue.db.liteq" / "reserve", 0)
        disk.fill()
        app.enqueue_until_full()
        app.use_up_last_page()
        [pid] = workers.pids
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: "the disk is full" in caplog.text)
        # Nor does it keep the supervisor from its other duties.
        wait_until(lambda: workers.pids not in ([], [pid]))
        disk.empty()
        with pytest.raises(WorkerLostError, match="killed by SIGKILL"):
            held.get(timeout=10)


def command(words: str, path: Path) -> list[str]:
    return [sys.executable, "-m", "liteq", *words.replace("PATH", str(path)).split()]


def liteq(words: str, path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(words, path),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_command_says_in_one_line_that_the_disk_is_full(app: App, disk: Disk) -> None:
    path = disk.folder / "queue.db"
    waiting = app.quick.delay(1)
    app.q.close()
    disk.fill()
    for words in (
        "worker PATH -A full_disk_app --drain -c 1",
        "worker PATH -A full_disk_app --drain -P solo",
        "worker PATH.new -A full_disk_app --drain -c 1",
        "call PATH full_disk_app.quick 2",
        "inspect PATH",
        "purge PATH --yes",
        "doctor PATH",
    ):
        done = liteq(words, path, cwd=app.here)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), (words, done)
        assert "the disk is full" in done.stderr
    disk.empty()
    done = liteq("worker PATH -A full_disk_app --drain -c 1", path, cwd=app.here)
    assert (done.returncode, done.stderr) == (0, "")
    assert waiting.get(timeout=0) == 1


def test_a_worker_whose_log_is_on_the_full_disk_goes_on(app: App, disk: Disk, program: Program) -> None:
    with (disk.folder / "log").open("w") as log:
        process = subprocess.Popen(
            command("worker PATH -A full_disk_app -c 1 -l info", disk.folder / "queue.db"),
            cwd=app.here,
            stdout=log,
            stderr=log,
        )
    try:
        assert app.quick.delay(1).get(timeout=20) == 1
        [held] = app.hold(1)
        disk.fill()
        accepted = app.enqueue_until_full()
        app.open()
        assert held.get(timeout=10) == b""
        disk.empty()
        assert [each.get(timeout=20) for each in accepted] == list(range(len(accepted)))
        [worker] = [record.info.pid for record in app.q.transport.workers()]
        process.terminate()
        process.wait(timeout=20)
        assert not is_alive(worker)
    finally:
        process.kill()
        process.wait()
    assert app.q.transport.workers() == []


def test_a_worker_started_beside_others_on_a_full_disk_waits_for_room(app: App, disk: Disk) -> None:
    waiting = app.quick.delay(1)
    disk.fill()
    app.enqueue_until_full()
    process = subprocess.Popen(
        command("worker PATH -A full_disk_app -c 1 --drain", disk.folder / "queue.db"),
        cwd=app.here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert any("the disk is full" in line for line in process.stderr)
        assert waiting.status == PENDING
        disk.empty()
        process.communicate(timeout=20)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
    assert waiting.get(timeout=0) == 1


def test_the_states_of_jobs_can_be_read_on_a_full_disk(app: App, disk: Disk) -> None:
    with app.workers(1):
        [held] = app.hold(1)
        disk.fill()
        app.enqueue_until_full()
        assert held.status == STARTED
        done = liteq("inspect PATH", disk.folder / "queue.db", cwd=app.here)
        assert done.returncode == 0, done.stderr
        done = liteq("doctor PATH", disk.folder / "queue.db", cwd=app.here)
        assert done.returncode == 1, done.stderr
        assert "free space" in done.stdout
        app.open()
