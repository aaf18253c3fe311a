"""`liteq call`: a task by name, its arguments as words, its options checked."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_shop import Shop
from click.testing import Result

from liteq.codec import decode_call, get_codec
from liteq.job import Job

Liteq = Callable[..., Result]
Ask = Callable[..., Any]


@pytest.fixture
def stored(shop: Shop) -> Callable[[], Job]:
    """Return the only job of the queue."""

    def read() -> Job:
        shop.queue.transport.origins()
        [job] = shop.queue.transport.find(_all())
        return job

    shop.queue.transport.count()
    return read


def _all() -> Any:
    from liteq.job import JobFilter

    return JobFilter()


def arguments(job: Job) -> tuple[list[object], dict[str, object]]:
    return decode_call(get_codec(job.codec), job.payload)


def test_words_are_json_where_they_can_be_and_strings_else(
    liteq: Liteq, shop: Shop, stored: Callable[[], Job]
):
    words = ["1", "2.5", "true", "null", '{"a": [1]}', '"1"', "bread", "NaN", "[1,", "2026-01-01"]

    result = liteq("call", shop.file, "shop.add", *words, "-k", "y=3", "-k", "z=a=b")

    job = stored()
    assert (result.exit_code, result.stdout) == (0, f"{job.id}\n")
    assert arguments(job) == (
        [1, 2.5, True, None, {"a": [1]}, "1", "bread", "NaN", "[1,", "2026-01-01"],
        {"y": 3, "z": "a=b"},
    )


def test_words_that_begin_with_a_dash_come_after_two(liteq: Liteq, shop: Shop, stored: Callable[[], Job]):
    liteq("call", shop.file, "shop.add", "--", "-1", "--json")

    assert arguments(stored()) == ([-1, "--json"], {})


def test_all_arguments_can_be_given_as_json(ask: Ask, shop: Shop, stored: Callable[[], Job]):
    told = ask("call", shop.file, "shop.add", "--args", "[1]", "--kwargs", '{"y": 2}')

    job = stored()
    assert told == {"id": job.id}
    assert arguments(job) == ([1], {"y": 2})


def test_a_call_by_name_runs_like_any_other(liteq: Liteq, shop: Shop, stored: Callable[[], Job]):
    shop.add.delay(1)
    shop.work()

    result = liteq("call", shop.file, "shop.add", "1", "2", "--id", "mine")
    shop.work()

    assert (result.stdout, result.stderr) == ("mine\n", "")
    assert shop.queue.AsyncResult("mine").get(timeout=0) == 3


def test_options_say_where_and_when(liteq: Liteq, shop: Shop, stored: Callable[[], Job]):
    before = time.time()
    options = ["--queue", "mail", "--priority", "-3", "--countdown", "60", "--expires", "2100-01-01"]

    assert liteq("call", shop.file, "shop.add", "1", *options).exit_code == 0

    job = stored()
    assert (job.queue, job.priority, job.expires) == ("mail", -3, 4102444800.0)
    assert job.eta is not None
    assert before + 60 <= job.eta <= time.time() + 60


def test_the_serializer_can_be_given(liteq: Liteq, shop: Shop, stored: Callable[[], Job]):
    assert liteq("call", shop.file, "shop.add", "1", "--serializer", "json").exit_code == 0

    assert (stored().codec, stored().payload) == ("json", b"[[1],{}]")


def test_a_time_without_a_zone_is_utc(liteq: Liteq, shop: Shop, stored: Callable[[], Job]):
    assert liteq("call", shop.file, "shop.add", "--eta", "2100-01-01T00:00:00").exit_code == 0

    assert stored().eta == 4102444800.0


def test_a_task_that_nobody_registered_is_stored_with_a_warning(liteq: Liteq, shop: Shop):
    shop.add.delay(1)

    result = liteq("call", shop.file, "shop.ad", "1")

    assert result.exit_code == 0
    assert "no program has registered 'shop.ad'" in result.stderr
    assert "Did you mean 'shop.add'?" in result.stderr
    assert shop.queue.AsyncResult(result.stdout.strip()).exists()


def test_an_unfinished_job_of_the_same_id_is_left_as_it_is(
    liteq: Liteq, shop: Shop, stored: Callable[[], Job]
):
    shop.add.options(task_id="mine").delay(1)

    result = liteq("call", shop.file, "shop.add", "2", "--id", "mine")

    assert (result.exit_code, result.stdout) == (0, "mine\n")
    assert "left as it is" in result.stderr
    assert arguments(stored()) == ([1], {})


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--priority", "40000"], "priority"),
        (["--countdown", "-1"], "countdown"),
        (["--expires", "-1"], "expires"),
        (["--expires", "soon"], "--expires"),
        (["--eta", "soon"], "--eta"),
        (["--eta", "2100-01-01", "--countdown", "1"], "both eta and countdown"),
        (["--queue", ""], "queue"),
        (["--serializer", "jsn"], "no serializer named 'jsn'"),
        (["--serializer", "pickle"], "not among what the queue accepts"),
        (["1", "--args", "[1]"], "--args"),
        (["--args", "1"], "JSON list"),
        (["--args", "[1"], "not JSON"),
        (["--kwargs", "[1]"], "JSON object"),
        (["-k", "y"], "NAME=VALUE"),
        (["x" * (1 << 20)], "Nothing was stored"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_stored(
    liteq: Liteq, shop: Shop, words: list[str], says: str
):
    shop.queue.transport.count()

    result = liteq("call", shop.file, "shop.add", *words)

    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert shop.queue.transport.count() == []


def test_waiting_ends_with_the_timeout_and_status_1(liteq: Liteq, shop: Shop):
    shop.add.delay(1)

    result = liteq("call", shop.file, "shop.add", "1", "--timeout", "0")

    assert (result.exit_code, result.stdout) == (1, "PENDING\n")


# ---- applications -----------------------------------------------------------------------------------


@pytest.fixture
def named_app(app: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The application under a name that no other test imports into this process."""
    name = f"app_{app.parent.name.replace('-', '_')}"
    (app / "app.py").rename(app / f"{name}.py")
    monkeypatch.chdir(app)
    yield name
    module = sys.modules.pop(name, None)
    if module is not None:
        module.q.close()


