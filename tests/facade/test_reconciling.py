"""Bringing what programs declare into the store: what is added, changed, removed, and left alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from liteq import Queue, StoreBusyError, Task, every
from liteq.app.attribution import is_loaded
from liteq.app.comparing import Wanted, diff
from liteq.app.reconciling import reconcile, reconcile_declared
from liteq.codec import decode_call, get_codec
from liteq.codec.protection import Protection
from liteq.codec.signing import make_signer, template_id
from liteq.firing import Policy, decode_policy
from liteq.job import NewJob
from liteq.schedule import Schedule, as_schedule, decode
from liteq.timetable import ScheduleRecord
from liteq.transports.sqlite.transport import SqliteTransport

NOW = 1_800_000_000.0
JOB = NewJob("", "shop.report", b"payload")


def wanted(
    name: str = "mine", schedule: object = 60.0, policy: Policy | None = None, **changes: Any
) -> Wanted:
    made = Wanted(
        name,
        "shop.report",
        as_schedule(schedule).in_zone(UTC),
        policy or Policy(),
        JOB,
        Protection(),
        "shop@/srv",
        f"{schedule} {policy}",
    )
    return made._replace(**changes)


def stored(*declared: Wanted, now: float = NOW) -> list[ScheduleRecord]:
    saved = diff([], declared, lambda _: False, now).save
    return [replace(record, revision=1) for record in saved]


def nothing_is_loaded(owner: str) -> bool:
    return False


# ---- the decision ----------------------------------------------------------------------------------


def test_what_is_new_is_added_and_its_interval_begins_now():
    (record,) = stored(wanted())
    assert record.next_run == NOW + 60
    assert decode(record.spec) == every(60, anchor=NOW, timezone="UTC")
    assert (record.module, record.created, record.job, record.paused) == ("shop@/srv", NOW, JOB, False)


@pytest.mark.parametrize("fraction", [0.7450907, 0.3786926, 0.9999999, 0.0000004, 0.123])
def test_an_interval_has_its_first_tick_one_interval_after_it_begins(fraction: float):
    (record,) = stored(wanted(), now=NOW + fraction)
    assert record.next_run == pytest.approx(NOW + fraction + 60, abs=0.002)


def test_what_is_declared_as_before_is_left_as_it_is_with_all_that_was_changed_since():
    (record,) = stored(wanted())
    changed = replace(record, paused=True, spec="other", policy="other", runs=5, last_run=NOW + 1)
    assert diff([record], [wanted()], nothing_is_loaded, NOW + 1000) == ([], [])
    assert diff([changed], [wanted()], nothing_is_loaded, NOW + 1000) == ([], [])


def test_a_changed_declaration_is_stored_and_goes_on_from_the_last_run():
    (record,) = stored(wanted())
    before = replace(record, paused=True, runs=5, last_run=NOW + 240, last_job="j", revision=7)
    (after,) = diff([before], [wanted(schedule="0 * * * *")], nothing_is_loaded, NOW + 250).save
    assert (after.runs, after.last_run, after.last_job, after.revision) == (5, NOW + 240, "j", 7)
    assert (after.paused, after.created) == (True, NOW)
    assert after.next_run == NOW + 3600 - NOW % 3600


def test_an_interval_whose_call_is_changed_does_not_begin_anew():
    (record,) = stored(wanted())
    job = JOB._replace(payload=b"other")
    (after,) = diff([record], [wanted(job=job, digest="x")], nothing_is_loaded, NOW + 59).save
    assert (after.job, after.spec, after.next_run) == (job, record.spec, record.next_run)


def test_what_was_missed_is_still_missed_when_only_the_call_has_changed():
    (record,) = stored(wanted())
    (after,) = diff([record], [wanted(digest="x")], nothing_is_loaded, NOW + 86400).save
    assert after.next_run == NOW + 60


def test_runs_count_on_when_the_limit_is_changed():
    (record,) = stored(wanted(policy=Policy(max_runs=5)))
    ended = replace(record, runs=5, next_run=None)
    for most, next_run in ((4, None), (6, NOW + 120)):
        again = wanted(policy=Policy(max_runs=most))
        (after,) = diff([ended], [again], nothing_is_loaded, NOW + 100).save
        assert after.next_run == next_run


def test_what_loaded_code_declares_no_more_is_removed_and_all_else_is_left_alone():
    records = [
        *stored(wanted("gone"), wanted("kept"), wanted("others", owner="other@/srv")),
        replace(stored(wanted("at run time"))[0], module=None),
    ]
    changes = diff(records, [wanted("kept")], lambda owner: owner == "shop@/srv", NOW)
    assert changes == ([], ["gone"])


def test_a_broken_schedule_is_stored_with_the_reason_and_mended_when_that_is_gone():
    broken = wanted(job=None, broken="No program has registered it.")
    (record,) = stored(broken)
    assert (record.broken, record.next_run, record.job) == (broken.broken, None, None)
    assert diff([record], [broken], nothing_is_loaded, NOW + 1) == ([], [])
    (after,) = diff([record], [wanted()], nothing_is_loaded, NOW + 1).save
    assert (after.broken, after.next_run, after.job) == (None, NOW + 60, JOB)


def test_who_knows_less_of_a_task_leaves_alone_what_was_stored_by_who_knows_more():
    (with_task,) = stored(wanted(made="t1"))
    (by_name,) = stored(wanted(made="n1"))
    named = wanted(made="n2", job=JOB._replace(queue="default"))
    unknown = wanted(made="-", job=None, broken="Nobody knows it.")
    assert diff([with_task], [named], nothing_is_loaded, NOW) == ([], [])
    for record in (with_task, by_name):
        paused = replace(record, paused=True)
        assert diff([paused], [unknown], nothing_is_loaded, NOW) == ([], [])
    (moved,) = diff([with_task], [unknown._replace(owner="moved@/srv")], nothing_is_loaded, NOW).save
    assert moved == replace(with_task, module="moved@/srv")
    for less in (named, unknown):
        (after,) = diff([with_task], [less._replace(digest="other")], nothing_is_loaded, NOW).save
        assert (after.job, after.broken) == (less.job, less.broken)


def test_who_knows_more_of_a_task_makes_its_call_anew_also_when_the_task_has_changed():
    job = JOB._replace(queue="slow")
    (unknown,) = stored(wanted(made="-", job=None, broken="Nobody knows it."))
    for before in (unknown, *stored(wanted(made="n1")), *stored(wanted(made="t1"))):
        paused = replace(before, paused=True, runs=5)
        (after,) = diff([paused], [wanted(made="t2", job=job)], nothing_is_loaded, NOW).save
        assert (after.job, after.broken, after.paused, after.runs) == (job, None, True, 5)


def test_who_knows_less_replaces_what_is_not_signed_with_its_key_and_leaves_alone_what_another_has_signed():
    signer = make_signer(b"k" * 16)
    (record,) = stored(wanted(protection=Protection(signer), made="t1"))
    assert record.job is not None
    forged = replace(record, job=record.job._replace(payload=b"evil"))
    named = wanted(made="n1")
    assert diff([record], [named], nothing_is_loaded, NOW) == ([], [])
    (after,) = diff([forged], [named._replace(protection=Protection(signer))], nothing_is_loaded, NOW).save
    assert after.job is not None
    assert after.job.payload == JOB.payload


def test_an_object_that_raises_makes_its_schedule_broken():
    class Wrong:
        def next_after(self, t: datetime) -> datetime:
            raise ZeroDivisionError("no")

    (record,) = stored(wanted(schedule=Wrong()))
    assert record.broken is not None
    assert "ZeroDivisionError: no" in record.broken
    assert record.next_run is None


def test_what_was_made_at_run_time_is_left_alone_by_a_declaration_of_its_name():
    record = replace(stored(wanted(schedule=10))[0], module=None, declaration=None)
    for owner in ("shop@/srv", "shop@/srv\n/srv/shop.py"):
        assert diff([record], [wanted(owner=owner)], lambda _: True, NOW) == ([], [])
    assert diff([record], [], lambda _: True, NOW) == ([], [])


def test_a_schedule_belongs_to_its_module_rather_than_to_a_program_that_runs_it():
    as_program = wanted(owner="shop@/srv\n/srv/shop.py")
    (by_module,), (by_program,) = stored(wanted()), stored(as_program)
    assert diff([by_module], [as_program], nothing_is_loaded, NOW) == ([], [])
    (after,) = diff([by_program], [wanted()], nothing_is_loaded, NOW).save
    assert after.module == "shop@/srv"


def test_with_a_key_what_is_stored_is_signed_and_what_others_wrote_is_replaced():
    signer, other = make_signer(b"k" * 16), make_signer(b"o" * 16)
    assert signer is not None
    (record,) = stored(wanted(protection=Protection(signer)))
    assert record.job is not None
    sealed = record.job._replace(id=template_id("mine", record.spec, record.policy))
    assert signer.refusal(sealed) is None
    assert diff([record], [wanted(protection=Protection(signer))], nothing_is_loaded, NOW) == ([], [])

    forged = replace(record, job=record.job._replace(payload=b"evil"))
    moved = replace(record, spec=record.spec.replace("60000000", "61000000"))
    bare = replace(record, job=JOB)
    for found in (forged, moved, bare, *stored(wanted(protection=Protection(other)))):
        (after,) = diff([found], [wanted(protection=Protection(signer))], nothing_is_loaded, NOW).save
        assert after.job is not None
        assert after.job.payload == JOB.payload
        assert signer.refusal(after.job._replace(id=template_id("mine", after.spec, after.policy))) is None
    (after,) = diff([record], [wanted()], nothing_is_loaded, NOW).save
    assert after.job == JOB


# ---- in a store ------------------------------------------------------------------------------------


class Busy:
    """A store in which somebody else changes a schedule before each of the first saves."""

    def __init__(self, queue: Queue, times: float) -> None:
        self._transport = queue.transport
        self._left = times

    def schedules(self) -> list[ScheduleRecord]:
        return self._transport.schedules()

    def save_schedules(self, records: Sequence[ScheduleRecord]) -> list[bool]:
        if self._left > 0:
            self._left -= 1
            there = self._transport.schedules(["mine"])
            other = there[0] if there else stored(wanted(schedule=5.0))[0]
            self._transport.save_schedules([replace(other, revision=other.revision if there else 0)])
        return self._transport.save_schedules(records)


def test_who_was_faster_is_respected_and_the_change_made_again():
    with Queue("memory://") as queue:
        reconcile(Busy(queue, 3), [wanted()], nothing_is_loaded, lambda: NOW)  # type: ignore[arg-type]
        (record,) = queue.transport.schedules()
        assert decode(record.spec) == every(60, anchor=NOW, timezone="UTC")


class Taken(Busy):
    """A store in which another module takes a schedule over after it was read."""

    def schedules(self) -> list[ScheduleRecord]:
        found = self._transport.schedules()
        if self._left > 0:
            self._left -= 1
            self._transport.save_schedules([replace(found[0], module="theirs@/srv")])
        return found

    def remove_schedules(self, names: Sequence[str], seen: Sequence[int]) -> list[bool]:
        return self._transport.remove_schedules(names, seen)


def test_what_another_module_has_taken_over_meanwhile_is_not_removed():
    with Queue("memory://") as queue:
        queue.transport.save_schedules([replace(stored(wanted())[0], revision=0)])
        reconcile(Taken(queue, 1), [], lambda owner: owner.startswith("shop@"))  # type: ignore[arg-type]
        (record,) = queue.transport.schedules()
        assert record.module == "theirs@/srv"


def test_what_fires_meanwhile_is_removed_all_the_same():
    with Queue("memory://") as queue:
        queue.transport.save_schedules([replace(stored(wanted())[0], revision=0)])
        reconcile(Taken(queue, 3), [], lambda _: True)  # type: ignore[arg-type]
        assert queue.transport.schedules() == []


def test_it_does_not_go_on_for_ever():
    with Queue("memory://") as queue, pytest.raises(StoreBusyError, match="kept changing"):
        reconcile(Busy(queue, 1e9), [wanted()], nothing_is_loaded, lambda: NOW)  # type: ignore[arg-type]


@pytest.fixture
def bring(queue: Queue) -> Callable[[], dict[str, ScheduleRecord]]:
    """Bring into the store what is declared, and return what it has."""

    def bring() -> dict[str, ScheduleRecord]:
        reconcile_declared(queue.transport, queue.url, queue)
        return {record.name: record for record in queue.transport.schedules()}

    return bring


@pytest.fixture
def report(queue: Queue) -> Task[..., Any]:
    @queue.task(name="shop.report", queue="slow", priority=3, max_crashes=1, expires=60)
    def report(kind: str) -> None: ...

    return report


def test_what_each_tick_enqueues_has_the_tasks_options_and_those_of_the_call(
    queue: Queue, report: Task[..., Any], bring: Callable[[], dict[str, ScheduleRecord]]
):
    queue.add_periodic_task(10, report.s("a"), name="plain")
    queue.add_periodic_task(10, report.s("ü"), name="other", priority=9, expires=5, headers={"x": 1})
    found = bring()
    plain, other = found["plain"].job, found["other"].job
    assert plain is not None
    assert other is not None
    assert (plain.id, plain.queue, plain.priority, plain.max_crashes) == ("", "slow", 3, 1)
    assert (plain.eta, plain.expires, plain.options) == (None, None, None)
    assert decode_call(get_codec(plain.codec), plain.payload) == (["a"], {})
    assert decode_policy(found["plain"].policy).expires == 60
    assert decode_policy(found["other"].policy).expires == 5
    assert (other.priority, other.options is None) == (9, False)


def test_a_schedule_of_an_unknown_task_is_broken_and_the_others_go_on(
    queue: Queue, report: Task[..., Any], bring: Callable[[], dict[str, ScheduleRecord]]
):
    queue.conf.beat_schedule = {
        "wrong": {"task": "shop.reprot", "schedule": 10},
        "right": {"task": "shop.report", "schedule": 10, "args": ("a",)},
    }
    found = bring()
    assert found["right"].broken is None
    assert found["wrong"].broken is not None
    assert "'shop.reprot'" in found["wrong"].broken
    assert "'shop.report'" in found["wrong"].broken
    assert found["wrong"].next_run is None


def test_a_task_that_only_the_store_knows_is_called_by_name(tmp_path: Path):
    with Queue(tmp_path / "queue.db") as elsewhere:
        task = elsewhere.task(_in_this_module)
        task.delay(1)
        name = task.name
    del elsewhere, task
    with Queue(tmp_path / "queue.db", default_queue="lane") as queue:
        queue.add_periodic_task(10, name, args=(1,))
        reconcile_declared(queue.transport, queue.url, queue)
        (record,) = queue.transport.schedules()
        assert record.broken is None
        assert record.job is not None
        assert (record.job.queue, decode_call(get_codec("msgpack"), record.job.payload)) == (
            "lane",
            ([1], {}),
        )


def _in_this_module(x: int) -> None: ...


def test_arguments_that_do_not_fit_a_task_that_came_later_make_it_broken(
    queue: Queue, bring: Callable[[], dict[str, ScheduleRecord]]
):
    queue.add_periodic_task(10, "shop.late", args=(1, 2), name="x")

    @queue.task(name="shop.late")
    def late() -> None: ...

    broken = bring()["x"].broken
    assert broken is not None
    assert "too many positional" in broken


@pytest.mark.usefixtures("script")
def test_removed_declarations_are_removed_and_run_time_changes_survive(
    queue: Queue, report: Task[..., Any], bring: Callable[[], dict[str, ScheduleRecord]]
):
    queue.conf.beat_schedule = {
        name: {"task": "shop.report", "schedule": 10, "args": ("a",)} for name in ("kept", "gone")
    }
    queue.schedules.add(10, report.s("a"), name="at run time")
    bring()
    queue.schedules.change("kept", schedule=20)
    queue.schedules.pause("kept")
    del queue.conf.beat_schedule["gone"]
    found = bring()
    assert set(found) == {"kept", "at run time"}
    assert found["kept"].paused
    assert decode(found["kept"].spec).seconds == 20  # type: ignore[attr-defined]


def test_bringing_it_again_writes_nothing(
    queue: Queue, report: Task[..., Any], bring: Callable[[], dict[str, ScheduleRecord]]
):
    queue.add_periodic_task(timedelta(days=1), report.s("a"))
    assert bring() == bring()


def homed() -> None: ...


def test_where_a_task_lives_is_stored_with_its_schedule_by_whatever_handle(tmp_path: Path):
    with Queue(tmp_path / "queue.db") as queue:
        task = queue.task(name="shop.homed")(homed)
        queue.add_periodic_task(10, task.s(), name="x")
        with SqliteTransport(tmp_path / "queue.db") as transport:
            reconcile_declared(transport, queue.url, queue)
            assert [origin.task for origin in transport.origins()] == ["shop.homed"]


def test_another_time_zone_of_the_queue_does_not_put_an_interval_off():
    (record,) = stored(wanted(schedule=3600))
    moved = wanted(schedule=every(3600, timezone="Europe/Rome"))
    (after,) = diff([record], [moved], nothing_is_loaded, NOW + 1000).save
    assert after.next_run == record.next_run


def test_a_name_that_changes_hands_is_told_of(
    queue: Queue, bring: Callable[[], dict[str, ScheduleRecord]], caplog: pytest.LogCaptureFixture
):
    queue.add_periodic_task(10, "shop.report", name="x")
    (record,) = bring().values()
    theirs = replace(record, module="theirs@/srv", declaration="theirs")
    assert queue.transport.save_schedules([theirs]) == [True]
    caplog.clear()
    bring()
    assert "Schedule 'x' was declared by theirs so far, and runs now as" in caplog.text


def test_a_declaration_whose_name_was_taken_at_run_time_is_told_of(
    queue: Queue,
    report: Task[..., Any],
    bring: Callable[[], dict[str, ScheduleRecord]],
    caplog: pytest.LogCaptureFixture,
):
    queue.schedules.add(20, report.s("b"), name="x")
    (before,) = queue.transport.schedules()
    queue.add_periodic_task(10, report.s("a"), name="x")
    assert bring() == {"x": before}
    (told,) = caplog.messages
    assert told.startswith(
        "Schedule 'x' was added at run time and is left alone; what test_reconciling declares"
    )
    caplog.clear()
    queue.schedules.remove("x")
    assert bring()["x"].module is not None
    assert caplog.messages == []


def test_a_schedule_that_will_never_run_is_told_of(
    queue: Queue,
    report: Task[..., Any],
    bring: Callable[[], dict[str, ScheduleRecord]],
    caplog: pytest.LogCaptureFixture,
):
    queue.add_periodic_task(datetime(2001, 1, 1), report.s("a"), name="x")
    bring()
    assert "Schedule 'x' has no tick to come, and will not run." in caplog.text


def test_a_schedule_keeps_the_zone_that_its_queue_had(tmp_path: Path):
    with Queue(tmp_path / "queue.db", timezone="Asia/Tokyo") as queue:
        queue.add_periodic_task("0 3 * * *", _named(queue), name="x")
        reconcile_declared(queue.transport, queue.url, queue)
    with Queue(tmp_path / "queue.db") as reader:
        schedule = reader.schedules.get("x").schedule
        assert isinstance(schedule, Schedule)
        assert str(schedule.timezone) == "Asia/Tokyo"


def _named(queue: Queue) -> Task[..., Any]:
    @queue.task(name="named")
    def named() -> None: ...

    return named


def test_code_of_a_moved_project_is_known_by_its_module_and_that_of_another_is_not(tmp_path: Path):
    here = Path(__file__).parent
    assert is_loaded(f"{__name__}@{here}")
    assert is_loaded(f"{__name__}@{tmp_path / 'gone'}")
    assert not is_loaded(f"{__name__}@{tmp_path}")
    assert not is_loaded(f"{__name__}@{here}\n/some/program.py")
    assert not is_loaded("never_imported@/srv")
    assert not is_loaded("__main__@\n-")


def test_what_a_moved_program_has_declared_is_known_by_the_programs_name_and_its_module(
    tmp_path: Path, script: str
):
    gone, there = tmp_path / "gone", tmp_path / "there"
    there.mkdir()
    name, module = Path(script).name, Path(script).stem
    (there / name).touch()
    assert is_loaded(f"{module}@{gone}\n{gone / name}")
    assert is_loaded(f"{module}@{Path(script).parent}\n{gone / name}")
    assert not is_loaded(f"{module}@{there}\n{there / name}")
    assert not is_loaded(f"{module}@{gone}\n{gone / 'other.py'}")
    assert not is_loaded(f"never_imported@{gone}\n{gone / name}")
