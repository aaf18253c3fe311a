"""`q.schedules`: what can be read of schedules, and done to them while programs run."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from liteq import (
    ConfigurationError,
    DuplicateScheduleError,
    NotSupportedError,
    PayloadTooLargeError,
    Queue,
    ScheduleError,
    SignatureError,
    State,
    StoreBusyError,
    Task,
    UnknownScheduleError,
    UnknownTaskError,
    crontab,
    every,
)
from liteq.app.guard import importing
from liteq.app.reconciling import reconcile_declared
from liteq.app.schedule_info import info_of
from liteq.calls.options import decode_options
from liteq.codec.signing import template_id
from liteq.errors import ImportGuardError
from liteq.firing import Policy
from liteq.job import NewJob
from liteq.schedule import encode
from liteq.timetable import ScheduleRecord


@pytest.fixture
def queue() -> Iterator[Queue]:
    with Queue("memory://", timezone="Europe/Berlin") as queue:
        yield queue


@pytest.fixture
def report(queue: Queue) -> Task[..., Any]:
    @queue.task(name="shop.report")
    def report(kind: str = "short", copies: int = 1) -> None: ...

    return report


@pytest.fixture
def nightly(queue: Queue, report: Task[..., Any]) -> str:
    queue.schedules.add("0 3 * * *", report.s("long"), name="nightly", queue="slow", priority=4)
    return "nightly"


def record_of(queue: Queue, name: str) -> ScheduleRecord:
    (record,) = queue.transport.schedules([name])
    return record


def job_of(queue: Queue, name: str) -> NewJob:
    job = record_of(queue, name).job
    assert job is not None
    return job


class Now:
    """A schedule of the user's own."""

    def next_after(self, t: datetime) -> datetime:
        return t + timedelta(hours=1)


# ---- adding and reading ----------------------------------------------------------------------------


def test_what_is_added_is_listed_with_all_about_it(queue: Queue, report: Task[..., Any], nightly: str):
    info = queue.schedules.get(nightly)
    assert (info.name, info.task, info.args, info.kwargs) == (nightly, "shop.report", ("long",), {})
    assert (info.queue, info.priority, info.runs, info.last_run) == ("slow", 4, 0, None)
    assert (info.paused, info.broken, info.module, info.status) == (False, None, None, "active")
    assert info.policy == Policy()
    assert info.next_run is not None
    assert (info.next_run.hour, str(info.next_run.tzinfo)) == (3, "Europe/Berlin")
    assert info.description == str(info.schedule)


def test_schedules_are_counted_iterated_and_found(queue: Queue, report: Task[..., Any], nightly: str):
    queue.schedules.add(timedelta(minutes=5), report, kwargs={"copies": 2})
    assert len(queue.schedules) == 2
    assert [each.name for each in queue.schedules] == ["nightly", "shop.report(copies=2)"]
    assert queue.schedules.list() == list(queue.schedules)
    assert queue.schedules[nightly] == queue.schedules.get(nightly)
    assert nightly in queue.schedules
    assert "other" not in queue.schedules
    assert 3 not in queue.schedules


def test_a_name_that_is_not_there_is_no_key_and_the_message_is_a_sentence(queue: Queue, nightly: str):
    with pytest.raises(KeyError) as caught:
        queue.schedules["nightyl"]
    sentence = "There is no schedule 'nightyl' in memory://. Did you mean 'nightly'?"
    assert (type(caught.value), str(caught.value)) == (UnknownScheduleError, sentence)


def test_a_running_scheduler_says_of_which_store_it_is(queue: Queue):
    with queue.start_scheduler() as scheduler:
        assert repr(scheduler) == "<Scheduler of memory://, running>"
    assert repr(scheduler) == "<Scheduler of memory://, stopped>"


def test_an_interval_begins_when_it_is_added(queue: Queue, report: Task[..., Any]):
    before = datetime.now(UTC)
    info = queue.schedules.add(60, report.s())
    after = datetime.now(UTC)
    assert info.next_run is not None
    minute, rounding = timedelta(seconds=60), timedelta(milliseconds=1)
    assert before + minute - rounding <= info.next_run <= after + minute


def test_new_times_go_by_the_clock_that_the_schedule_has_had(queue: Queue, report: Task[..., Any]):
    queue.schedules.add(crontab(hour=3, minute=0, timezone="Asia/Tokyo"), report.s(), name="x")
    assert str(queue.schedules.change("x", schedule="0 4 * * *").schedule) == "cron 0 4 * * * (Asia/Tokyo)"
    changed = queue.schedules.change("x", schedule="0 5 * * *", timezone="Europe/Paris")
    assert str(changed.schedule) == "cron 0 5 * * * (Europe/Paris)"


