"""Celery's command lines, as they stand in service units: what is understood, ignored and refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from cli_shop import PATIENCE, run_app
from click.testing import Result

from liteq import Queue
from liteq.cli.celery_options import BEAT_IGNORED, BEAT_REFUSED, WORKER_IGNORED, WORKER_REFUSED

Liteq = Callable[..., Result]


def spellings(options: Mapping[str, str]) -> list[list[str]]:
    """Return every way to write each of the options."""
    return [
        [word, "10"] if text.endswith(" VALUE") else [word]
        for text in options
        for word in text.removesuffix(" VALUE").split(", ")
    ]


@pytest.fixture
def here(app: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the application, whose commands run in this process."""
    run_app(app, "add.delay(1, 2)")
    monkeypatch.chdir(app)
    yield app
    if (module := sys.modules.pop("app", None)) is not None:
        module.q.close()


def test_a_service_units_command_runs(app: Path, start: Callable[..., subprocess.Popen[str]]):
    (job,) = run_app(app, "add.delay(1, 2)")
    words = (
        "-A app worker --loglevel=INFO --concurrency=1 --hostname=w1@%h --queues=default -E -Ofair "
        "--without-gossip --without-mingle --without-heartbeat --max-tasks-per-child=100 -s beat.db --drain"
    )
    process = start(*words.split(), cwd=app)
    out, err = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    assert "  name         w1\n" in out
    assert "INFO/w1-1] Task app.add" in err
    assert not (app / "beat.db").exists()
    with Queue(app / "queue.db") as queue:
        assert queue.AsyncResult(job).get(timeout=0) == 3


@pytest.mark.parametrize(
    ("command", "words"),
    [
        *(("worker", words) for words in spellings(WORKER_IGNORED)),
        *(("beat", words) for words in spellings(BEAT_IGNORED)),
    ],
)
def test_what_means_nothing_here_is_ignored(liteq: Liteq, command: str, words: list[str]):
    assert "there is no queue here" in liteq(command, *words, "no.db").stderr
    assert words[0] not in liteq(command, "--help").output.split()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        *(("worker", words) for words in spellings(WORKER_REFUSED)),
        *(("beat", words) for words in spellings(BEAT_REFUSED)),
    ],
)
def test_what_cannot_be_kept_is_refused_with_what_to_do_instead(liteq: Liteq, command: str, words: list[str]):
    result = liteq(command, "no.db", *words)

    assert result.exit_code == 2
    assert f"liteq: liteq {command} has no --" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "-A", "app"],
        ["jobs", "-A", "app"],
        ["jobs", "list", "--app=app"],
        ["schedules", "-A", "app", "list", "--json"],
        ["schedules", "-Aapp"],
        ["doctor", "--app", "app"],
        ["call", "-A", "app", "app.add", "1", "2"],
        ["call", "app.add", "-A", "app", "--", "1"],
        ["purge", "--yes", "-A", "app"],
    ],
    ids=" ".join,
)
def test_every_command_with_a_target_takes_the_application_after_its_name(
    here: Path, liteq: Liteq, words: list[str]
):
    result = liteq(*words)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-A", "a", "jobs", "-A", "b"], "jobs takes one application, not a and b"),
        (["bench", "-A", "a"], "bench takes no application; leave -A a out"),
        (["call", "queue.db", "t", "--", "-A", "x"], "there is no queue here"),
    ],
)
def test_an_application_too_many_is_refused_and_an_argument_is_none(
    liteq: Liteq, words: list[str], says: str
):
    result = liteq(*words)
    assert result.exit_code == 2
    assert says in result.stderr
