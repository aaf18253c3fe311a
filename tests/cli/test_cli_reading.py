"""`result`, `inspect`, `jobs`, `purge` and `doctor` on a real file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_shop import Shop
from click.testing import Result

from liteq import Queue
from liteq.job import ClaimRequest, NewJob, WorkerInfo

Liteq = Callable[..., Result]
Ask = Callable[..., Any]


# ---- errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["result", "no.db", "x"],
        ["inspect", "no.db"],
        ["jobs", "no.db"],
        ["jobs", "show", "no.db", "x"],
        ["jobs", "retry", "no.db", "x"],
        ["doctor", "no.db"],
        ["purge", "no.db", "--yes"],
        ["call", "no.db", "shop.add"],
        ["worker", "no.db"],
    ],
)
def test_a_file_that_does_not_exist_is_named_in_one_line_and_not_created(
    liteq: Liteq, tmp_path: Path, words: list[str]
):
    result = liteq(*words)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"liteq: {tmp_path / 'no.db'}: there is no queue here")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says", "help_of"),
    [
        (["worker"], "TARGET", "worker"),
        (["jobs"], "TARGET", "jobs list"),
        (["inspect", "queue.db", "--jsn"], "--jsn", "inspect"),
        (["inspect", "queue.db", "cats"], "cats", "inspect"),
        (["jobs", "retry", "queue.db"], "--all", "jobs retry"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_that_names_the_help(
    liteq: Liteq, words: list[str], says: str, help_of: str
):
    result = liteq(*words)

    assert result.exit_code == 2
    assert result.stderr.startswith("liteq: ")
    assert says in result.stderr
    assert result.stderr.endswith(f" See liteq {help_of} --help.\n")
    assert result.stderr.count("\n") == 1
    assert "?." not in result.stderr


@pytest.mark.parametrize("word", ["wrok", "--vresion"])
def test_an_unknown_command_is_named(liteq: Liteq, word: str):
    result = liteq(word, "queue.db")

    assert result.exit_code == 2
    assert word in result.stderr


def test_a_file_that_is_no_database_is_said_to_be_none(liteq: Liteq, tmp_path: Path):
    (tmp_path / "queue.db").write_text("shopping list: " + "bread, " * 1000)

    result = liteq("inspect", "queue.db")

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "queue.db" in result.stderr


def test_without_a_command_the_help_is_shown(liteq: Liteq):
    result = liteq()

    assert result.exit_code == 0
    assert "worker" in result.stdout


def test_the_version_is_told(liteq: Liteq):
    assert liteq("--version").stdout.startswith("liteq ")


# ---- result -----------------------------------------------------------------------------------------


def test_the_result_of_a_success_is_printed(liteq: Liteq, ask: Ask, shop: Shop):
    job = shop.add.delay(1, 2)
    shop.work()

    result = liteq("result", shop.file, job.id)

    assert (result.exit_code, result.stdout) == (0, "SUCCESS\n3\n")
    told = ask("result", shop.file, job.id)
    assert (told["exists"], told["state"], told["result"], told["exception"]) == (True, "SUCCESS", 3, None)


def test_a_failure_is_told_with_its_traceback_and_status_1(liteq: Liteq, shop: Shop):
    job = shop.fail.delay("no bread")
    shop.work()

    result = liteq("result", shop.file, job.id)
    told = json.loads(liteq("result", shop.file, job.id, "--json").stdout)

    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("FAILURE", "ValueError: no bread")
    assert told["exception"] == {"type": "ValueError", "message": "no bread"}
    assert told["traceback"].startswith("Traceback")


def test_a_job_that_waits_is_not_ready(liteq: Liteq, shop: Shop):
    job = shop.add.delay(1)

    result = liteq("result", shop.file, job.id, "--timeout", "0")

    assert (result.exit_code, result.stdout) == (1, "PENDING\n")


def test_a_waiting_job_that_has_expired_reads_revoked(liteq: Liteq, shop: Shop):
    job = shop.add.options(expires=0).delay(1)

    result = liteq("result", shop.file, job.id, "--wait")

    assert (result.exit_code, result.stdout) == (1, "REVOKED\nexpired before it ran\n")


def test_an_unknown_id_is_pending_and_said_to_be_unknown(liteq: Liteq, shop: Shop):
    shop.add.delay(1)

    result = liteq("result", shop.file, "nobody", "--wait")
    told = json.loads(liteq("result", shop.file, "nobody", "--json").stdout)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no job nobody" in result.stderr
    assert (told["exists"], told["state"]) == (False, "PENDING")


def test_a_result_that_cannot_be_read_here_is_no_crash(liteq: Liteq, shop: Shop):
    job = shop.add.delay(1, 2)
    _settle(shop, result=b"\xc1")

    result = liteq("result", shop.file, job.id)

    assert (result.exit_code, result.stdout) == (0, "SUCCESS\n")
    assert "cannot be read here" in result.stderr


def _settle(shop: Shop, result: bytes) -> None:
    """Finish the next job with these bytes."""
    from liteq.lifecycle import Succeeded, decide

    transport = shop.queue.transport
    holder = transport.register(WorkerInfo("one", "here", os.getpid(), os.getpid()), 60.0, time.time())
    [claim] = transport.claim(holder, ClaimRequest({"shop.add": 1}), time.time())
    transport.settle(holder, [decide(claim, Succeeded(result), time.time(), lambda: 0.5)], time.time())
    transport.unregister(holder)


# ---- inspect ----------------------------------------------------------------------------------------


def test_queues_are_shown_with_their_jobs_by_state(liteq: Liteq, ask: Ask, shop: Shop):
    shop.add.delay(1)
    shop.fail.delay("x")
    shop.work()
    shop.add.delay(2)
    shop.add.options(countdown=60, queue="mail").delay(3)

    queues = ask("inspect", shop.file, "queues")["queues"]
    table = liteq("inspect", shop.file, "queues").stdout.splitlines()

    assert [(each["queue"], each["ready"], each["delayed"], each["running"]) for each in queues] == [
        ("default", 1, 0, 0),
        ("mail", 0, 1, 0),
    ]
    assert queues[0]["states"] == {"FAILURE": 1, "PENDING": 1, "SUCCESS": 1}
    assert table[0].split()[:3] == ["QUEUE", "READY", "DELAYED"]
    assert table[1].split() == ["default", "1", "0", "0", "0", "1", "1", "0"]


def test_a_worker_is_shown_with_the_job_that_it_runs(liteq: Liteq, ask: Ask, shop: Shop):
    job = shop.add.delay(1)
    transport = shop.queue.transport
    info = WorkerInfo("one", "here", os.getpid(), os.getpid(), ("default", "mail"))
    holder = transport.register(info, 60.0, time.time())
    [claim] = transport.claim(holder, ClaimRequest({"shop.add": 1}), time.time())
    slot = transport.slot(holder)
    slot.begin(claim.seq, claim.token, None)

    [worker] = ask("inspect", shop.file, "workers")["workers"]
    shown = liteq("inspect", shop.file).stdout
    slot.clear()
    [resting] = ask("inspect", shop.file, "workers")["workers"]
    slot.close()

    assert (worker["name"], worker["alive"], worker["queues"]) == ("one", True, ["default", "mail"])
    assert (worker["running"]["id"], worker["running"]["task"]) == (job.id, "shop.add")
    assert f"shop.add[{job.id}] for 0." in shown
    assert resting["running"] is None


def test_an_empty_queue_has_neither_jobs_nor_workers(liteq: Liteq, shop: Shop):
    shop.queue.transport.count()

    assert liteq("inspect", shop.file).stdout == "no jobs\n\nno workers\n"


# ---- jobs -------------------------------------------------------------------------------------------


def test_jobs_are_listed_newest_first_and_filtered(ask: Ask, shop: Shop):
    first = shop.add.delay(1)
    second = shop.fail.delay("x")
    shop.work()
    third = shop.add.options(queue="mail").delay(1)

    def ids(*words: object) -> list[str]:
        return [job["id"] for job in ask("jobs", shop.file, *words)]

    assert ids() == [third.id, second.id, first.id]
    assert ids("--state", "failure", "--state", "SUCCESS") == [second.id, first.id]
    assert ids("--task", "shop.add") == [third.id, first.id]
    assert ids("-Q", "mail,other") == [third.id]
    assert ids("--limit", "1") == [third.id]


@pytest.mark.parametrize(
    "words", [["jobs", "queue.db"], ["jobs", "list", "queue.db"], ["jobs", "queue.db", "list"]]
)
def test_a_list_is_asked_for_in_any_order(liteq: Liteq, shop: Shop, words: list[str]):
    job = shop.add.delay(1)

    result = liteq(*words, "--limit", "5")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split()[:4] == [job.id, "PENDING", "shop.add", "default"]


def test_a_list_without_jobs_says_so(liteq: Liteq, shop: Shop):
    shop.add.delay(1)

    assert liteq("jobs", shop.file, "--state", "FAILURE").stdout == "no jobs\n"


def test_a_job_is_shown_with_its_arguments_and_options(liteq: Liteq, ask: Ask, shop: Shop):
    job = shop.add.options(priority=7, headers={"who": "me"}, time_limit=5, serializer="json").delay(1, y=2)
    shop.work()

    told = ask("jobs", "show", shop.file, job.id)
    shown = {
        line.split("  ")[0]: line for line in liteq("jobs", shop.file, "show", job.id).stdout.splitlines()
    }

    assert told["arguments"] == {"args": [1], "kwargs": {"y": 2}, "unreadable": None}
    assert (told["priority"], told["result"], told["attempts"]) == (7, 3, 1)
    assert (told["options"]["headers"], told["options"]["time_limit"]) == ({"who": "me"}, 5.0)
    assert shown["args"].endswith("[1]")
    assert shown["state"].endswith("SUCCESS")
    assert shown["result"].endswith("3")
    assert shown["codec"].endswith("json")


def test_a_job_whose_arguments_cannot_be_read_is_shown_all_the_same(liteq: Liteq, ask: Ask, shop: Shop):
    jobs = [
        NewJob("bad", "shop.add", b"\xc1"),
        NewJob("odd", "shop.add", b"{}", codec="mine", options=b"\xc1"),
    ]
    shop.queue.transport.enqueue(jobs, time.time())

    shown = liteq("jobs", "show", shop.file, "bad").stdout
    told = ask("jobs", "show", shop.file, "odd")

    assert "arguments" in shown
    assert "cannot be read here" in shown
    assert "'mine'" in told["arguments"]["unreadable"]
    assert told["options"]["unreadable"]


def test_a_failed_job_is_shown_with_its_traceback(liteq: Liteq, shop: Shop):
    job = shop.fail.delay("no \x1b[31mbread")
    shop.work()

    shown = liteq("jobs", "show", shop.file, job.id).stdout

    assert shown.splitlines()[-1] == r"ValueError: no \x1b[31mbread"
    assert "\x1b" not in shown


def test_showing_an_unknown_job_is_answered_with_no(liteq: Liteq, shop: Shop):
    shop.add.delay(1)

    result = liteq("jobs", "show", shop.file, "nobody")

    assert result.exit_code == 1
    assert "there is no job nobody" in result.stderr


def test_failed_jobs_are_put_back_with_their_payload(liteq: Liteq, ask: Ask, shop: Shop):
    failed = [shop.fail.delay(text) for text in ("a", "b")]
    done = shop.add.delay(1)
    shop.work()
    payload = shop.queue.transport.get([failed[0].id])[0].payload

    result = liteq("jobs", "retry", shop.file, failed[0].id)
    rest = ask("jobs", "retry", shop.file, "--all", "--task", "shop.fail")

    assert (result.exit_code, result.stdout) == (0, "1 job put back\n")
    assert rest == {"retried": [failed[1].id], "refused": []}
    assert [job.status for job in (*failed, done)] == ["PENDING", "PENDING", "SUCCESS"]
    assert shop.queue.transport.get([failed[0].id])[0].payload == payload


def test_a_job_that_did_not_fail_is_not_put_back(liteq: Liteq, shop: Shop):
    job = shop.add.delay(1)
    shop.work()

    result = liteq("jobs", "retry", shop.file, job.id, "nobody")

    assert result.exit_code == 1
    assert [line.split()[1] for line in result.stderr.splitlines()] == [job.id, "nobody"]
    assert job.status == "SUCCESS"


@pytest.mark.parametrize("words", [[], ["--all", "x"], ["x", "--task", "shop.add"]])
def test_what_to_put_back_is_said_in_one_way(liteq: Liteq, shop: Shop, words: list[str]):
    shop.add.delay(1)

    assert liteq("jobs", "retry", shop.file, *words).exit_code == 2


# ---- purge ------------------------------------------------------------------------------------------


def test_purging_needs_somebody_who_is_sure(liteq: Liteq, shop: Shop):
    jobs = [shop.add.delay(1), shop.add.delay(2)]

    result = liteq("purge", shop.file)

    assert result.exit_code == 2
    assert "2 waiting jobs" in result.stderr
    assert "--yes" in result.stderr
    assert {job.status for job in jobs} == {"PENDING"}


@pytest.mark.parametrize("sure", ["--yes", "-f"])
def test_waiting_jobs_of_the_named_queues_are_revoked(liteq: Liteq, shop: Shop, sure: str):
    done = shop.add.delay(1)
    shop.work()
    kept = shop.add.delay(1)
    mail = shop.add.options(queue="mail", countdown=60).delay(1)

    result = liteq("purge", shop.file, "-Q", "mail", sure)

    assert (result.exit_code, result.stdout) == (0, "1 waiting job of queue mail revoked\n")
    assert [job.status for job in (done, kept, mail)] == ["SUCCESS", "PENDING", "REVOKED"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of its own")
@pytest.mark.parametrize(("answer", "status", "state"), [(b"y\n", 0, "REVOKED"), (b"n\n", 1, "PENDING")])
def test_a_terminal_is_asked(shop: Shop, answer: bytes, status: int, state: str):
    import pty

    job = shop.add.delay(1)
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        command = [sys.executable, "-m", "liteq", "purge", str(shop.file)]
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=30, check=False)
    finally:
        os.close(ours)
        os.close(theirs)

    assert done.returncode == status
    assert "Revoke 1 waiting job of all queues" in done.stdout
    assert job.status == state


# ---- doctor -----------------------------------------------------------------------------------------


def test_a_healthy_queue_is_all_ok(liteq: Liteq, ask: Ask, shop: Shop):
    shop.add.delay(1)

    findings = ask("doctor", shop.file)
    lines = liteq("doctor", shop.file).stdout.splitlines()

    assert {finding["ok"] for finding in findings} == {True}
    assert len(lines) == len(findings) + 1
    assert {line[:2] for line in lines[1:]} == {"ok"}


def test_jobs_of_a_task_that_nobody_registered_are_found(liteq: Liteq, shop: Shop):
    shop.add.delay(1)
    shop.queue.transport.enqueue([NewJob("1", "shop.ad", b""), NewJob("2", "shop.ad", b"")], time.time())

    result = liteq("doctor", shop.file)

    assert result.exit_code == 1
    assert "!!  task shop.ad" in result.stdout
    assert "2 jobs wait" in result.stdout
    assert "Did you mean 'shop.add'?" in result.stdout


# ---- output -----------------------------------------------------------------------------------------


def test_names_in_any_script_are_printed_safely(liteq: Liteq, ask: Ask, tmp_path: Path):
    name = "größe\n\x1b[2J 尺"
    with Queue(tmp_path / "naïve file.db") as queue:
        queue.transport.enqueue([NewJob("1", name, b"")], time.time())

        table = liteq("jobs", "naïve file.db").stdout

        assert len(table.splitlines()) == 2
        assert r"größe\n\x1b[2J 尺" in table
        assert ask("jobs", "naïve file.db")[0]["task"] == name


def test_values_that_json_has_not_are_printed_as_text(ask: Ask, tmp_path: Path):
    with Queue(tmp_path / "queue.db") as queue:

        @queue.task(name="shop.keep")
        def keep(value: Any) -> Any:
            return value

        job = keep.delay({1: float("nan"), "set": {2}, "bytes": b"\xff"})

        args = ask("jobs", "show", "queue.db", job.id)["arguments"]["args"]

    assert args == [{"1": "nan", "set": [2], "bytes": r"b'\xff'"}]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break in another way there")
@pytest.mark.parametrize(
    "words",
    [["jobs"], ["jobs", "--json"], ["inspect"], ["doctor"], ["jobs", "--help"], ["--help"], ["--version"]],
)
def test_a_reader_that_goes_away_ends_a_command_quietly(shop: Shop, words: list[str]):
    shop.add.delay(1)
    target = [] if words[-1] in {"--help", "--version"} else [str(shop.file)]
    theirs, ours = os.pipe()
    os.close(theirs)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "liteq", *words, *target],
            stdout=ours,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        os.close(ours)

    assert (done.returncode, done.stderr) == (1, "")
