"""What a TARGET names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_shop import PATIENCE, run_app
from click.testing import Result

from liteq import Queue
from liteq.cli.target import names_application

Liteq = Callable[..., Result]


@pytest.mark.parametrize("text", ["app", "shop.tasks", "shop.tasks:q", "shop.db:q", "größe", "app.queue"])
def test_dotted_names_are_applications(text: str):
    assert names_application(text)


@pytest.mark.parametrize(
    "text",
    [
        "queue.db",
        "shop.SQLITE3",
        "./app",
        "folder/queue",
        "/queue",
        "my queue",
        "a-b.c",
        "C:\\queue.db",
        "C:/queue",
        "app:",
        ":q",
        "app:1",
        "sqlite:///app",
        "a..b",
        "",
    ],
)
def test_everything_else_is_a_file(text: str):
    assert not names_application(text)


def test_a_file_that_exists_is_a_file_whatever_its_name(tmp_path: Path):
    assert names_application("shop.tasks")

    (tmp_path / "shop.tasks").touch()

    assert not names_application("shop.tasks")


def test_a_folder_of_that_name_is_a_package(tmp_path: Path):
    (tmp_path / "shop").mkdir()

    assert names_application("shop")


# ---- Celery's spelling -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["-A", "app", "worker", "--drain", "-c", "1"],
        ["--app", "app:q", "worker", "--drain", "-c", "1"],
        ["--app=app", "worker", "--drain", "-c", "1"],
        ["worker", "-A", "app", "--drain", "-c", "1", "-P", "prefork"],
        ["worker", "--app=app", "--drain", "-P", "solo"],
    ],
    ids=" ".join,
)
def test_an_application_may_be_named_as_celery_does(
    app: Path, start: Callable[..., subprocess.Popen[str]], words: list[str]
):
    (job,) = run_app(app, "add.delay(1, 2)")

    process = start(*words, cwd=app)
    _, err = process.communicate(timeout=PATIENCE)

    assert (process.returncode, err) == (0, "")
    with Queue(app / "queue.db") as queue:
        assert queue.AsyncResult(job).get(timeout=0) == 3


@pytest.mark.parametrize(
    "text",
    ["from liteq import Queue\nq = Queue('a.db')\n", "import liteq.celery\napp = liteq.celery.Celery()\n"],
)
def test_a_package_without_an_application_says_where_one_seems_to_be(tmp_path: Path, liteq: Liteq, text: str):
    package = tmp_path / "lq_pk"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text("x = 1\n")
    (package / "tasks.py").write_text(text)

    try:
        for words in (["-A", "lq_pk", "worker"], ["jobs", "-A", "lq_pk"]):
            result = liteq(*words)
            assert result.exit_code == 2
            assert result.stderr == (
                "liteq: There is no application (Queue or Celery object) in lq_pk or lq_pk.celery; name the "
                "module that makes it, which seems to be lq_pk.tasks.\n"
            )
    finally:
        sys.modules.pop("lq_pk", None)


def test_every_command_with_a_target_takes_the_application_before_it(
    app: Path, liteq: Liteq, monkeypatch: pytest.MonkeyPatch
):
    run_app(app, "add.delay(1, 2)")
    monkeypatch.chdir(app)

    try:
        for words in (["inspect"], ["jobs"], ["jobs", "list"], ["doctor"], ["call", "app.add", "1", "2"]):
            result = liteq("-A", "app", *words)
            assert result.exit_code == 0, result.output
    finally:
        sys.modules.pop("app").q.close()


def test_a_command_without_a_target_takes_no_application(liteq: Liteq):
    result = liteq("-A", "app", "bench")

    assert result.exit_code == 2
    assert "bench takes no application; leave -A app out" in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["worker", "-A", "a", "-A", "b"], "TARGET has to say where the jobs are"),
        (["worker", "-A", "./app.py"], "-A takes an application"),
        (["beat"], "missing TARGET"),
        (["beat", "-A", "nothing_such"], "neither a file nor a module 'nothing_such'"),
    ],
)
def test_what_names_no_application_is_refused(liteq: Liteq, words: list[str], says: str):
    result = liteq(*words)

    assert result.exit_code == 2
    assert says in result.stderr