def test_a_second_one_of_the_same_name_is_refused(queue: Queue, report: Task[..., Any], nightly: str):
    with pytest.raises(DuplicateScheduleError, match="'nightly'"):
        queue.schedules.add(60, report.s(), name=nightly)


LARGE = {"x": "x" * (1 << 20)}


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (UnknownTaskError, "'shop.reprot'.*'shop.report'", lambda q, t: q.schedules.add(1, "shop.reprot")),
        (ScheduleError, "never run", lambda q, t: q.schedules.add(datetime(2001, 1, 1), t.s())),
        (ScheduleError, "never run", lambda q, t: q.schedules.add(1, t.s(), end=datetime(2001, 1, 1))),
        (
            ScheduleError,
            r"every 1 second has no tick to come before its end, 2001-01-01 00:00:00\+00:00\.$",
            lambda q, t: q.schedules.add(1, t.s(), end=datetime(2001, 1, 1, tzinfo=UTC)),
        ),
        (ScheduleError, "object of your own", lambda q, t: q.schedules.add(Now(), t.s())),
        (SignatureError, "too many", lambda q, t: q.schedules.add(1, t.s(1, 2, 3))),
        (ConfigurationError, "overlap", lambda q, t: q.schedules.add(1, t.s(), overlap="forbid")),
        (UnknownScheduleError, "'nightyl'.*'nightly'", lambda q, t: q.schedules.get("nightyl")),
        (UnknownScheduleError, "'x'", lambda q, t: q.schedules.pause("x")),
        (UnknownScheduleError, "'x'", lambda q, t: q.schedules.resume("x")),
        (UnknownScheduleError, "'x'", lambda q, t: q.schedules.run_now("x")),
        (UnknownScheduleError, "'x'", lambda q, t: q.schedules.remove("x")),
        (UnknownScheduleError, "'x'", lambda q, t: q.schedules.change("x", schedule=1)),
        (ConfigurationError, "name", lambda q, t: q.schedules.get(3)),
        (ScheduleError, "no schedule", lambda q, t: q.schedules.change("nightly", schedule=[1])),
        (ScheduleError, "object of your own", lambda q, t: q.schedules.change("nightly", schedule=Now())),
        (ScheduleError, "never", lambda q, t: q.schedules.change("nightly", schedule=datetime(2001, 1, 1))),
        (SignatureError, "too many", lambda q, t: q.schedules.change("nightly", args=(1, 2, 3))),
        (ConfigurationError, "'catchup'", lambda q, t: q.schedules.change("nightly", catchup="all")),
        (ConfigurationError, "'nam'.*'name'", lambda q, t: q.schedules.add(1, t.s(), nam="x")),
        (ConfigurationError, "'schedul'.*'schedule'", lambda q, t: q.schedules.change("nightly", schedul=1)),
        (ConfigurationError, "'id'.$", lambda q, t: q.schedules.change("nightly", id="x")),
        (ConfigurationError, "change the name of.*add", lambda q, t: q.schedules.change("nightly", name="x")),
        (ConfigurationError, "change the task of.*add", lambda q, t: q.schedules.change("nightly", task="x")),
        (ConfigurationError, "'task_idd'.$", lambda q, t: q.schedules.change("nightly", task_idd="x")),
        (ConfigurationError, "'eta': a sched", lambda q, t: q.schedules.change("nightly", eta=datetime.max)),
        (ConfigurationError, "together", lambda q, t: q.schedules.change("nightly", timezone="UTC")),
        (PayloadTooLargeError, "headers take", lambda q, t: q.schedules.add(1, t.s(), headers=LARGE)),
        (PayloadTooLargeError, "headers take", lambda q, t: q.schedules.change("nightly", headers=LARGE)),
    ],
)
def test_what_cannot_be_is_refused_at_the_call_and_changes_nothing(
    queue: Queue,
    report: Task[..., Any],
    nightly: str,
    error: type[Exception],
    words: str,
    call: Callable[..., object],
):
    before = queue.transport.schedules()
    with pytest.raises(error, match=words):
        call(queue, report)
    assert queue.transport.schedules() == before


def test_arguments_that_are_too_large_are_refused_also_where_a_task_is_known_by_name_only(tmp_path: Path):
    with Queue(tmp_path / "queue.db") as elsewhere:

        @elsewhere.task(name="named")
        def named(x: str = "") -> None: ...

        elsewhere.schedules.add(60, named.s(), name="mine")
        (before,) = elsewhere.transport.schedules()
    del elsewhere, named
    with Queue(tmp_path / "queue.db") as queue:
        with pytest.raises(PayloadTooLargeError, match="arguments of named take"):
            queue.schedules.change("mine", args=(LARGE["x"],))
        assert queue.transport.schedules() == [before]


