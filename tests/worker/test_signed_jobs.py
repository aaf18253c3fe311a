"""A queue with a signing key runs what was signed with it, and decodes nothing else."""

from __future__ import annotations

import logging
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import Queue, SecurityError, TaskError
from liteq.codec import get_codec, register_codec
from liteq.codec.signing import is_signed
from liteq.job import Claim, ClaimRequest, Job, JobFilter, NewJob, WorkerInfo
from liteq.lifecycle import Crashed, decide
from liteq.registry import collect_tasks
from liteq.states import FAILURE, RETRY, SUCCESS
from liteq.worker.executor import Executor
from liteq.worker.log import JobLog

KEY = "a key for the tests, long enough"
OLD = "an older key, which was the first"


class Watched:
    """A codec that notes what it decodes."""

    name = "watched"

    def __init__(self) -> None:
        self.decoded: list[bytes] = []

    def encode(self, value: object) -> bytes:
        return b"watched" + get_codec("json").encode(value)

    def decode(self, data: bytes) -> object:
        self.decoded.append(data)
        return get_codec("json").decode(data.removeprefix(b"watched"))


WATCHED = Watched()
register_codec(WATCHED)


class Bench:
    """A queue with a key, and a worker that does one thing at a time."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.transport = queue.transport
        self.logger = logging.getLogger("liteq.test.signing")
        self.logger.setLevel(logging.DEBUG)
        self.executor = Executor(queue.tasks, self.transport, log=JobLog(self.logger))
        self.holder = self.transport.register(WorkerInfo("w", "host", 1, 1), 60.0, time.time())

    def claim(self, now: float | None = None) -> Claim:
        request = ClaimRequest(dict.fromkeys(self.queue.tasks, 1), limit=1)
        [job] = self.transport.claim(self.holder, request, time.time() + 1 if now is None else now)
        return job

    def run(self, job: Claim | None = None) -> Job:
        """Run a job as the loop does, settle it, and return its record."""
        job = self.claim() if job is None else job
        self.executor.time_limit(job)
        decided = self.executor.run(job)
        assert decided is not None
        assert self.transport.settle(self.holder, [decided], time.time()) == []
        [found] = self.transport.find(JobFilter(limit=1))
        return found


@pytest.fixture(params=["file", "memory"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    url = "memory://" if request.param == "memory" else tmp_path / "queue.db"
    with Queue(url, signing_key=[KEY, OLD]) as queue:

        @queue.task(name="add")
        def add(x: int, y: int = 0) -> int:
            return x + y

        @queue.task(name="watch", serializer="watched")
        def watch(text: str) -> str:
            return text

        yield queue


@pytest.fixture
def bench(queue: Queue) -> Bench:
    return Bench(queue)


# ---- enqueueing ------------------------------------------------------------------------------------------


def test_every_way_to_enqueue_signs(queue: Queue, bench: Bench, tmp_path: Path) -> None:
    add = queue.tasks["add"]
    add.delay(1)
    add.apply_async((1,), headers={"a": 1}, queue="mail", priority=3)
    add.options(task_id="mine", countdown=0, expires=600).delay(1)
    add.s(1).apply_async()
    queue.enqueue_many([add.s(number) for number in range(3)])
    expected = 7
    if queue.store.crosses_processes:
        add.options(time_limit=5).delay(1)
        with queue.transaction():
            add.delay(1)
        own = sqlite3.connect(tmp_path / "queue.db")
        add.using(own).delay(1)
        own.commit()
        own.close()
        expected = 10
    stored = queue.transport.find(JobFilter())
    assert len(stored) == expected
    assert all(is_signed(job.options) for job in stored)
    for _ in range(expected):
        bench.run()
    assert {job.state for job in queue.transport.find(JobFilter())} == {SUCCESS}


def test_a_job_that_a_job_enqueues_is_signed_too_and_knows_its_parent(queue: Queue, bench: Bench) -> None:
    @queue.task(name="parent")
    def parent() -> None:
        queue.tasks["add"].apply_async((1,), headers={"h": 1}, task_id="child")

    bench = Bench(queue)
    parent.apply_async(task_id="root")
    bench.run()
    child = bench.claim()
    assert child.id == "child"
    seen: list[Any] = []
    queue.tasks["add"].fn = lambda x: seen.append(child)
    assert bench.run(child).state == SUCCESS


def test_headers_and_limits_are_read_behind_the_signature(queue: Queue) -> None:
    seen: list[Any] = []

    @queue.task(name="look", bind=True)
    def look(self: Any) -> None:
        seen.append((self.request.headers, self.request.root_id, self.request.timelimit))

    look.apply_async(headers={"a": 1}, task_id="one")
    assert Bench(queue).run().state == SUCCESS
    assert seen == [({"a": 1}, "one", (None, None))]


def test_an_eager_queue_takes_a_key() -> None:
    queue = Queue("memory://", eager=True, signing_key=KEY)
    seen: list[Any] = []

    @queue.task(bind=True, name="eager")
    def eager(self: Any, x: int) -> int:
        seen.append(self.request.headers)
        return x

    assert eager.apply_async((5,), headers={"a": 1}).get() == 5
    assert seen == [{"a": 1}]


def test_a_queue_without_a_key_runs_signed_jobs_without_looking(tmp_path: Path) -> None:
    with Queue(tmp_path / "queue.db", signing_key=KEY) as signing, Queue(tmp_path / "queue.db") as trusting:
        signing.task(name="add")(lambda x: x).delay(1)
        trusting.task(name="add")(lambda x: x + 1)
        assert Bench(trusting).run().state == SUCCESS


# ---- refusing --------------------------------------------------------------------------------------------


def refused(job: Job, why: str) -> None:
    assert (job.state, job.finished) == (FAILURE, True)
    assert job.reason is not None
    assert job.reason.startswith("SecurityError: ")
    assert why in job.reason


def test_an_unsigned_job_is_not_run_and_not_decoded(
    queue: Queue, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    payload = WATCHED.encode([["a hidden word"], {}])
    options = get_codec("msgpack").encode({"t": 1.0, "h": {"a": "another one"}})
    queue.transport.enqueue([NewJob("forged", "watch", payload, "watched", options=options)], time.time())
    before = len(WATCHED.decoded)
    with caplog.at_level(logging.DEBUG, logger="liteq.test.signing"):
        refused(bench.run(), "it is unsigned")
    assert len(WATCHED.decoded) == before
    assert "forged" in caplog.text
    assert "hidden" not in caplog.text
    with pytest.raises(SecurityError, match="because it is unsigned"):
        queue.AsyncResult("forged").get(timeout=5)


def test_options_of_a_job_that_is_not_signed_are_not_decoded_for_its_time_limit(
    queue: Queue, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = get_codec("msgpack").encode({"t": 1.0})
    queue.transport.enqueue([NewJob("forged", "add", b"", options=options)], time.time())
    job = bench.claim()
    asked: list[object] = []
    monkeypatch.setattr("liteq.worker.executor.decode_options", asked.append)
    assert bench.executor.time_limit(job) is None
    bench.executor.run(job)
    assert asked == []


def test_a_job_signed_with_another_key_is_refused_and_with_an_older_one_is_not(
    queue: Queue, bench: Bench
) -> None:
    for key, why in [(OLD, None), ("somebody else's key of some length", "its signature does not match")]:
        with Queue("memory://", signing_key=key) as other:
            other.task(name="add")(lambda x: x).delay(1)
            [job] = other.transport.find(JobFilter())
        queue.transport.enqueue([NewJob(job.id, job.task, job.payload, options=job.options)], time.time())
        ran = bench.run()
        if why is None:
            assert ran.state == SUCCESS
        else:
            refused(ran, why)


@pytest.mark.parametrize(
    "change",
    [
        {"payload": b"\x92\x91\x05\x80"},
        {"task": "watch"},
        {"queue": "mail"},
        {"codec": "json"},
        {"id": "another"},
        {"max_crashes": 0},
        {"options": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_job_that_was_altered_is_refused(queue: Queue, bench: Bench, change: dict[str, Any]) -> None:
    queue.tasks["add"].delay(1)
    [job] = queue.transport.find(JobFilter())
    new = NewJob(job.id, job.task, job.payload, options=job.options)._replace(**change)
    queue.transport.revoke([job.id], time.time(), "test")
    queue.transport.forget(job.id)
    queue.transport.enqueue([new], time.time())
    refused(bench.run(), "unsigned" if "options" in change else "its signature does not match")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE liteq_jobs SET payload = x'92910580'",
        "UPDATE liteq_jobs SET payload = CAST(payload AS TEXT)",
        "UPDATE liteq_jobs SET payload = 5",
        "UPDATE liteq_jobs SET codec = 'json'",
        "UPDATE liteq_jobs SET codec = x'00'",
        "UPDATE liteq_jobs SET id = 'another'",
        "UPDATE liteq_jobs SET max_crashes = 7",
        "UPDATE liteq_jobs SET options = NULL",
        "UPDATE liteq_jobs SET options = CAST(options || x'00' AS BLOB)",
        "UPDATE liteq_jobs SET options = 'text'",
        "UPDATE liteq_tasks SET name = 'watch' WHERE name = 'add'",
        "UPDATE liteq_queues SET name = 'mail'",
    ],
)
def test_a_row_that_was_altered_by_hand_is_refused(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "queue.db"
    ran: list[object] = []
    with Queue(path, signing_key=KEY) as queue:
        queue.task(name="add")(ran.append).delay(1)
    raw = sqlite3.connect(path)
    raw.execute(statement)
    raw.commit()
    raw.close()
    with Queue(path, signing_key=KEY) as queue:
        queue.task(name="add")(ran.append)
        queue.task(name="watch")(ran.append)
        job = Bench(queue).run()
    assert ran == []
    assert (job.state, job.finished) == (FAILURE, True)
    assert "SecurityError" in (job.reason or "")


# ---- the life of a signed job ----------------------------------------------------------------------------


def test_retries_crashes_and_putting_back_keep_the_signature_good(queue: Queue) -> None:
    outcomes = [ValueError("once"), ValueError("twice"), None]

    @queue.task(name="flaky", autoretry_for=(ValueError,), max_retries=1, default_retry_delay=0)
    def flaky() -> str:
        error = outcomes.pop(0)
        if error is not None:
            raise error
        return "done"

    result = flaky.delay()
    bench = Bench(queue)
    assert bench.run().state == RETRY
    crashed = decide(bench.claim(), Crashed(b"", "it crashed"), time.time(), random.random)
    queue.transport.settle(bench.holder, [crashed], time.time())
    assert bench.run(bench.claim(time.time() + 10)).state == FAILURE
    assert queue.transport.requeue([result.id], time.time()) == [True]
    assert bench.run().state == SUCCESS
    assert result.get(timeout=5) == "done"


def test_a_replayed_job_runs_again_as_is_documented(queue: Queue, bench: Bench) -> None:
    queue.tasks["add"].delay(1)
    first = bench.run()
    again = NewJob(first.id, first.task, first.payload, options=first.options)
    assert queue.transport.enqueue([again], time.time()) == [True]
    assert bench.run().state == SUCCESS


# ---- which key -------------------------------------------------------------------------------------------


def test_the_key_is_that_of_the_tasks_own_queue(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with Queue(path, signing_key=KEY) as signing, Queue(path) as trusting:
        signing.task(name="strict")(lambda: None)
        trusting.task(name="lax")(lambda: None)
        trusting.transport.enqueue([NewJob("1", "strict", b""), NewJob("2", "lax", b"\x92\x90\x80")], 0.0)
        tasks = collect_tasks(str(path))
        executor = Executor({name: tasks[name] for name in ("strict", "lax")}, signing.transport)
        holder = signing.transport.register(WorkerInfo("w", "host", 1, 1), 60.0, time.time())
        request = ClaimRequest({"strict": 1, "lax": 1})
        states = {}
        for job in signing.transport.claim(holder, request, time.time()):
            decided = executor.run(job)
            assert decided is not None
            states[job.task] = decided.state
    assert states == {"strict": FAILURE, "lax": SUCCESS}


def test_of_two_tasks_of_one_name_that_of_the_workers_own_store_and_of_a_key_is_taken(tmp_path: Path) -> None:
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    queues = [
        Queue(there, signing_key=KEY),
        Queue(here),
        Queue(here, signing_key=KEY),
        Queue(here),
        Queue(there),
    ]
    for queue in queues:
        queue.task(name="same name")(print)
    assert collect_tasks(str(here))["same name"].store is queues[2].store
    assert collect_tasks(str(there))["same name"].store is queues[0].store
    assert collect_tasks(str(there), queues[4].registry)["same name"].store is queues[4].store


# ---- what is not signed ----------------------------------------------------------------------------------


def test_a_queue_with_a_key_imports_nothing_that_a_result_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from liteq.failure import encode_failure

    (tmp_path / "named_by_a_result.py").write_text("class FoundError(Exception): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    kind = type("FoundError", (Exception,), {"__module__": "named_by_a_result"})
    kinds = {}
    for name, key in (("signing", KEY), ("trusting", None)):
        with Queue(tmp_path / f"{name}.db", signing_key=key) as queue:
            result = queue.task(name="add")(lambda: None).delay()
            raw = sqlite3.connect(tmp_path / f"{name}.db")
            raw.execute(
                "UPDATE liteq_jobs SET stage = 3, state = 'FAILURE', result = ?", (encode_failure(kind("x")),)
            )
            raw.commit()
            raw.close()
            kinds[name] = type(result.result), "named_by_a_result" in sys.modules
    monkeypatch.delitem(sys.modules, "named_by_a_result")
    assert kinds["signing"] == (TaskError, False)
    assert (kinds["trusting"][0].__name__, kinds["trusting"][1]) == ("FoundError", True)


def test_a_queue_shows_its_key_nowhere(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.db", signing_key=[KEY, OLD])
    task = queue.task(name="add")(lambda x: x)
    with queue:
        result = task.delay(1)
        shown = [repr(each) for each in (queue, queue.settings, queue.store, task, result, task.s(1))]
        shown += [repr(queue.settings.transport_settings()), repr(queue.transport.describe())]
        found = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        assert found
    for key in (KEY, OLD):
        assert not [text for text in shown if key in text]
        assert not [content for content in found if key.encode() in content]
