"""`liteq schedules`: what it lists, what it changes, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_shop import PATIENCE, Shop
from click.testing import Result

from liteq.app.reconciling import reconcile_declared

SIGNED = """
from liteq import Queue

with Queue("signed.db", signing_key="k" * 16) as queue:

    @queue.task(name="signed.task")
    def task():
        pass

    task.delay()
    queue.schedules.add(60, task, name="x")
"""


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    """A queue whose tasks its file knows, with one schedule, that a module declares."""
    shop.add.delay(1)
    shop.fail.delay("x")
    shop.queue.add_periodic_task("0 3 * * *", shop.add.s(1, y=2), name="nightly", priority=4)
    reconcile_declared(shop.queue.transport, shop.queue.url, shop.queue)
    return shop


def test_a_queue_without_schedules_says_so(shop: Shop, liteq: Callable[..., Result]):
    shop.add.delay(1)
    assert liteq("schedules", shop.file).output == "no schedules\n"


def test_schedules_are_listed_with_when_they_run(stocked: Shop, liteq: Callable[..., Result]):
    stocked.queue.conf.beat_schedule = {"wrong": {"task": "shop.ad", "schedule": 60}}
    reconcile_declared(stocked.queue.transport, stocked.queue.url, stocked.queue)
    output = liteq("schedules", stocked.file).output
    head, nightly, wrong, _, why = output.splitlines()
    words = ["NAME", "SCHEDULE", "TASK", "NEXT", "RUN", "(UTC)", "LAST", "RUN", "(UTC)", "RUNS", "STATUS"]
    assert head.split() == words
    assert nightly.startswith("nightly")
    assert "03:00:00" in nightly
    assert nightly.endswith("active")
    assert wrong.endswith("broken")
    assert why.startswith("wrong is broken: No program has registered a task 'shop.ad'")


def test_one_is_shown_with_all_about_it(stocked: Shop, ask: Callable[..., Any], liteq: Callable[..., Result]):
    facts = ask("schedules", "show", stocked.file, "nightly")
    assert facts == ask("schedules", stocked.file)[0]
    assert facts["next_run"].endswith("03:00:00.000Z")
    del facts["next_run"], facts["schedule"]
    assert facts == {
        "name": "nightly",
        "task": "shop.add",
        "last_run": None,
        "runs": 0,
        "status": "active",
        "broken": None,
        "paused": False,
        "module": "test_cli_schedules",
        "last_job": None,
        "queue": "default",
        "priority": 4,
        "args": [1],
        "kwargs": {"y": 2},
        "policy": {
            "catch_up": "once",
            "catch_up_limit": 100,
            "overlap": "allow",
            "jitter": 0.0,
            "start": None,
            "end": None,
            "max_runs": None,
            "expires": None,
        },
    }
    assert "kwargs          {'y': 2}" in liteq("schedules", stocked.file, "show", "nightly").output


@pytest.mark.parametrize(
    ("schedule", "words"),
    [("90", "every 1 minute and 30 seconds"), ("*/5 * * * *", "5"), ("2090-01-31T12:00:00Z", "2090-01-31")],
)
def test_a_schedule_is_seconds_a_cron_expression_or_a_time(
    stocked: Shop, ask: Callable[..., Any], schedule: str, words: str
):
    facts = ask("schedules", "add", stocked.file, "mine", schedule, "shop.add", "--args", "[3]")
    assert words in facts["schedule"]
    assert (facts["task"], facts["args"], facts["module"]) == ("shop.add", [3], None)


def test_a_schedule_is_added_with_all_that_can_be_said_of_it(stocked: Shop, ask: Callable[..., Any]):
    facts = ask(
        *("schedules", stocked.file, "add", "mine", "0 3 * * *", "shop.add", "--kwargs", '{"x": 1}'),
        *("--queue", "slow", "--priority", 7, "--expires", 30, "--catch-up", "all", "--overlap", "skip"),
        *("--jitter", 5, "--start", "2090-01-01", "--end", "2091-01-01T00:00:00+01:00", "--max-runs", 9),
        *("--timezone", "Asia/Tokyo"),
    )
    assert (facts["queue"], facts["priority"], facts["kwargs"]) == ("slow", 7, {"x": 1})
    assert facts["next_run"] == "2090-01-01T18:00:00.000Z"
    assert facts["policy"] == {
        "catch_up": "all",
        "catch_up_limit": 100,
        "overlap": "skip",
        "jitter": 5.0,
        "start": "2090-01-01T00:00:00.000Z",
        "end": "2090-12-31T23:00:00.000Z",
        "max_runs": 9,
        "expires": 30.0,
    }


def test_what_is_given_is_changed_and_all_else_stays(stocked: Shop, ask: Callable[..., Any]):
    facts = ask("schedules", "change", stocked.file, "nightly", "--schedule", "60", "--max-runs", 3)
    assert (facts["schedule"], facts["args"], facts["priority"]) == ("every 1 minute", [1], 4)
    assert facts["policy"]["max_runs"] == 3
    facts = ask("schedules", "change", stocked.file, "nightly", "--args", "[7]", "--reset", "max-runs")
    assert (facts["args"], facts["kwargs"], facts["policy"]["max_runs"]) == ([7], {"y": 2}, None)


def test_a_schedule_is_paused_resumed_run_and_removed(
    stocked: Shop, ask: Callable[..., Any], liteq: Callable[..., Result]
):
    assert ask("schedules", "pause", stocked.file, "nightly")["status"] == "paused"
    assert ask("schedules", "resume", stocked.file, "nightly")["status"] == "active"
    job_id = liteq("schedules", "run", stocked.file, "nightly").output.strip()
    assert stocked.queue.AsyncResult(job_id).exists()
    assert ask("schedules", "run", stocked.file, "nightly")["id"] != job_id
    assert liteq("schedules", "remove", stocked.file, "nightly").output == "nightly is removed\n"
    assert ask("schedules", stocked.file) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "FILE", "nightyl"), "There is no schedule 'nightyl'"),
        (("show", "FILE", "nightyl"), "Did you mean 'nightly'?"),
        (
            ("add", "FILE", "nightly", "60", "shop.add", "--args", "[1]"),
            "There is a schedule named 'nightly'",
        ),
        (("add", "FILE", "x", "60", "shop.ad"), "Did you mean 'shop.add'?"),
        (("add", "FILE", "x", "61 * * * *", "shop.add"), "61"),
        (("add", "FILE", "x", "0", "shop.add"), "0.0"),
        (("add", "FILE", "x", "2001-01-01", "shop.add", "--args", "[1]"), "would never run"),
        (("add", "FILE", "x", "60", "shop.add", "--timezone", "Nowhere"), "Nowhere"),
        (("add", "FILE", "x", "60", "shop.add", "--args", "3"), "--args must be a JSON list"),
        (("add", "FILE", "x", "60", "shop.add", "--start", "soon"), "--start takes a time"),
        (("add", "FILE", "x", "60", "shop.add", "--overlap", "forbid"), "'forbid'"),
        (("change", "FILE", "nightly"), "say what is to be changed"),
        (("change", "FILE", "nightly", "--jitter", "1", "--reset", "jitter"), "not both"),
        (("change", "FILE", "nightly", "--timezone", "UTC"), "--timezone goes together with --schedule"),
        (("pause", "FILE", "x"), "There is no schedule 'x'"),
        (("run", "FILE", "x"), "There is no schedule 'x'"),
        (("remove", "FILE", "x"), "There is no schedule 'x'"),
        (("list", "nowhere.db"), "there is no queue here"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_2(
    stocked: Shop, liteq: Callable[..., Result], words: tuple[str, ...], message: str
):
    result = liteq("schedules", *(stocked.file if word == "FILE" else word for word in words))
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("add", "FILE", "x", "2001-01-01", "shop.add", "--args", "[1]"),
            "liteq: schedules add: 'x' would never run: ",
        ),
        (("change", "FILE", "nightly", "--schedule", "2001-01-01"), "liteq: schedules change: 'nightly' wo"),
        (
            ("add", "FILE", "nightly", "60", "shop.add", "--args", "[1]"),
            "; change it with liteq schedules change, or give",
        ),
        (
            ("change", "FILE", "nightly", "--start", "2030-01-02", "--end", "2030-01-01"),
            "schedules change: it would end",
        ),
    ],
)
def test_what_is_wrong_is_told_in_the_words_of_the_command(
    stocked: Shop, liteq: Callable[..., Result], words: tuple[str, ...], message: str
):
    result = liteq("schedules", *(stocked.file if word == "FILE" else word for word in words))
    assert message in result.stderr
    assert "q.schedules" not in result.stderr
    assert "()" not in result.stderr


def test_what_is_not_stored_of_a_broken_schedule_is_said_to_be_unknown(
    stocked: Shop, liteq: Callable[..., Result]
):
    (record,) = stocked.queue.transport.schedules(["nightly"])
    broken = replace(record, job=None, broken="No such task.")
    assert stocked.queue.transport.save_schedules([broken]) == [True]
    shown = liteq("schedules", "show", stocked.file, "nightly").stdout
    assert "cannot be read" not in shown
    assert "not known, as it is broken" in shown


def test_an_application_checks_the_arguments_against_its_task(
    app: Path, monkeypatch: pytest.MonkeyPatch, liteq: Callable[..., Result]
):
    monkeypatch.chdir(app)
    assert liteq("schedules", "add", "app:q", "x", "60", "app.add", "--args", "[1]").exit_code == 0
    result = liteq("schedules", "change", "app:q", "x", "--args", "[1, 2, 3]")
    assert result.exit_code == 2
    assert "too many positional arguments" in result.stderr


def test_without_its_key_a_signed_schedule_is_listed_and_paused_but_neither_added_nor_changed(
    tmp_path: Path, liteq: Callable[..., Result]
):
    subprocess.run([sys.executable, "-c", SIGNED], cwd=tmp_path, timeout=PATIENCE, check=True)
    assert "every 1 minute" in liteq("schedules", "signed.db").output
    assert liteq("schedules", "pause", "signed.db", "x").exit_code == 0
    for words in (
        ("change", "signed.db", "x", "--schedule", "9"),
        ("add", "signed.db", "y", "9", "signed.task"),
        ("run", "signed.db", "x"),
    ):
        result = liteq("schedules", *words)
        assert result.exit_code == 2
        assert "signed" in result.stderr