def test_a_module_changes_no_schedules_while_a_worker_imports_it(queue: Queue, nightly: str):
    for call in (
        lambda: queue.schedules.add(1, "shop.report"),
        lambda: queue.schedules.pause(nightly),
        lambda: queue.schedules.remove(nightly),
        lambda: queue.schedules.run_now(nightly),
    ):
        with importing(), pytest.raises(ImportGuardError, match=r"q\.schedules\."):
            call()


# ---- changing --------------------------------------------------------------------------------------


def test_what_is_not_given_stays_as_it_is(queue: Queue, nightly: str):
    before = queue.schedules.get(nightly)
    after = queue.schedules.change(nightly, priority=9)
    assert (after.priority, after.queue, after.args) == (9, "slow", ("long",))
    assert (after.schedule, after.next_run, after.policy) == (before.schedule, before.next_run, before.policy)


def test_times_arguments_and_policies_can_be_changed(queue: Queue, nightly: str):
    after = queue.schedules.change(
        nightly, schedule=60, args=("short",), kwargs={"copies": 3}, max_runs=5, catch_up="all"
    )
    assert after.description == "every 1 minute"
    assert (after.args, after.kwargs) == (("short",), {"copies": 3})
    assert after.policy == Policy(max_runs=5, catch_up="all")
    assert queue.schedules.get(nightly) == after
    again = queue.schedules.change(nightly, max_runs=None)
    assert again.policy == Policy(catch_up="all")
    assert again.next_run == after.next_run


def test_a_change_keeps_what_it_has_done(queue: Queue, nightly: str):
    record = record_of(queue, nightly)
    queue.transport.save_schedules([replace(record, last_run=1.0, runs=7, last_job="j")])
    after = queue.schedules.change(nightly, schedule=60)
    assert (after.runs, after.last_job) == (7, "j")
    assert after.last_run == datetime.fromtimestamp(1.0, UTC)


def test_a_schedule_that_has_had_all_its_runs_has_ended(queue: Queue, nightly: str):
    queue.transport.save_schedules([replace(record_of(queue, nightly), runs=7)])
    after = queue.schedules.change(nightly, max_runs=7)
    assert (after.next_run, after.status) == (None, "ended")
    assert queue.schedules.change(nightly, max_runs=8).status == "active"


def test_paused_it_has_no_next_run_and_resumed_it_goes_on_from_now(queue: Queue, report: Task[..., Any]):
    queue.schedules.add(60, report.s(), name="x")
    assert queue.schedules.pause("x").status == "paused"
    assert queue.transport.next_tick() is None
    long_ago = replace(record_of(queue, "x"), next_run=1000.0)
    queue.transport.save_schedules([long_ago])
    after = queue.schedules.resume("x")
    assert after.next_run is not None
    assert after.next_run > datetime.now(UTC)


def test_what_another_queue_declares_wrongly_by_now_does_not_stop_it(queue: Queue, nightly: str):
    entry: dict[str, Any] = {"task": "shop.report", "schedule": 10}
    with Queue("memory://") as other:
        other.conf.beat_schedule = {nightly: entry}
        entry.update(schedule=-1)
        queue.schedules.pause(nightly)
        assert queue.schedules.resume(nightly).status == "active"
        entry.update(schedule=10)


def test_resuming_what_is_not_paused_changes_nothing(queue: Queue, nightly: str):
    before = record_of(queue, nightly)
    queue.schedules.resume(nightly)
    assert record_of(queue, nightly) == before


def test_removed_it_is_gone_and_its_jobs_are_not(queue: Queue, nightly: str):
    result = queue.schedules.run_now(nightly)
    queue.schedules.remove(nightly)
    assert nightly not in queue.schedules
    assert result.exists()


def test_run_now_enqueues_its_call_at_once_and_leaves_its_ticks_alone(queue: Queue, nightly: str):
    queue.schedules.change(nightly, expires=60)
    before = record_of(queue, nightly)
    result = queue.schedules.run_now(nightly)
    (job,) = queue.transport.get([result.id])
    assert job is not None
    assert (result.status, job.task, job.queue, job.priority) == (State.PENDING, "shop.report", "slow", 4)
    assert decode_options(job.options).headers == {"schedule": nightly}
    assert job.expires is not None
    assert 0 < job.expires - job.enqueued <= 61
    assert record_of(queue, nightly) == before


