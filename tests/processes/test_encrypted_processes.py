"""Encrypted jobs with real workers: with the key they run, without it they wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from programs import Program

from liteq.job import JobFilter
from liteq.states import PENDING
from liteq.worker.config import WorkerConfig
from liteq.worker.process import _first_line

KEY = "a key that nobody may ever see 0123456789"
SECRET = "the card 4711"
APP = """
    import os
    from pathlib import Path
    from liteq import Queue

    q = Queue(
        Path(__file__).parent / "queue.db",
        encryption_key=os.environ.get("APP_KEY"),
        compression="zlib",
        compression_threshold=1,
    )

    @q.task
    def charge(card):
        return [card, "is charged"] * 50

    @q.task(bind=True)
    def decline(self, card):
        self.update_state("ASKING", {"card": card})
        raise ValueError(f"{card} is declined")
"""


def test_worker_processes_with_the_key_run_what_others_leave_alone(
    program: Program, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("APP_KEY", KEY)
    app = program.module("secret_app", APP)
    with app.q.start_workers(1):
        assert app.charge.delay(SECRET).get(timeout=20) == [SECRET, "is charged"] * 50
        with pytest.raises(ValueError, match=f"{SECRET} is declined"):
            app.decline.delay(SECRET).get(timeout=20)
    left = app.charge.delay(SECRET)
    without = {name: value for name, value in os.environ.items() if name != "APP_KEY"}
    worker = subprocess.run(
        [sys.executable, "-m", "liteq", "worker", "secret_app:q", "--drain", "-c", "1"],
        cwd=program.folder,
        env=without,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "there is no encryption_key here" in worker.stderr
    [job] = app.q.transport.get([left.id])
    assert (job.state, job.attempts) == (PENDING, 0)
    assert len(app.q.transport.find(JobFilter())) == 3
    app.q.close()
    contents = [path.read_bytes() for path in program.folder.rglob("queue.db*") if path.is_file()]
    assert contents
    out, err = capfd.readouterr()
    for secret in (KEY, SECRET):
        assert not [content for content in contents if secret.encode() in content]
    assert KEY not in out + err + worker.stdout + worker.stderr


def test_what_a_supervisor_tells_a_worker_has_no_key(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_KEY", KEY)
    app = program.module("told_secret_app", APP)
    settings = app.q.settings.transport_settings()
    line = json.dumps(_first_line(WorkerConfig(url=app.q.url, settings=settings), 3, None))
    assert KEY not in line
    assert "encrypt" not in json.dumps(settings)
    assert Path(app.q.url).name in line
