"""Signed jobs with real workers: where the key is, and where it is not."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import Program, wait_until

from liteq import SecurityError
from liteq.job import JobFilter, NewJob
from liteq.states import FAILURE, SUCCESS
from liteq.worker.config import WorkerConfig
from liteq.worker.process import _first_line

KEY = "a key that nobody may ever see 0123456789"
APP = """
    import os
    from pathlib import Path
    from liteq import Queue

    q = Queue(Path(__file__).parent / "queue.db", signing_key=os.environ["APP_KEY"])

    @q.task
    def add(x, y):
        return x + y

    @q.task(bind=True)
    def fail(self, text):
        raise ValueError(text)
"""


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_KEY", KEY)


def test_worker_processes_run_signed_jobs_and_refuse_others(
    program: Program, capfd: pytest.CaptureFixture[str]
) -> None:
    app = program.module("signed_app", APP)
    with app.q.start_workers(1, loglevel="DEBUG") as workers:
        assert app.add.delay(1, 2).get(timeout=20) == 3
        app.q.transport.enqueue([NewJob("forged", "signed_app.add", b"\x92\x92\x01\x02\x80")], time.time())
        with pytest.raises(SecurityError, match="it is unsigned"):
            app.q.AsyncResult("forged").get(timeout=20)
        for pid in workers.pids:
            if Path("/proc").exists():
                assert KEY.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        failed = app.fail.delay("a reason")
        with pytest.raises(ValueError, match="a reason"):
            failed.get(timeout=20)
        assert KEY not in (failed.traceback or "")
        described = json.dumps(app.q.settings.transport_settings())
    out, err = capfd.readouterr()
    assert "forged" in err
    assert KEY not in out + err + described
    contents = [path.read_bytes() for path in program.folder.glob("queue.db*") if path.is_file()]
    contents += [path.read_bytes() for path in program.folder.glob("queue.db.liteq/*") if path.is_file()]
    assert contents
    assert not [content for content in contents if KEY.encode() in content]


def test_what_a_supervisor_tells_a_worker_has_no_key(program: Program) -> None:
    app = program.module("told_app", APP)
    settings = app.q.settings.transport_settings()
    line = json.dumps(_first_line(WorkerConfig(url=app.q.url, settings=settings), 3, None))
    assert KEY not in line
    assert "sign" not in json.dumps(settings)


def liteq(program: Program, *words: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "liteq", *words],
        cwd=program.folder,
        env={**os.environ, "APP_KEY": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_line_gets_the_key_from_the_application_and_says_so_where_it_cannot(
    program: Program,
) -> None:
    program.write("cli_app", APP)
    # Nothing tells it yet that these jobs are signed; the worker says it.
    first = liteq(program, "call", "cli_app:q", "cli_app.add", "1", "2")
    assert first.returncode == 0, first.stderr
    refused = liteq(program, "call", "queue.db", "cli_app.add", "1", "2")
    assert refused.returncode == 2
    assert refused.stderr.startswith("liteq: The jobs of cli_app.add in ")
    assert "only its application has the key" in refused.stderr
    other = liteq(program, "call", "queue.db", "cli_app.fail", '"x"')
    assert other.returncode == 0
    worked = liteq(program, "worker", "queue.db", "--drain", "-c", "1", "-l", "INFO")
    assert worked.returncode == 1, worked.stderr
    assert "because it is unsigned" in worked.stderr
    shown = json.loads(liteq(program, "jobs", "queue.db", "--json").stdout)
    assert {job["task"]: job["state"] for job in shown} == {"cli_app.add": SUCCESS, "cli_app.fail": FAILURE}
    details = json.loads(liteq(program, "jobs", "show", "queue.db", first.stdout.strip(), "--json").stdout)
    assert details["options"]["signed"] is True
    for done in (first, refused, other, worked):
        assert KEY not in done.stdout + done.stderr


def test_a_worker_alone_checks_signatures_too(program: Program) -> None:
    program.write("solo_app", APP)
    liteq(program, "call", "solo_app:q", "solo_app.add", "1", "2")
    raw = sqlite3.connect(program.folder / "queue.db")
    raw.execute("UPDATE liteq_jobs SET payload = x'929203048080'")
    raw.commit()
    raw.close()
    worked = liteq(program, "worker", "solo_app:q", "--drain", "-P", "solo")
    assert worked.returncode == 1
    assert "its signature does not match" in worked.stderr


def test_a_program_without_the_key_cannot_even_be_imported_by_chance(program: Program) -> None:
    program.write("keyless_app", APP)
    done = liteq(program, "worker", "keyless_app:q", "--drain", key="too short")
    assert done.returncode == 2
    assert "at least 16 bytes" in done.stderr
    assert "too short" not in done.stderr


def test_jobs_that_wait_survive_a_change_of_keys(program: Program) -> None:
    program.write("turning_app", APP.replace('os.environ["APP_KEY"]', 'os.environ["APP_KEY"].split(",")'))
    old, new = KEY, "the next key of enough characters"
    for keys in (old, f"{new},{old}"):
        assert liteq(program, "call", "turning_app:q", "turning_app.add", "1", "2", key=keys).returncode == 0
    # Workers that know both finish what the old key has signed; those that know the new one alone do not.
    half = liteq(program, "worker", "turning_app:q", "--drain", "-c", "1", key=f"{new},{old}")
    assert half.returncode == 0, half.stderr
    liteq(program, "call", "turning_app:q", "turning_app.add", "1", "2", key=old)
    assert liteq(program, "worker", "turning_app:q", "--drain", "-c", "1", key=new).returncode == 1


def test_a_workers_crash_leaves_signed_jobs_good(program: Program) -> None:
    app = program.module(
        "crashing_app",
        APP
        + """
    @q.task
    def crash(flag):
        if not Path(flag).exists():
            Path(flag).touch()
            os.kill(os.getpid(), 9)
        return "lived"
    """,
    )
    with app.q.start_workers(1):
        result = app.crash.delay(str(program.folder / "flag"))
        wait_until(lambda: result.ready(), timeout=30)
    assert result.get(timeout=5) == "lived"
    assert {job.state for job in app.q.transport.find(JobFilter())} == {SUCCESS}