def test_what_others_change_meanwhile_is_not_lost(queue: Queue, nightly: str):
    transport = queue.transport
    save, left = transport.save_schedules, [3]

    def slow_save(records: list[ScheduleRecord]) -> list[bool]:
        if left[0]:
            left[0] -= 1
            there = record_of(queue, nightly)
            save([replace(there, runs=there.runs + 1)])
        return save(records)

    transport.save_schedules = slow_save  # type: ignore[method-assign, assignment]
    after = queue.schedules.pause(nightly)
    assert (after.paused, after.runs) == (True, 3)
    left[0] = 10**9
    with pytest.raises(StoreBusyError, match="kept changing"):
        queue.schedules.resume(nightly)


# ---- broken, and of one's own ----------------------------------------------------------------------


def test_a_broken_one_says_why_and_cannot_run(queue: Queue):
    queue.add_periodic_task(10, "shop.nothing", name="x")
    reconcile_declared(queue.transport, queue.url, queue)
    info = queue.schedules.get("x")
    assert (info.status, info.next_run, info.args) == ("broken", None, None)
    assert info.module == __name__
    for call in (
        lambda: queue.schedules.run_now("x"),
        lambda: queue.schedules.change("x", args=(1,)),
    ):
        with pytest.raises(ScheduleError, match=r"shop\.nothing"):
            call()


def test_one_that_broke_while_it_ran_is_tried_again_when_it_is_resumed(queue: Queue, nightly: str):
    queue.transport.save_schedules([replace(record_of(queue, nightly), broken="It raised.")])
    assert queue.schedules.get(nightly).next_run is None
    after = queue.schedules.resume(nightly)
    assert (after.broken, after.status) == (None, "active")


def test_an_object_of_ones_own_is_listed_by_its_description_and_resumed_where_it_is_declared(
    queue: Queue, report: Task[..., Any]
):
    queue.add_periodic_task(Now(), report.s(), name="x")
    reconcile_declared(queue.transport, queue.url, queue)
    info = queue.schedules.get("x")
    assert info.schedule is None
    assert "Now" in info.description
    assert info.next_run is not None
    queue.schedules.pause("x")
    assert queue.schedules.resume("x").status == "active"


def test_what_cannot_be_read_is_listed_all_the_same():
    record = ScheduleRecord(
        name="x",
        task="t",
        spec="nonsense",
        policy="nonsense",
        job=NewJob("", "t", b"\xc1"),
        next_run=1e30,
        last_run=1.0,
    )
    info = info_of(record)
    assert (info.schedule, info.description, info.policy, info.args, info.kwargs) == (
        None,
        "nonsense",
        None,
        None,
        None,
    )
    assert info.next_run is None
    assert info.last_run == datetime.fromtimestamp(1.0, UTC)


# ---- with a signing key ----------------------------------------------------------------------------


def test_with_a_key_what_is_added_changed_and_run_is_signed(tmp_path: Path):
    with Queue(tmp_path / "queue.db", signing_key="k" * 16) as queue:

        @queue.task(name="t")
        def t(x: int = 0) -> None: ...

        signer = queue.settings.signer
        assert signer is not None
        queue.schedules.add(60, t.s(), name="x")
        for change in ({}, {"schedule": 30}, {"args": (1,)}, {"queue": "other"}, {"max_runs": 5}):
            queue.schedules.change("x", **change)
            record, job = record_of(queue, "x"), job_of(queue, "x")
            assert signer.refusal(job._replace(id=template_id("x", record.spec, record.policy))) is None
        result = queue.schedules.run_now("x")
        (stored,) = queue.transport.get([result.id])
        assert stored is not None
        job = job_of(queue, "x")._replace(id=result.id, options=stored.options)
        assert signer.refusal(job) is None


def test_without_the_key_it_can_be_paused_but_neither_changed_nor_run(tmp_path: Path):
    with Queue(tmp_path / "queue.db", signing_key="k" * 16) as owner:

        @owner.task(name="signed.task")
        def t(x: int = 0) -> None: ...

        owner.schedules.add(60, t.s(), name="x")
        record = record_of(owner, "x")
        forged = replace(record, spec=encode(every(1, anchor=0.0, timezone="UTC")))
        with Queue(tmp_path / "queue.db") as other:
            other.registry.tasks["signed.task"] = other.task(name="signed.task")(lambda x=0: None)
            for change in ({"schedule": 30}, {"args": (1,)}):
                with pytest.raises(NotSupportedError, match="is signed"):
                    other.schedules.change("x", **change)  # type: ignore[arg-type]
            with pytest.raises(NotSupportedError, match="is signed"):
                other.schedules.run_now("x")
            assert other.schedules.pause("x").paused
            other.schedules.resume("x")
            there = record_of(other, "x")
            other.transport.save_schedules([replace(forged, revision=there.revision)])
        with pytest.raises(ScheduleError, match="signature does not match"):
            owner.schedules.run_now("x")


