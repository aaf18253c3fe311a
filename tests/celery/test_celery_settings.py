"""`app.conf`: what has a meaning here, what has none, what is lacking; and that the guide says the same."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from liteq import ConfigurationError, LiteqWarning, NotSupportedError, celery
from liteq.celery import Celery, canvas, exceptions, request, result, schedules, shared_task, signals
from liteq.celery.app import base, task
from liteq.celery.options import (
    CALL_REFUSED,
    CALL_SILENT,
    TASK_REFUSED,
    TASK_SILENT,
    TASK_WITHOUT_EFFECT,
)
from liteq.celery.schedules import crontab, maybe_schedule, schedule
from liteq.celery.settings import SILENT, USED, WITHOUT_EFFECT
from liteq.cli.celery_options import BEAT_IGNORED, BEAT_REFUSED, WORKER_IGNORED, WORKER_REFUSED

Make = Callable[..., Celery]
GUIDE = Path(__file__).parents[2] / "docs" / "migrating-from-celery.md"


def example(name: str) -> str:
    return name.replace("*", "something")


# ---- the three kinds ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SILENT)
def test_a_setting_without_meaning_here_is_accepted_silently(make: Make, name: str):
    app = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        app.conf[example(name)] = 1
        setattr(app.conf, example(name), 2)
        app.conf.update({example(name): 3})
    assert app.conf[example(name)] == 3


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_a_setting_that_liteq_lacks_warns_and_says_what_to_do(make: Make, name: str):
    app = make()
    with pytest.warns(LiteqWarning, match=rf"The setting {re.escape(example(name))} has no effect: \w"):
        app.conf[example(name)] = 1


def test_an_unknown_setting_warns_with_the_nearest_where_it_was_set(make: Make):
    app = make()
    with pytest.warns(LiteqWarning, match="no setting 'timezonne'. Did you mean 'timezone'") as caught:
        app.conf.timezonne = "UTC"
    assert caught[0].filename == __file__
    with pytest.warns(LiteqWarning, match="Did you mean 'task_serializer'"):
        app.conf["CELERY_TASK_SERIALIZER"] = "json"
    with pytest.raises(AttributeError, match="no setting 'time_zone'"):
        _ = app.conf.time_zone
    with pytest.raises(KeyError):
        app.conf["nothing"]


def test_a_warning_points_at_the_line_of_the_program_and_comes_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            app = Celery("test", worker_concurrency=4)
            app.conf.update({"worker_pool": "solo"})
            app.config_from_object({"beat_scheduler": "its.own"})
            app.task(throws=(KeyError,))(print)
            app.conf.peek("timezone")
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()

    assert {each.filename for each in caught} == {__file__}
    assert [lines[each.lineno - 1].strip() for each in caught] == [
        'app = Celery("test", worker_concurrency=4)',
        'app.conf.update({"worker_pool": "solo"})',
        "app.task(throws=(KeyError,))(print)",
        'app.config_from_object({"beat_scheduler": "its.own"})',
    ]


def test_a_warning_of_a_shared_task_points_at_the_task(make: Make):
    shared_task(name="own", throws=())(print)
    with pytest.warns(LiteqWarning, match="throws") as caught:
        _ = make().queue

    line = Path(__file__).read_text(encoding="utf-8").splitlines()[caught[0].lineno - 1]
    assert (caught[0].filename, line.strip()) == (__file__, 'shared_task(name="own", throws=())(print)')


def test_every_setting_with_a_meaning_has_a_default(make: Make):
    app = make()

    assert set(app.conf) == set(USED)
    assert app.conf.enable_utc is True
    assert app.conf.get("worker_concurrency") is None
    assert app.conf.beat_schedule == {}
    assert len(app.conf) == len(USED)


# ---- what the settings do ----------------------------------------------------------------------------


def test_settings_become_those_of_the_queue(make: Make):
    app = make(result_expires=timedelta(hours=1), task_serializer="json", result_serializer="json")
    app.conf.queue_options = {"durability": "normal"}
    settings = app.queue.settings

    assert (settings.result_expires, settings.serializer, settings.durability) == (3600.0, "json", "normal")
    assert make(result_serializer="json").queue.settings.serializer == "json"
    assert make(result_expires=None).queue.settings.result_expires == 0
    assert make().queue.settings.serializer == "msgpack"


def test_what_is_accepted_and_compressed_is_as_celery_has_it(make: Make):
    settings = make(
        accept_content=["application/json", "yaml"],
        result_accept_content=["yaml", "json"],
        task_compression="gzip",
    ).queue.settings

    assert settings.accept == {"json", "yaml"}
    assert settings.compression == "zlib"
    # Where nothing is said, Celery writes JSON.
    assert settings.serializer == "json"
    assert make(accept_content=["msgpack", "json"]).queue.settings.serializer == "msgpack"
    assert make(result_compression="zstd").queue.settings.compression == "zstd"
    assert make(task_compression=None).queue.settings.compression is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"task_serializer": "json", "result_serializer": "msgpack"}, "make them the same"),
        ({"accept_content": ["json"], "result_accept_content": ["msgpack"]}, "make them the same"),
        ({"task_compression": "gzip", "result_compression": "bzip2"}, "make them the same"),
        ({"accept_content": ["json", "pickle"]}, "no signing_key"),
        ({"accept_content": ["jsn"]}, "no serializer named 'jsn'"),
        ({"task_compression": "brotli"}, "'brotli'"),
        ({"enable_utc": False}, "set timezone='Continent/City'"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"task_serializer": "pickle"}, "pickle"),
    ],
)
def test_what_the_settings_cannot_be_is_said_at_the_first_use(
    make: Make, settings: dict[str, Any], says: str
):
    app = make(**settings)
    with pytest.raises(Exception, match=says):
        _ = app.queue


def test_settings_are_read_from_a_module_when_one_is_asked_for(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(tmp_path)
    app = make()
    app.config_from_object("lq_celery_config")
    (tmp_path / "lq_celery_config.py").write_text(
        "import os\nfrom datetime import timedelta\nbase_dir = '.'\nUPPER = 1\n"
        "timezone = 'Europe/Berlin'\nresult_expires = timedelta(minutes=1)\nbroker_url = 'other.db'\n"
    )

    assert (app.conf.timezone, app.queue.settings.result_expires) == ("Europe/Berlin", 60.0)
    # What the program says itself wins.
    assert app.queue.url == str(tmp_path / "queue.db")


def test_settings_with_a_prefix_are_read_from_an_object(make: Make):
    app = make()
    source = SimpleNamespace(CELERY_TIMEZONE="Europe/Berlin", CELERY_TASK_TRACK_STARTED=True, DEBUG=True)
    app.config_from_object(source, namespace="CELERY")

    assert app.conf.timezone == "Europe/Berlin"
    app.config_from_object({"task_default_queue": "mine"}, force=True)
    assert app.conf.task_default_queue == "mine"


def test_a_module_of_settings_that_is_not_there_is_an_error_unless_silent(make: Make):
    app = make()
    app.config_from_object("lq_no_such_config", silent=True)
    assert app.conf.timezone is None
    app.config_from_object("lq_no_such_config")
    with pytest.raises(ImportError):
        _ = app.conf.timezone


def test_settings_are_read_from_the_module_that_a_variable_names(make: Make, monkeypatch: pytest.MonkeyPatch):
    app = make()
    with pytest.raises(ConfigurationError, match="variable LQ_CONFIG is not set"):
        app.config_from_envvar("LQ_CONFIG")
    app.config_from_envvar("LQ_CONFIG", silent=True)


# ---- schedules ---------------------------------------------------------------------------------------


def test_a_misspelt_key_of_a_schedule_is_refused_where_it_is_written(make: Make):
    with pytest.raises(ConfigurationError, match=r"no key 'schedul'. Did you mean 'schedule'"):
        make().conf.beat_schedule = {"x": {"task": "a", "schedul": 1.0}}
    with pytest.raises(ConfigurationError, match="hour"):
        crontab(hour=47, minute=10, day_of_week=1)


def test_an_impossible_periodic_task_is_refused_where_it_is_added(make: Make):
    app = make()
    with pytest.raises(ConfigurationError, match="no schedule"):
        app.add_periodic_task(object(), app.signature("a"))


def test_schedules_belong_to_the_code_that_declares_them(make: Make):
    app = make()
    task = app.task(name="known")(lambda: None)
    app.add_periodic_task(10.0, task.s(), name="early", expires=10)
    app.conf.beat_schedule["mutated"] = {"task": "known", "schedule": schedule(60, relative=True)}
    declared = {each.work.name: each for each in app.queue.declarations.all()}
    app.add_periodic_task(20.0, task, name="late")
    app.conf.beat_schedule["later"] = {"task": "known", "schedule": crontab(minute="*/2"), "args": ()}
    declared |= {each.work.name: each for each in app.queue.declarations.all()}

    assert {name: Path(each.place.file).name for name, each in declared.items()} == dict.fromkeys(
        ("early", "mutated", "late", "later"), Path(__file__).name
    )


def test_receivers_get_the_application_as_sender(make: Make):
    app = make()
    told = []

    @app.on_after_configure.connect
    def declare(sender: Celery, **kwargs: Any) -> None:
        sender.add_periodic_task(10.0, sender.signature("a"), name="from a receiver")
        told.append(sender)

    @app.on_after_finalize.connect
    def finalized(sender: Celery, **kwargs: Any) -> None:
        told.append(sender.main)

    app.queue.declarations.configure()
    app.queue.declarations.configure()

    assert told == [app, "test"]
    assert [each.work.name for each in app.queue.declarations.all()] == ["from a receiver"]


def test_a_schedule_may_be_made_of_what_celery_makes_one_of():
    assert schedule(timedelta(seconds=10)) == maybe_schedule(10.0)
    assert maybe_schedule(60, relative=True) == schedule(60, relative=True)
    assert maybe_schedule(crontab(minute=5)) == crontab(minute=5)


def test_what_makes_intervals_is_a_class_of_them():
    assert isinstance(schedule(10), schedule)
    assert not isinstance(crontab(), schedule)
    with pytest.raises(NotSupportedError, match="nowfun"):
        schedule(10, nowfun=print)  # type: ignore[arg-type]


def test_a_class_of_schedules_is_told_how_it_is_done_here():
    with pytest.raises(NotSupportedError, match=r"mine cannot descend from schedule: .* next_after\(t\)"):
        type("mine", (schedule,), {})
    with pytest.raises(ImportError, match=r"next_after\(t\)"):
        exec("from liteq.celery.schedules import BaseSchedule")


# ---- the guide ---------------------------------------------------------------------------------------


def rows(heading: str) -> dict[str, str]:
    """Return the rows of the table under a heading of the guide."""
    section = GUIDE.read_text(encoding="utf-8").split(f"\n### {heading}\n")[1].split("\n#")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.*?) \|$", section, re.MULTILINE))


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("Settings with a meaning", {name: meaning for name, (_, meaning) in USED.items()}),
        ("Settings that are accepted silently", SILENT),
        ("Settings that warn", WITHOUT_EFFECT),
        ("Task options that are accepted silently", TASK_SILENT),
        ("Task options that warn", TASK_WITHOUT_EFFECT),
        ("Task options that are refused", TASK_REFUSED),
        ("Call options that are accepted silently", CALL_SILENT),
        ("Call options that are refused", CALL_REFUSED),
        ("Command options that are accepted silently", {**WORKER_IGNORED, **BEAT_IGNORED}),
        ("Command options that are refused", {**WORKER_REFUSED, **BEAT_REFUSED}),
    ],
)
def test_the_guide_has_the_tables_of_the_code(heading: str, table: Mapping[str, str]):
    assert rows(heading) == dict(table)


def test_the_guide_names_what_is_absent():
    text = GUIDE.read_text(encoding="utf-8").split("\n## Absent\n")[1]
    absent = {
        *base.ABSENT_ATTRIBUTES,
        *task.ABSENT_ATTRIBUTES,
        *task.HOOKS,
        *result.ABSENT_ATTRIBUTES,
        *result.ABSENT,
        *canvas.ABSENT_ATTRIBUTES,
        *request.ABSENT_ATTRIBUTES,
        *schedules.ABSENT,
        *exceptions.ABSENT,
        *celery.ABSENT,
        "task_failure",
        "revoke(terminate=True)",
        "self.retry",
        f"Celery({', '.join(f'{name}=' for name in base.ABSENT_ARGUMENTS)})",
    }

    assert {name for name in absent if f"`{name}`" not in text} == set()
    assert signals.ABSENT