def test_an_application_knows_its_tasks_and_checks_the_arguments(liteq: Liteq, named_app: str):
    good = liteq("call", named_app, f"{named_app}.add", "1", "--json")
    misfit = liteq("call", f"{named_app}:q", f"{named_app}.add", "1", "2", "3")
    unknown = liteq("call", named_app, f"{named_app}.ad", "1")
    listed = json.loads(liteq("jobs", named_app, "--json").stdout)

    assert (misfit.exit_code, unknown.exit_code) == (2, 2)
    assert "do not fit" in misfit.stderr
    assert "Did you mean" in unknown.stderr
    assert [job["id"] for job in listed] == [json.loads(good.stdout)["id"]]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("no_such_module_here", "neither a file nor a module"),
        ("{app}:nothing", "names no queue"),
        ("{app}.py", "is a Python file"),
        ("json", "no application (Queue or Celery object) in json or json.celery; name the module that"),
        ("memory://", "start_workers()"),
        ("redis://:secret@localhost/x", "'redis://...@localhost/x': 'x' is no number of a database"),
        ("http://localhost", "there is no transport for http://. A queue can be"),
        ("redis:6379", "begins with redis://, and this one lacks a slash"),
    ],
)
def test_a_target_that_is_no_queue_is_refused_in_one_line(
    liteq: Liteq, named_app: str, target: str, says: str
):
    result = liteq("inspect", target.format(app=named_app))

    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("settings", ["'memory://'", "'queue.db', eager=True"])
def test_an_application_whose_queue_nobody_else_can_open_is_refused(
    liteq: Liteq, named_app: str, app: Path, settings: str
):
    (app / f"{named_app}.py").write_text(f"from liteq import Queue\nq = Queue({settings})\n")

    result = liteq("inspect", named_app)

    assert result.exit_code == 2
    assert "nothing to open" in result.stderr


def test_a_reading_command_does_not_create_the_file_of_an_application(
    liteq: Liteq, named_app: str, app: Path
):
    assert liteq("inspect", named_app).exit_code == 2
    assert not (app / "queue.db").exists()