def test_an_eager_queue_declares_and_stores_nothing():
    queue = Queue("memory://", eager=True)
    queue.add_periodic_task(1, "t", name="x")
    with pytest.raises(NotSupportedError, match="eager"):
        queue.schedules.list()


# ---- inside a transaction --------------------------------------------------------------------------

CHANGES: dict[str, tuple[Callable[[Queue], object], Callable[[Queue], object]]] = {
    "paused and changed": (
        lambda q: (q.schedules.pause("mine"), q.schedules.change("mine", schedule=5)),
        lambda q: (q.schedules.get("mine").status, q.schedules.get("mine").description),
    ),
    "changed twice": (
        lambda q: (q.schedules.change("mine", jitter=1), q.schedules.change("mine", schedule=5)),
        lambda q: (q.schedules.get("mine").policy.jitter, q.schedules.get("mine").description),
    ),
    "paused and resumed": (
        lambda q: (q.schedules.pause("mine"), q.schedules.resume("mine")),
        lambda q: q.schedules.get("mine").status,
    ),
    "added and paused": (
        lambda q: (q.schedules.add(5, "named", name="other"), q.schedules.pause("other")),
        lambda q: q.schedules.get("other").status,
    ),
    "removed and added": (
        lambda q: (q.schedules.remove("mine"), q.schedules.add(5, "named", name="mine")),
        lambda q: q.schedules.get("mine").description,
    ),
    "removed": (
        lambda q: q.schedules.remove("mine"),
        lambda q: ("mine" in q.schedules, len(q.schedules), q.schedules.list()),
    ),
    "added": (
        lambda q: q.schedules.add(5, "named", name="other"),
        lambda q: [info.name for info in q.schedules],
    ),
}
RESULTS: dict[str, object] = {
    "paused and changed": ("paused", "every 5 seconds"),
    "changed twice": (1.0, "every 5 seconds"),
    "paused and resumed": "active",
    "added and paused": "paused",
    "removed and added": "every 5 seconds",
    "removed": (False, 0, []),
    "added": ["mine", "other"],
}


@pytest.fixture
def file_queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "queue.db") as queue:

        @queue.task(name="named")
        def named() -> None: ...

        queue.schedules.add(60, "named", name="mine")
        yield queue


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_transaction_has_changed_is_what_it_reads_and_what_it_commits(file_queue: Queue, what: str):
    change, look = CHANGES[what]
    with file_queue.transaction():
        change(file_queue)
        assert look(file_queue) == RESULTS[what]
    assert look(file_queue) == RESULTS[what]


@pytest.mark.parametrize("what", CHANGES)
def test_a_transaction_that_is_rolled_back_has_changed_nothing(file_queue: Queue, what: str):
    before = file_queue.transport.schedules()
    with suppress(ZeroDivisionError), file_queue.transaction():
        CHANGES[what][0](file_queue)
        raise ZeroDivisionError
    assert file_queue.transport.schedules() == before


def test_what_a_transaction_has_removed_is_not_there_to_be_got_or_removed_again(file_queue: Queue):
    with file_queue.transaction():
        file_queue.schedules.remove("mine")
        for call in (file_queue.schedules.get, file_queue.schedules.pause, file_queue.schedules.remove):
            with pytest.raises(UnknownScheduleError):
                call("mine")


def test_ticks_are_read_from_the_transaction_too(file_queue: Queue):
    (record,) = file_queue.transport.schedules()
    with file_queue.transaction():
        file_queue.transport.save_schedules([replace(record, next_run=5.0)])
        assert file_queue.transport.next_tick() == 5.0
        assert [due.next_run for due in file_queue.transport.due_schedules(6.0)] == [5.0]


def test_how_the_user_reads_rows_and_texts_in_a_transaction_is_the_users_own(file_queue: Queue):
    (record,) = file_queue.transport.schedules()

    def row(cursor: sqlite3.Cursor, values: tuple[object, ...]) -> object:
        return {"values": values}

    with file_queue.transaction() as connection:
        connection.row_factory = row
        connection.text_factory = bytes
        assert file_queue.transport.schedules() == [record]
        assert file_queue.transport.next_tick() == record.next_run
        assert file_queue.schedules.pause("mine").paused
        assert connection.execute("SELECT 'x'").fetchone() == {"values": (b"x",)}
    assert file_queue.schedules.get("mine").paused
