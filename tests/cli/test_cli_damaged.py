"""A worker and every reading command on a file with damaged rows: sentences, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cli_shop import Shop
from click.testing import Result
from damage import NOT_UTF8, damage, loosen

from liteq import AsyncResult, LiteqError, TaskError
from liteq.job import JobFilter
from liteq.states import FAILURE, SUCCESS

Liteq = Callable[..., Result]

DAMAGES = {
    "payload = 'text'": "cannot be read as msgpack",
    "payload = 5": "cannot be read as msgpack",
    "payload = x''": "cannot be read as msgpack",
    "payload = x'c1'": "cannot be read as msgpack",
    "payload = x'920101'": "not the arguments of a call",
    "payload = NULL": "its arguments are missing",
    f"payload = {NOT_UTF8}": "cannot be read as msgpack",
    "codec = 'none such'": "no serializer named",
    "codec = x'6d'": "no serializer named",
    f"codec = {NOT_UTF8}": "no serializer named",
    "options = 'text'": "cannot be read as msgpack",
    "options = 7": "cannot be read as msgpack",
    "options = x'93010203'": "options must be a map",
    "options = x'81a174a161'": "time limit must be a number",
    "options = x'81a16805'": "headers must be a map",
    "priority = 'x'": "its priority is no integer",
    "id = x'00'": "its id is no text",
    "lane = 99": "the queue and the task that it names are not there",
    "crashes = 'many'": "its crashes is no count",
    "eta = 'x'": "its eta is no time",
    "stage = 1, due = 'x'": "the time at which it is due is none",
    "lane = NULL": "belongs to no queue",
    "stage = 2, holder = 'x'": "its lease is nobody's",
}

COMMANDS = (
    ("jobs", "{file}"),
    ("jobs", "show", "{file}", "bad"),
    ("inspect", "{file}"),
    ("result", "{file}", "bad"),
    ("doctor", "{file}"),
)


@pytest.mark.parametrize("change", DAMAGES)
def test_a_damaged_job_fails_with_its_reason_and_every_command_shows_it(
    shop: Shop, liteq: Liteq, change: str
) -> None:
    shop.add.apply_async((1, 2), task_id="bad")
    good = shop.add.delay(3, 4)
    loosen(shop.file)
    damage(shop.file, f"UPDATE liteq_jobs SET {change} WHERE id = 'bad'")
    look(shop, liteq)
    shop.work()
    # What only the sweep meets may be there still when the worker finds the queue drained.
    shop.queue.transport.sweep(0.0)
    assert good.get(timeout=10) == 7
    [bad] = shop.queue.transport.find(JobFilter(states=[FAILURE]))
    assert bad.reason is not None
    assert DAMAGES[change] in bad.reason
    assert bad.reason[:40] in liteq("jobs", shop.file).stdout
    look(shop, liteq)
    if bad.id == "bad":
        with pytest.raises(LiteqError):
            shop.queue.AsyncResult("bad").get(timeout=10)


@pytest.mark.parametrize("body", ["'text'", "5", "NULL", NOT_UTF8, "x'00'"])
def test_a_damaged_body_of_a_large_job_fails_it(shop: Shop, liteq: Liteq, body: str) -> None:
    shop.add.apply_async(("x" * 5000, "y"), task_id="bad")
    good = shop.add.delay(3, 4)
    loosen(shop.file)
    damage(shop.file, f"UPDATE liteq_bodies SET payload = {body}")
    look(shop, liteq)
    shop.work()
    assert good.get(timeout=10) == 7
    [bad] = shop.queue.transport.find(JobFilter(states=[FAILURE]))
    assert "cannot be read as msgpack" in (bad.reason or "")


@pytest.mark.parametrize("column", ["result", "state", "reason", "codec", "enqueued", "done", "stage"])
@pytest.mark.parametrize("value", ["NULL", "'text'", "x'00ff'", "9e999", NOT_UTF8])
def test_a_finished_job_that_was_damaged_is_shown_as_far_as_possible(
    shop: Shop, liteq: Liteq, column: str, value: str
) -> None:
    shop.fail.apply_async(("no",), task_id="bad")
    shop.add.apply_async((1,), task_id="good")
    shop.work()
    loosen(shop.file)
    damage(shop.file, f"UPDATE liteq_jobs SET {column} = {value}")
    look(shop, liteq)
    for job_id in ("bad", "good"):
        read_all_of(shop.queue.AsyncResult(job_id))


@pytest.mark.parametrize("levels", [150, 450, 1000])
def test_a_result_that_is_nested_deeper_than_any_that_was_encoded_is_shown_as_far_as_possible(
    shop: Shop, liteq: Liteq, levels: int
) -> None:
    shop.add.apply_async((1, 2), task_id="bad")
    shop.work()
    damage(shop.file, f"UPDATE liteq_jobs SET result = x'{'91' * levels}c0'")
    look(shop, liteq)


@pytest.mark.parametrize(
    "change",
    ["liteq_workers SET queues = 'x'", "liteq_workers SET pid = 'x'", "liteq_workers SET name = x'00'"],
)
def test_a_damaged_worker_is_shown_as_dead(shop: Shop, liteq: Liteq, change: str) -> None:
    from liteq.job import WorkerInfo

    shop.queue.transport.register(WorkerInfo("w", "host", 1, 1), 60.0, 0.0)
    loosen(shop.file)
    damage(shop.file, f"UPDATE {change}")
    look(shop, liteq)
    [worker] = json.loads(liteq("inspect", shop.file, "workers", "--json").stdout)["workers"]
    assert worker["alive"] is False


def test_a_worker_that_meets_only_damaged_jobs_drains_and_ends(shop: Shop) -> None:
    for number in range(300):
        shop.add.apply_async((number,), task_id=f"bad {number}")
    loosen(shop.file)
    damage(shop.file, "UPDATE liteq_jobs SET retries = x'00'")
    shop.work()
    assert {lane.state: lane.jobs for lane in shop.queue.transport.count()} == {FAILURE: 300}
    with pytest.raises(TaskError, match="damaged: its retries is no count"):
        shop.queue.AsyncResult("bad 7").get(timeout=10)
    assert shop.add.delay(1).status != SUCCESS


def read_all_of(result: AsyncResult[Any]) -> None:
    """Read everything of a result; raises what is neither ours nor the task's own error."""
    for read in (
        lambda: result.get(timeout=0),
        lambda: result.status,
        lambda: result.result,
        lambda: result.traceback,
        lambda: result.ready(),
    ):
        try:
            read()
        except (LiteqError, ValueError) as error:
            if type(error) is ValueError and str(error) != "no":
                raise


def look(shop: Shop, liteq: Liteq) -> None:
    """Run every reading command, for people and as JSON; raises what is not a sentence of ours."""
    for command in COMMANDS:
        words = [word.format(file=shop.file) for word in command]
        for extra in ([], ["--json"]):
            done = liteq(*words, *extra)
            assert done.exit_code in (0, 1, 2), done.output
            assert "Traceback (most recent call last)" not in done.stderr
            if extra and done.exit_code != 2:
                json.loads(done.stdout or "null")
