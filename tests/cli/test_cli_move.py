"""`liteq move` on real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cli_shop import PATIENCE, Shop
from click.testing import Result

from liteq import Queue
from liteq.app.mover import CHECK
from liteq.job import WorkerInfo

Liteq = Callable[..., Result]
Start = Callable[..., "subprocess.Popen[str]"]


def test_everything_is_moved_and_counted(shop: Shop, liteq: Liteq):
    shop.queue.send_task("shop.add", (1, 2), task_id="first")
    shop.queue.send_task("shop.add", (1, 2), countdown=100)
    result = liteq("move", shop.file, "new.db")
    assert result.exit_code == 0
    rows = dict(line.split() for line in result.stdout.splitlines())
    assert rows == {
        "KIND": "MOVED",
        "waiting": "1",
        "delayed": "1",
        "failed": "0",
        "results": "0",
        "schedules": "0",
    }
    with Queue("new.db") as new:
        assert new.AsyncResult("first").exists()


def test_counts_are_given_as_json_and_are_the_same_once_more(shop: Shop, liteq: Liteq):
    shop.queue.send_task("shop.add", (1, 2))
    for said in ("", "liteq: nothing was left to move; these are the counts of the runs before.\n"):
        result = liteq("move", shop.file, "new.db", "--json", "--batch", "1")
        told: dict[str, Any] = json.loads(result.stdout)
        assert result.stderr == said
        assert told == {
            "source": str(shop.file),
            "target": str(Path("new.db").resolve()),
            "waiting": 1,
            "delayed": 0,
            "failed": 0,
            "results": 0,
            "schedules": 0,
        }


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one process there")
def test_who_interrupts_a_move_is_told_how_to_go_on(shop: Shop, liteq: Liteq, start: Start):
    shop.queue.send_task("shop.add", (1, 2))
    with Queue("new.db") as target:
        with shop.queue.transaction():
            process = start("move", shop.file, "new.db")
            until = time.monotonic() + PATIENCE
            while target.transport.move_progress(CHECK) is None:
                assert time.monotonic() < until
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            # It may be about to leave the source open, and wait for it.
            with suppress(subprocess.TimeoutExpired):
                process.wait(3.0)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err == "liteq: this move has not ended; give the same command again to go on with it.\n"
    assert liteq("move", shop.file, "new.db").exit_code == 0


def test_a_worker_a_missing_file_and_the_same_file_are_refused_with_one_line(shop: Shop, liteq: Liteq):
    holder = shop.queue.transport.register(WorkerInfo("tom", "host", 7, 7), 60.0, 0.0)
    for words, said in [
        ((shop.file, "new.db"), "tom (pid 7 on host)"),
        (("no.db", "new.db"), "there is no queue here"),
        ((shop.file, shop.file), "the same store"),
        ((shop.file, "memory://"), "memory of one program"),
        ((shop.file,), "Missing argument 'TARGET'"),
    ]:
        result = liteq("move", *words)
        assert result.exit_code == 2
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert result.stdout == ""
    shop.queue.transport.unregister(holder)


def test_what_was_moved_is_told_by_doctor_and_by_every_command_that_would_change_it(shop: Shop, liteq: Liteq):
    shop.queue.send_task("shop.add", (1, 2))
    liteq("move", shop.file, "new.db")
    result = liteq("doctor", shop.file)
    assert result.exit_code == 1
    assert "closed: it was moved to" in result.stdout
    for words in (
        ["call", shop.file, "shop.add", "1", "2"],
        ["purge", shop.file, "--yes"],
        ["result", shop.file, "x"],
    ):
        result = liteq(*words)
        assert result.exit_code == 2
        assert f"was moved to {Path('new.db').resolve()}" in result.stderr


@pytest.mark.parametrize(
    "words", [["inspect"], ["jobs"], ["schedules"], ["jobs", "retry", "--all"], ["inspect", "--json"]]
)
def test_who_looks_at_a_queue_that_was_moved_is_told_where_it_is(shop: Shop, liteq: Liteq, words: list[str]):
    assert not shop.queue.AsyncResult("first").exists()  # makes the file
    assert liteq(words[0], shop.file, *words[1:]).stderr == ""
    liteq("move", shop.file, "new.db")

    result = liteq(words[0], shop.file, *words[1:])
    assert result.exit_code == 0
    said = f"liteq: {shop.file} was moved to {Path('new.db').resolve()}; use that queue instead.\n"
    assert result.stderr == said
    if "--json" in words:
        assert json.loads(result.stdout) == {"queues": [], "workers": []}


def test_who_looks_at_a_queue_while_it_is_moved_is_told_so(shop: Shop, liteq: Liteq):
    shop.queue.send_task("shop.add", (1, 2), task_id="first")
    shop.queue.transport.begin_move("m", "elsewhere.db", 0.0)

    result = liteq("jobs", shop.file)
    assert "first" in result.stdout
    assert result.stderr == f"liteq: {shop.file} is being moved to elsewhere.db; use that queue instead.\n"


def test_a_file_is_moved_to_redis_and_back(shop: Shop, liteq: Liteq, redis_url: str):
    shop.queue.send_task("shop.add", (1, 2), task_id="first")
    url = f"{redis_url}?prefix=shop"
    assert json.loads(liteq("move", shop.file, url, "--json").stdout)["waiting"] == 1
    listed = liteq("jobs", url)
    assert "first" in listed.stdout
    refused = liteq("call", shop.file, "shop.add", "1")
    assert f"was moved to {url}" in refused.stderr

    assert json.loads(liteq("move", url, shop.file, "--json").stdout)["waiting"] == 1
    refused = liteq("call", url, "shop.add", "1")
    assert refused.exit_code == 2
    assert f"was moved to {shop.file}" in refused.stderr
    assert shop.queue.AsyncResult("first").exists()
