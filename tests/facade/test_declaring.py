"""Declaring recurring work: what is taken, what it is called, and what is refused at the call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from liteq import (
    ConfigurationError,
    DuplicateScheduleError,
    EncodingError,
    LiteqError,
    NotSupportedError,
    PayloadTooLargeError,
    Queue,
    ScheduleError,
    SignatureError,
    Task,
    crontab,
    every,
)
from liteq.app.declaring import Declaration
from liteq.app.recurring import Recurring


class Now:
    """A schedule of the user's own."""

    def next_after(self, t: datetime) -> datetime:
        return t + timedelta(hours=1)


class Nameless(tzinfo):
    """A time zone of the user's own."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(hours=1)


@pytest.fixture
def queue() -> Iterator[Queue]:
    with Queue("memory://", timezone="Europe/Berlin") as queue:
        yield queue


@pytest.fixture
def report(queue: Queue) -> Task[..., Any]:
    @queue.task(name="shop.report")
    def report(kind: str = "short", copies: int = 1) -> None: ...

    return report


def declared(queue: Queue) -> dict[str, Recurring]:
    return {each.work.name: each.work for each in queue.declarations.all()}


def only(queue: Queue) -> Recurring:
    (work,) = declared(queue).values()
    return work


# ---- add_periodic_task -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (10.0, every(10)),
        (10, every(10)),
        (timedelta(minutes=2), every(120)),
        (crontab(hour=3, minute=0), crontab(hour=3, minute=0)),
    ],
)
def test_a_schedule_is_seconds_a_timedelta_or_a_crontab_in_the_queues_zone(
    queue: Queue, report: Task[..., Any], given: object, meant: Any
):
    queue.add_periodic_task(given, report.s())
    assert only(queue).schedule == meant.in_zone(queue.settings.timezone)


def test_a_cron_expression_a_datetime_and_an_object_of_ones_own_are_schedules_too(
    queue: Queue, report: Task[..., Any]
):
    for name, given in (("cron", "*/5 * * * *"), ("once", datetime(2090, 1, 1)), ("own", Now())):
        queue.add_periodic_task(given, report.s(), name=name)
    first = datetime(2026, 1, 1, 12, 1, tzinfo=UTC)
    ticks = {name: work.schedule.next_after(first) for name, work in declared(queue).items()}
    assert ticks == {
        "cron": datetime(2026, 1, 1, 12, 5, tzinfo=UTC),
        "once": datetime(2089, 12, 31, 23, tzinfo=UTC),
        "own": datetime(2026, 1, 1, 13, 1, tzinfo=UTC),
    }


def test_declaring_touches_no_file(tmp_path: Path):
    queue = Queue(tmp_path / "queue.db")

    @queue.task(name="t")
    def t() -> None: ...

    queue.add_periodic_task(1, t.s())
    queue.conf.beat_schedule = {"b": {"task": "t", "schedule": 1}}
    assert list(tmp_path.iterdir()) == []


def test_the_default_name_is_the_call(queue: Queue, report: Task[..., Any]):
    queue.add_periodic_task(10, report.s("long", copies=2))
    assert only(queue).name == "shop.report('long', copies=2)"


def test_one_call_at_two_times_needs_no_names(queue: Queue, report: Task[..., Any]):
    queue.add_periodic_task(10, report.s())
    queue.add_periodic_task(20, report.s())
    assert list(declared(queue)) == ["shop.report()", "shop.report() every 20 seconds"]


def test_a_long_call_gets_a_name_of_two_hundred_characters_that_is_its_own(
    queue: Queue, report: Task[..., Any]
):
    queue.add_periodic_task(10, report.s("x" * 1000))
    queue.add_periodic_task(10, report.s("x" * 1001))
    assert [len(name) for name in declared(queue)] == [200, 200]


def test_arguments_come_before_those_of_the_signature_as_in_celery(queue: Queue, report: Task[..., Any]):
    queue.add_periodic_task(10, report.s(3), args=("long",))
    assert only(queue).args == ("long", 3)


def test_options_of_the_signature_count_and_those_of_the_call_win(queue: Queue, report: Task[..., Any]):
    signature = report.options(queue="slow", priority=3).s()
    queue.add_periodic_task(10, signature, priority=5, expires=30, catch_up="all")
    work = only(queue)
    assert work.options == {"queue": "slow", "priority": 5}
    assert (work.policy.expires, work.policy.catch_up) == (30.0, "all")


def test_relative_and_timezone_are_of_the_schedule(queue: Queue, report: Task[..., Any]):
    queue.add_periodic_task(3600, report.s(), relative=True, timezone="Asia/Tokyo")
    assert only(queue).schedule == every(3600, relative=True, timezone="Asia/Tokyo")


def test_a_task_may_be_named_before_there_is_one(queue: Queue):
    queue.add_periodic_task(10, "shop.later", args=[1])
    assert only(queue).task == "shop.later"


def test_periodic_declares_a_task_and_returns_it(queue: Queue):
    @queue.periodic(10, args=("long",), name="mine", overlap="skip")
    @queue.task(name="shop.other")
    def other(kind: str) -> str:
        return kind

    assert other("x") == "x"
    work = only(queue)
    assert (work.name, work.task, work.args, work.policy.overlap) == ("mine", "shop.other", ("long",), "skip")


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (ScheduleError, "is no schedule", lambda q, t: q.add_periodic_task(None, t.s())),
        (ScheduleError, "0", lambda q, t: q.add_periodic_task(0, t.s())),
        (ScheduleError, "-5", lambda q, t: q.add_periodic_task(-5, t.s())),
        (ConfigurationError, "30 2", lambda q, t: q.add_periodic_task("0 0 30 2 *", t.s())),
        (SignatureError, "too many positional", lambda q, t: q.add_periodic_task(1, t.s(1, 2, 3))),
        (SignatureError, "args must be a tuple", lambda q, t: q.add_periodic_task(1, t.s(), "long")),
        (EncodingError, "'kind'", lambda q, t: q.add_periodic_task(1, t.s(object()))),
        (ConfigurationError, "'priorty'.*'priority'", lambda q, t: q.add_periodic_task(1, t.s(), priorty=1)),
        (ConfigurationError, "catch_up.*'one'", lambda q, t: q.add_periodic_task(1, t.s(), catch_up="one")),
        (ConfigurationError, "priority.*70000", lambda q, t: q.add_periodic_task(1, t.s(), priority=70000)),
        (ConfigurationError, "'eta'", lambda q, t: q.add_periodic_task(1, t.s(), eta=datetime.now(UTC))),
        (ConfigurationError, "'countdown'", lambda q, t: q.add_periodic_task(1, t.s().set(countdown=3))),
        (ConfigurationError, "'task_id'", lambda q, t: q.add_periodic_task(1, t.s(), task_id="x")),
        (
            PayloadTooLargeError,
            "headers take",
            lambda q, t: q.add_periodic_task(1, "shop.late", headers={"x": "x" * (1 << 20)}),
        ),
        (NotSupportedError, "'link'", lambda q, t: q.add_periodic_task(1, t.s(), link=t.s())),
        (ScheduleError, "relative", lambda q, t: q.add_periodic_task("* * * * *", t.s(), relative=True)),
        (ConfigurationError, "Nowhere", lambda q, t: q.add_periodic_task(1, t.s(), timezone="Nowhere/X")),
        (
            ConfigurationError,
            "one of its own",
            lambda q, t: q.add_periodic_task(crontab(timezone="Asia/Tokyo"), t.s(), timezone="UTC"),
        ),
        (ConfigurationError, "takes a call", lambda q, t: q.add_periodic_task(1, lambda: None)),
        (ConfigurationError, "immutable", lambda q, t: q.add_periodic_task(1, t.si(), args=(1,))),
        (ConfigurationError, "name", lambda q, t: q.add_periodic_task(1, t.s(), name="")),
        (ConfigurationError, "above @q.task", lambda q, t: q.periodic(1)(len)),
        (ConfigurationError, "another queue", lambda q, t: Queue("memory://").add_periodic_task(1, t.s())),
    ],
)
def test_what_cannot_be_is_refused_at_the_call(
    queue: Queue, report: Task[..., Any], error: type[Exception], words: str, call: Callable[..., object]
):
    with pytest.raises(error, match=words):
        call(queue, report)
    assert declared(queue) == {}


def test_a_zone_that_no_other_process_could_find_is_refused():
    with pytest.raises(ConfigurationError, match="no name by which"):
        Queue("memory://", timezone=Nameless()).add_periodic_task(1, "t")


# ---- two of one name -------------------------------------------------------------------------------


def test_two_schedules_of_one_name_are_refused_with_both_places(queue: Queue, report: Task[..., Any]):
    queue.add_periodic_task(10, report.s(), name="mine")
    first = line() - 1
    with pytest.raises(DuplicateScheduleError) as caught:
        queue.add_periodic_task(20, report.s(), name="mine")
    assert f"line {first}" in str(caught.value)
    assert f"line {first + 3}" in str(caught.value)
    assert only(queue).schedule == every(10).in_zone(queue.settings.timezone)


def test_a_loop_that_gives_one_name_to_different_schedules_is_refused(queue: Queue, report: Task[..., Any]):
    def declare_all() -> None:
        for seconds in (10, 20):
            queue.add_periodic_task(seconds, report.s(), name="mine")

    with pytest.raises(DuplicateScheduleError, match="mine"):
        declare_all()


def test_a_loop_over_arguments_gives_each_a_name_of_its_own(queue: Queue, report: Task[..., Any]):
    for kind in ("long", "short"):
        queue.add_periodic_task(10, report.s(kind))
    assert len(declared(queue)) == 2


def test_the_same_lines_run_again_replace_what_they_declared(queue: Queue, report: Task[..., Any]):
    code = compile("queue.add_periodic_task(seconds, report.s(), name='mine')", "module.py", "exec")
    for seconds in (10, 20):
        facts = {"__name__": "reloaded", "__spec__": object(), "queue": queue, "report": report}
        exec(code, {**facts, "seconds": seconds})
    assert only(queue).schedule == every(20).in_zone(queue.settings.timezone)


def test_two_queues_on_one_file_have_no_two_schedules_of_one_name(tmp_path: Path):
    one, other = Queue(tmp_path / "queue.db"), Queue(tmp_path / "queue.db")
    one.add_periodic_task(10, "t", name="mine")
    with pytest.raises(DuplicateScheduleError, match="mine"):
        other.add_periodic_task(20, "t", name="mine")


# ---- conf ------------------------------------------------------------------------------------------


def test_beat_schedule_declares_as_add_periodic_task_does(queue: Queue, report: Task[..., Any]):
    queue.conf.beat_schedule = {
        "täglich": {
            "task": "shop.report",
            "schedule": crontab(minute="*/2"),
            "args": ("groß",),
            "kwargs": {"copies": 2},
            "options": {"queue": "slow", "expires": 15.0},
            "catch_up": "skip",
        }
    }
    work = declared(queue)["täglich"]
    assert (work.task, work.args, work.kwargs) == ("shop.report", ("groß",), {"copies": 2})
    assert work.options == {"queue": "slow"}
    assert (work.policy.expires, work.policy.catch_up) == (15.0, "skip")


def test_beat_schedule_may_be_changed_in_place_until_it_is_read(queue: Queue, report: Task[..., Any]):
    queue.conf.beat_schedule = {"a": {"task": "shop.report", "schedule": 10}}
    entry: dict[str, Any] = {"task": "shop.report", "schedule": 20}
    queue.conf.beat_schedule["b"] = entry
    queue.conf.beat_schedule.update(c={"task": "shop.report", "schedule": 30})
    queue.conf.beat_schedule |= {"d": {"task": "shop.report", "schedule": 40}}
    entry["schedule"] = 25
    del queue.conf.beat_schedule["a"]
    assert {name: str(work.schedule) for name, work in declared(queue).items()} == {
        "b": "every 25 seconds",
        "c": "every 30 seconds",
        "d": "every 40 seconds",
    }


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"task": "shop.report", "shedule": 10}, r"beat_schedule\['x'\] has no key 'shedule'.*'schedule'"),
        ({"task": "shop.report"}, r"lacks the key 'schedule'"),
        ({"schedule": 10}, r"lacks the key 'task'"),
        ({"task": "shop.report", "schedule": 10, "queue": "q"}, r"'queue', which belongs into its 'options'"),
        ({"task": "shop.report", "schedule": 10, "options": 3}, r"\['options'\] must be a dict"),
        ({"task": "shop.report", "schedule": 10, "options": {"queu": "q"}}, r"'queu'.*'queue'"),
        ({"task": "shop.report", "schedule": -1}, r"-1"),
        ({"task": "shop.report", "schedule": 1, "args": (1, 2, 3)}, r"too many positional"),
        ({"task": "shop.report", "schedule": 1, "expires": 1, "options": {"expires": 2}}, r"'expires' twice"),
        (3, r"must be a dict, not 3"),
    ],
)
def test_a_wrong_entry_is_refused_when_it_is_set(
    queue: Queue, report: Task[..., Any], entry: Any, words: str
):
    with pytest.raises((ConfigurationError, SignatureError), match=words):
        queue.conf.beat_schedule = {"x": entry}
    with pytest.raises((ConfigurationError, SignatureError), match=words):
        queue.conf.beat_schedule["x"] = entry
    assert declared(queue) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"schedule": -3},
        {"schedule": "hourly"},
        {"args": 1},
        {"args": (1, 2, 3)},
        {"args": (object(),)},
        {"catch_up": "x"},
        {"timezone": "Nowhere"},
        {"task": ""},
        {"options": {"priority": "high"}},
        {"nothing": 1},
    ],
)
def test_what_is_wrong_with_an_entry_is_told_with_its_name(
    queue: Queue, report: Task[..., Any], wrong: dict[str, Any]
):
    entry = {"task": "shop.report", "schedule": 10}
    with pytest.raises(LiteqError) as caught:
        queue.conf.beat_schedule = {"a": entry, "x": entry | wrong}
    assert str(caught.value).startswith("beat_schedule['x']")
    assert str(caught.value).count("beat_schedule") == 1
    later: dict[str, Any] = {**entry}
    queue.conf.beat_schedule = {"a": entry, "x": later}
    later.update(schedule=-3)
    with pytest.raises(LiteqError, match=r"^beat_schedule\['x'\]: "):
        queue.declarations.all()
    # While this queue is not collected, whoever looks for declarations in this process asks it as well.
    later.update(entry)


def test_what_is_wrong_in_a_receiver_is_told_with_its_function_and_line(queue: Queue, report: Task[..., Any]):
    @queue.on_after_configure.connect
    def setup(sender: Queue, **kwargs: Any) -> None:
        sender.add_periodic_task(-3, report.s())

    with pytest.raises(ScheduleError) as caught:
        queue.declarations.configure()
    line = setup.__code__.co_firstlineno + 2
    assert f"setup, receiver of on_after_configure ({__file__}, line {line}): " in str(caught.value)
    with pytest.raises(ScheduleError, match="receiver"):
        queue.declarations.configure()
    # As above.
    queue.on_after_configure.disconnect(setup)


def test_a_name_is_not_both_in_beat_schedule_and_declared(queue: Queue, report: Task[..., Any]):
    queue.add_periodic_task(10, report.s(), name="a")
    with pytest.raises(DuplicateScheduleError, match="'a'"):
        queue.conf.beat_schedule = {"a": {"task": "shop.report", "schedule": 10}}
    queue.conf.beat_schedule = {"b": {"task": "shop.report", "schedule": 10}}
    with pytest.raises(DuplicateScheduleError, match="'b'"):
        queue.add_periodic_task(10, report.s(), name="b")


def test_conf_reads_the_queues_settings_and_sets_none(queue: Queue):
    assert str(queue.conf.timezone) == "Europe/Berlin"
    assert queue.conf.result_expires == 86400
    with pytest.raises(ConfigurationError, match=r"Queue\(\.\.\., timezone=\.\.\.\)"):
        queue.conf.timezone = "UTC"
    with pytest.raises(ConfigurationError, match="cannot be replaced"):
        queue.conf = {}


def test_an_unknown_setting_is_refused_with_the_nearest_one(queue: Queue):
    with pytest.raises(ConfigurationError, match=r"'beat_shedule'.*'beat_schedule'"):
        queue.conf.beat_shedule = {}
    with pytest.raises(ConfigurationError, match=r"'timezon'.*'timezone'"):
        queue.conf.timezon  # noqa: B018
    assert not hasattr(queue.conf, "signer")
    assert "beat_schedule" in dir(queue.conf)


# ---- signals ---------------------------------------------------------------------------------------


def test_on_after_configure_is_sent_once_to_each_and_may_declare(queue: Queue, report: Task[..., Any]):
    calls = []

    @queue.on_after_configure.connect
    def setup(sender: Queue, **kwargs: Any) -> None:
        calls.append("configure")
        sender.add_periodic_task(10.0, report.s(), name="add every 10", expires=10)

    @queue.on_after_finalize.connect
    def late(sender: Queue, **kwargs: Any) -> None:
        calls.append("finalize")

    queue.declarations.configure()
    queue.declarations.configure()
    assert calls == ["configure", "finalize"]
    assert only(queue).name == "add every 10"


def test_what_a_receiver_raises_is_raised_and_it_is_asked_again(queue: Queue):
    wrong = [True]

    @queue.on_after_configure.connect
    def setup(sender: Queue, **kwargs: Any) -> None:
        if wrong:
            raise ValueError(wrong.pop())
        sender.add_periodic_task(1, "t", name="x")

    with pytest.raises(ValueError, match="True"):
        queue.declarations.configure()
    queue.declarations.configure()
    assert only(queue).name == "x"


# ---- whose it is -----------------------------------------------------------------------------------


def declaration_of(queue: Queue) -> Declaration:
    (declaration,) = queue.declarations.all()
    return declaration


def test_a_declaration_made_at_import_belongs_to_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "declares_at_import.py").write_text(
        "from liteq import Queue\nq = Queue('memory://')\nq.add_periodic_task(1, 't', name='x')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("declares_at_import")
    try:
        place = declaration_of(module.q).place
        assert place.owner == f"declares_at_import@{tmp_path}"
        assert place.line == 3
    finally:
        del sys.modules["declares_at_import"]


def test_one_that_a_library_makes_for_a_module_belongs_to_the_module_that_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "declaring_library.py").write_text("def setup(q): q.add_periodic_task(1, 't', name='x')\n")
    (tmp_path / "library_user.py").write_text(
        "import declaring_library\nfrom liteq import Queue\n"
        "q = Queue('memory://')\ndeclaring_library.setup(q)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("library_user")
    try:
        place = declaration_of(module.q).place
        assert place.owner == f"library_user@{tmp_path}"
        assert (Path(place.file).name, place.line) == ("declaring_library.py", 1)
    finally:
        del sys.modules["library_user"], sys.modules["declaring_library"]


def test_one_made_later_belongs_to_this_program_and_one_made_on_request_to_its_module(
    queue: Queue, script: str
):
    @queue.on_after_configure.connect
    def setup(sender: Queue, **kwargs: Any) -> None:
        sender.add_periodic_task(1, "t", name="asked")

    queue.add_periodic_task(1, "t", name="called")
    queue.declarations.configure()
    owners = {each.work.name: each.place.owner for each in queue.declarations.all()}
    module, _, program = owners["called"].partition("\n")
    assert program == script
    assert owners["asked"] == module
    assert module.startswith(f"{__name__}@")


def line() -> int:
    return sys._getframe(1).f_lineno
