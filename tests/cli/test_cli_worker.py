"""`liteq worker`, in this process where it refuses and as real processes where it works."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_shop import PATIENCE, Shop, run_app
from click.testing import Result

from liteq import Queue
from liteq.job import JobFilter, NewJob, TaskOrigin
from liteq.worker.config import WorkerConfig
from liteq.worker.solo import SoloWorker

Liteq = Callable[..., Result]
Start = Callable[..., "subprocess.Popen[str]"]

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="nobody can send SIGTERM there")


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


# ---- working ----------------------------------------------------------------------------------------


def test_a_file_alone_is_enough_to_run_the_jobs_of_a_script(app: Path, tmp_path: Path, start: Start):
    (job,) = run_app(app, "add.delay(1, 2)")
    run_app(app, "add.options(countdown=60).delay(1)")

    status, out, err = finish(start("worker", app / "queue.db", "--drain", cwd=tmp_path))

    assert (status, err) == (0, "")
    banner = dict(line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  "))
    assert banner["file"] == str(app / "queue.db")
    assert banner["sqlite"].startswith("3.")
    assert "the WAL fix" in banner["sqlite"]
    assert banner["tasks"] == "app.add, app.fail, app.hold"
    assert (banner["queues"], banner["pool"], banner["name"]) == ("all", "processes", "worker")
    assert out.splitlines()[-1] == (
        "drained: 1 job finished, 0 of them failed; 1 job delayed and 0 jobs of unknown tasks left"
    )
    with Queue(app / "queue.db") as queue:
        assert queue.AsyncResult(job).get(timeout=0) == 3


def test_a_drain_in_which_a_job_failed_ends_with_1_and_counts_what_it_left(app: Path, start: Start):
    run_app(app, "fail.delay('no bread')", "add.delay(1)")
    with Queue(app / "queue.db") as queue:
        queue.transport.enqueue([NewJob("1", "app.ad", b"")], 0.0)

        status, out, err = finish(start("worker", "app", "--drain", "-l", "info", cwd=app))

        assert status == 1
        assert out.splitlines()[-1] == (
            "drained: 2 jobs finished, 1 of them failed; 0 jobs delayed and 1 job of unknown tasks left"
        )
        assert "ValueError: no bread" in err
        assert "succeeded in" in err
        assert queue.AsyncResult("1").status == "PENDING"


def test_a_worker_started_before_the_first_producer_creates_the_file_it_is_told_of(app: Path, start: Start):
    status, out, err = finish(start("worker", "new.db", "-A", "app", "-P", "solo", "--drain", cwd=app))

    assert (status, err) == (0, "")
    assert "solo" in out
    assert (app / "new.db").exists()
    assert not (app / "queue.db").exists()


def test_the_jobs_come_from_the_target_whatever_queue_the_module_names(app: Path, start: Start):
    (job,) = run_app(app, "add.delay(1)")
    (app / "queue.db").rename(app / "other.db")

    status, _, _ = finish(start("worker", "other.db", "-A", "app", "-P", "solo", "--drain", cwd=app))

    assert status == 0
    with Queue(app / "other.db") as queue:
        assert queue.AsyncResult(job).get(timeout=0) == 2


@needs_signals
@pytest.mark.parametrize("pool", ["processes", "solo"])
def test_the_first_signal_lets_the_running_job_finish(
    app: Path, start: Start, gate: socket.socket, pool: str
):
    running, waiting = run_app(app, f"hold.delay({gate.getsockname()[1]})", "add.delay(1)")
    process = start("worker", "queue.db", "-P", pool, "-c", "1", cwd=app)
    connection, _ = gate.accept()

    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert "once more to stop at once" in process.stderr.readline()
    connection.close()
    status, _, err = finish(process)

    assert (status, err) == (0, "")
    with Queue(app / "queue.db") as queue:
        assert queue.AsyncResult(running).status == "SUCCESS"
        assert queue.AsyncResult(waiting).status == "PENDING"


@needs_signals
def test_the_second_signal_stops_at_once_and_costs_the_job_no_attempt(
    app: Path, start: Start, gate: socket.socket
):
    (job,) = run_app(app, f"hold.delay({gate.getsockname()[1]})")
    process = start("worker", "queue.db", "-c", "1", "--drain", cwd=app)
    connection, _ = gate.accept()

    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    status, out, _ = finish(process)
    connection.close()

    assert status == 1
    assert out.splitlines()[-1].startswith("not drained: 0 jobs finished")
    with Queue(app / "queue.db") as queue:
        [stored] = queue.transport.get([job])
        assert stored is not None
        assert (stored.state, stored.attempts, stored.crashes) == ("PENDING", 0, 0)


def test_a_module_that_cannot_be_imported_is_one_line(app: Path, start: Start):
    run_app(app, "add.delay(1)")
    (app / "app.py").write_text("import no_such_module_here\n")

    status, out, err = finish(start("worker", "queue.db", "--drain", cwd=app))

    assert (status, out) == (2, "")
    assert err.startswith("liteq: Module 'app' cannot be imported")
    assert "no_such_module_here" in err
    assert "-A" in err
    assert err.count("\n") == 1


# ---- refusing ---------------------------------------------------------------------------------------


def test_a_missing_file_is_not_created_by_a_slip_of_the_pen(liteq: Liteq, tmp_path: Path):
    result = liteq("worker", "qeue.db")

    assert result.exit_code == 2
    assert "there is no queue here" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_tasks_asks_for_them(liteq: Liteq, shop: Shop):
    shop.queue.transport.enqueue([NewJob("1", "shop.add", b"")], 0.0)
    with Queue(shop.file.with_name("empty.db")) as empty:
        empty.transport.count()

    result = liteq("worker", "empty.db")

    assert result.exit_code == 2
    assert "No task has been registered" in result.stderr
    assert "-A MODULE" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="mode bits say nothing there")
def test_a_file_that_others_may_write_is_not_believed(liteq: Liteq, shop: Shop):
    shop.add.delay(1)
    shop.file.chmod(0o666)

    result = liteq("worker", shop.file)

    assert result.exit_code == 2
    assert "can be written by others" in result.stderr
    assert "-A MODULE" in result.stderr


def declare(shop: Shop, task: str, module: str, root: Path) -> None:
    """Record, with a job, where a task lives."""
    shop.queue.transport.declare(TaskOrigin(task, module, str(root), str(root)))
    shop.queue.transport.enqueue([NewJob(task, task, b"")], 0.0)


def test_two_folders_with_a_module_of_one_name_cannot_both_be_meant(liteq: Liteq, shop: Shop, tmp_path: Path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        declare(shop, f"shop.{folder}", "shop", tmp_path / folder)

    result = liteq("worker", shop.file)

    assert result.exit_code == 2
    assert str(tmp_path / "one") in result.stderr
    assert str(tmp_path / "two") in result.stderr


def test_the_folder_that_a_project_was_moved_from_is_forgotten(liteq: Liteq, shop: Shop, tmp_path: Path):
    declare(shop, "moved.old", "moved", tmp_path / "gone")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "moved.py").write_text("raise RuntimeError('reached')\n")
    declare(shop, "moved.new", "moved", tmp_path / "here")

    result = liteq("worker", shop.file, "-P", "solo")

    assert result.exit_code == 2
    assert "RuntimeError: reached" in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-P", "fibres"], "There is no pool 'fibres'; there are processes, threads, asyncio"),
        (["-P", "thread1"], "'threads'"),
        (["-P", "processes", "-c", "2", "--processes", "2"], "one number"),
        (["-P", "threads", "-c", "100001"], "100,000"),
        (["-P", "threads", "--processes", "0"], "--processes"),
        (["-P", "solo", "--processes", "2"], "one job at a time"),
        (["-P", "solo", "-c", "2"], "one job at a time"),
        (["-P", "solo", "--max-jobs", "2"], "--max-jobs"),
        (["-c", "0"], "-c"),
        (["-c", "many"], "-c"),
        (["-Q", "a,,b"], "-Q"),
        (["-l", "LOUD"], "-l"),
        (["-n", ""], "-n"),
        (["-A", "shop/tasks.py"], "-A"),
        (["-A", "shop:q"], "is a TARGET"),
        (["--durability", "some"], "--durability"),
    ],
)
def test_an_option_that_cannot_be_kept_is_refused(liteq: Liteq, shop: Shop, words: list[str], says: str):
    shop.add.delay(1)

    result = liteq("worker", shop.file, *words)

    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert len(shop.queue.transport.find(JobFilter(states=["PENDING"]))) == 1


def test_a_lone_worker_refuses_a_task_with_a_time_limit(liteq: Liteq, tmp_path: Path):
    (tmp_path / "limited_tasks.py").write_text(
        "from liteq import Queue\nq = Queue('queue.db')\n@q.task(time_limit=5)\ndef slow(): pass\n"
    )

    result = liteq("worker", "limited_tasks", "-P", "solo", "--drain")
    del sys.modules["limited_tasks"]

    assert result.exit_code == 2
    assert "time_limit" in result.stderr


def test_a_lone_worker_holds_its_leases_as_long_as_its_queue_says(tmp_path: Path):
    with Queue(tmp_path / "queue.db", visibility_timeout=5) as queue:
        seen: list[float] = []

        @queue.task(name="shop.look")
        def look() -> None:
            [record] = queue.transport.workers()
            seen.append(record.expires - record.started)

        look.delay()
        config = WorkerConfig(url=queue.url, drain=True)
        SoloWorker(queue.transport, queue.tasks, config).run()

    assert seen == [pytest.approx(5, abs=1)]


# ---- trouble ----------------------------------------------------------------------------------------


@needs_signals
@pytest.mark.parametrize("trouble", ["deleted", "replaced"])
def test_a_file_that_goes_away_under_a_worker_ends_it_with_a_sentence(app: Path, start: Start, trouble: str):
    run_app(app, "add.delay(1)")
    process = start("worker", "queue.db", "-c", "1", cwd=app)
    assert process.stdout is not None
    while process.stdout.readline() != "ready\n":
        assert process.poll() is None

    if trouble == "replaced":
        # In one step: between two, the worker would find the file deleted.
        (app / "other.db").write_bytes(b"")
        (app / "other.db").replace(app / "queue.db")
    else:
        (app / "queue.db").rename(app / "gone.db")
    status, _, err = finish(process)

    assert status == 2
    [sentence] = [line for line in err.splitlines() if line.startswith("liteq: ")]
    assert trouble in sentence
