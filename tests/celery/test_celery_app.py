"""The application: where its jobs are, when its queue is made, and what it refuses."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from liteq import ConfigurationError, NotSupportedError, Queue
from liteq.celery import Celery, current_app, current_task, shared_task, signature
from liteq.celery.app.base import ABSENT_ARGUMENTS, ABSENT_ATTRIBUTES
from liteq.celery.exceptions import ImproperlyConfigured, NotRegistered
from liteq.celery.result import AsyncResult
from liteq.registry import collect_tasks
from liteq.worker.imports import load_app

Make = Callable[..., Celery]


def add(x: int, y: int) -> int:
    return x + y


# ---- where the jobs are ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broker", ["queue.db", "sqlite:///queue.db", "sqla+sqlite:///queue.db", "db+sqlite:///queue.db"]
)
def test_a_broker_is_a_file_relative_to_where_the_application_was_made(
    broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    app = Celery("test", broker=broker)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert app.queue.url == str(tmp_path / "queue.db")
    assert list(tmp_path.rglob("*.db")) == []


def test_a_broker_may_be_an_absolute_url_a_path_or_memory(tmp_path: Path):
    file = tmp_path / "a.db"

    assert Celery(broker=f"sqlite:///{file}").queue.url == str(file)
    assert Celery(broker=file).queue.url == str(file)
    assert Celery(broker="memory://").queue.url == "memory://"


@pytest.mark.parametrize(
    "url",
    ["mongodb://:secret@127.0.0.1:27017/1", "amqp://guest:secret@host//", "sqs://", "pyamqp://secret@h"],
)
@pytest.mark.parametrize("where", ["broker", "backend"])
def test_a_server_is_refused_with_what_can_be_written_and_without_its_password(where: str, url: str):
    with pytest.raises(
        NotSupportedError, match="sqlite:///path, memory://, or on Redis: redis://host/0"
    ) as caught:
        Celery("test", **{where: url})

    assert "secret" not in str(caught.value)
    assert url.split("://")[0] in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["cache+memory://", "file:///results", "db+postgresql://host/db", "django-db", "django-cache", "redis"],
)
@pytest.mark.parametrize("where", ["broker", "backend"])
def test_a_kind_that_is_not_here_is_refused_wherever_it_stands(where: str, url: str):
    what = "leave the backend out" if where == "broker" else "Leave the backend out, or give it the broker's"
    with pytest.raises(NotSupportedError, match=what):
        Celery("test", **{"broker": "queue.db", where: url})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@127.0.0.1/1", "redis://127.0.0.1:6379/1"),
        ("redis+socket:///tmp/r.sock?virtual_host=2", "unix:///tmp/r.sock?db=2"),
        ("rediss://host/0?ssl_cert_reqs=CERT_NONE", "rediss://host:6379/0?ssl_cert_reqs=none"),
    ],
)
def test_a_broker_on_redis_is_a_queue_on_redis(url: str, shown: str, caplog: pytest.LogCaptureFixture):
    app = Celery("test", broker=url, backend=url)

    assert app.queue.url == shown
    assert not caplog.records


def test_a_backend_on_redis_that_is_not_used_is_told_without_its_password(caplog: pytest.LogCaptureFixture):
    app = Celery("test", broker="redis://:secret@host/0", backend="redis://:secret@host/7")

    assert app.queue.url == "redis://host:6379/0"
    assert "the broker keeps the results as well, and not redis://...@host/7" in caplog.text
    assert "secret" not in caplog.text


def test_a_broker_in_memory_is_not_a_file_of_that_name():
    with pytest.raises(ConfigurationError, match="For a queue in memory, write memory://"):
        Celery("test", broker="sqlite:///:memory:")
    with pytest.raises(ConfigurationError, match="For a queue in memory, write memory://"):
        Queue("sqlite:///:memory:")


def test_a_server_is_refused_in_the_settings_and_the_environment_as_well(
    make: Make, monkeypatch: pytest.MonkeyPatch
):
    app = make()
    with pytest.raises(NotSupportedError, match="broker_url='amqp://"):
        app.conf.broker_url = "amqp://localhost"
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://localhost")
    with pytest.raises(NotSupportedError, match="variable CELERY_BROKER_URL"):
        _ = app.queue


def test_the_environment_names_the_broker_before_the_program_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CELERY_BROKER_URL", "sqlite:///theirs.db")

    assert Celery(broker="own.db").queue.url == str(tmp_path / "theirs.db")


def test_without_a_broker_the_first_use_says_what_to_write(make: Make):
    app = Celery("test")
    app.task(add)

    with pytest.raises(ImproperlyConfigured, match=r"write Celery.broker='sqlite:///queue.db'"):
        app.send_task("anything")
    assert app.conf.broker_url is None


@pytest.mark.parametrize("backend", ["rpc://", "sqlite:///queue.db", None])
def test_a_backend_that_is_the_broker_is_nothing_to_speak_of(
    backend: str | None, caplog: pytest.LogCaptureFixture
):
    _ = Celery("test", broker="queue.db", backend=backend).queue
    assert caplog.records == []


def test_another_backend_is_told_once_that_the_broker_keeps_the_results(caplog: pytest.LogCaptureFixture):
    app = Celery("test", broker="queue.db", backend="results.db")
    _ = app.queue
    app.conf.timezone = "Europe/Berlin"
    _ = app.queue

    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "liteq.celery")
    assert "the broker keeps the results as well, and not results.db" in record.getMessage()


# ---- when the queue is made --------------------------------------------------------------------------


def test_settings_may_come_after_the_tasks_and_the_queue_is_made_at_first_use(make: Make):
    app = make()
    task = app.task(add)
    app.conf.update(result_expires=60, timezone="Europe/Berlin", task_default_queue="mine")

    assert not app.finalized
    assert app.queue is app.queue
    settings = app.queue.settings
    assert (settings.result_expires, str(settings.timezone), settings.default_queue) == (
        60.0,
        "Europe/Berlin",
        "mine",
    )
    assert list(app.queue.tasks) == [task.name] == [f"{__name__}.add"]


def test_a_setting_that_comes_late_is_heeded_from_then_on(make: Make):
    app = make()
    task = app.task(add)
    job = task.delay(1, 2)
    app.conf.task_always_eager = True

    assert task.delay(1, 2).get() == 3
    app.conf.task_always_eager = False
    assert AsyncResult(job.id, app=app).exists()


def test_a_setting_that_would_lose_jobs_in_memory_is_refused():
    app = Celery(broker="memory://")
    app.task(add).delay(1, 2)

    with pytest.raises(ConfigurationError, match="comes too late"):
        app.conf.timezone = "Europe/Berlin"


def test_workers_find_the_tasks_of_an_application_whose_queue_nobody_has_asked_for(make: Make):
    app = make()
    app.task(add)

    assert f"{__name__}.add" in collect_tasks(app.queue.url)


def test_an_application_is_found_where_celery_looks_for_it(tmp_path: Path):
    package = tmp_path / "lq_cel"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "celery.py").write_text(
        "from liteq.celery import Celery, current_app\n"
        "cel = Celery('lq_cel', broker='lq.db', include=['lq_cel.task1'])\n"
        "cel.autodiscover_tasks(['lq_cel.sub', 'lq_cel'])\n"
    )
    (package / "task1.py").write_text("from lq_cel.celery import cel\n@cel.task\ndef one(): ...\n")
    (package / "sub").mkdir()
    (package / "sub" / "__init__.py").write_text("")
    (package / "sub" / "tasks.py").write_text("from lq_cel.celery import cel\n@cel.task\ndef two(): ...\n")
    path = [*sys.path]
    try:
        queue = load_app("lq_cel", Queue)
    finally:
        sys.path[:] = path

    assert sorted(queue.tasks) == ["lq_cel.sub.tasks.two", "lq_cel.task1.one"]


def test_importing_liteq_does_not_import_the_layer():
    command = "import sys, liteq; sys.exit('liteq.celery' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


# ---- names, results, signatures ----------------------------------------------------------------------


def test_a_task_is_sent_by_name_and_its_result_asked_for_by_id(make: Make):
    app = make()
    result = app.send_task("elsewhere.send", args=["张三"], kwargs={"n": 1}, countdown=60, retry=False)

    again = app.AsyncResult(result.id)
    assert isinstance(result, AsyncResult)
    assert (str(result), f"{result}") == (result.id, result.id)
    assert repr(result) == f"<AsyncResult {result.id}>"
    assert (again, again.status, again.name, again.date_done) == (result, "PENDING", "elsewhere.send", None)
    assert again.revoke(terminate=False)
    assert (again.status, again.ready(), again.successful(), again.failed()) == (
        "REVOKED",
        True,
        False,
        False,
    )
    again.forget()
    assert not again.exists()


def test_a_signature_is_changed_in_place_and_needs_no_task_at_hand(make: Make):
    app = make()
    sig = app.signature("elsewhere.send", args=(2,), queue="post")
    sig.set(countdown=60)
    job = app.queue.transport.get((sig.delay(1).id,))[0]

    assert job is not None
    assert (job.task, job.queue, job.eta is not None) == ("elsewhere.send", "post", True)
    task = app.task(add)
    assert task.s(1).clone((2,))() == 3
    assert signature(task.s(1), args=(2,)).apply().get() == 3
    assert app.signature(task.name, (1, 2)).task is task
    with pytest.raises(NotSupportedError, match="workflows"):
        task.s(1, 2) | task.s(3)


def test_the_last_application_is_the_current_one_unless_it_does_not_want_to(make: Make):
    app = make()
    Celery("other", set_as_current=False)

    assert current_app == app
    assert current_app.main == "test"
    assert AsyncResult("some-id").app is app
    current_app.conf.timezone = "Europe/Berlin"
    assert app.conf.timezone == "Europe/Berlin"


def test_the_current_task_is_the_one_whose_job_runs(make: Make):
    app = make(task_always_eager=True)

    @app.task
    def who() -> list[object]:
        return [current_task.name, current_task.request.id, app.current_task is who]

    result = who.delay()
    assert result.get() == [who.name, result.id, True]
    assert not current_task


def test_a_shared_task_is_one_of_every_application(make: Make):
    first = make(task_always_eager=True)

    @shared_task(max_retries=7)
    def double(x: int) -> int:
        return 2 * x

    assert double.delay(2).get() == 4
    second = Celery("second", broker="second.db")
    assert double.app is second
    assert double(3) == 6
    assert double.max_retries == 7
    assert double.name in first.queue.tasks
    assert double.name in second.queue.tasks


def test_a_task_that_is_not_there_is_not_registered(make: Make):
    app = make()
    task = app.task(add)

    assert app.tasks[task.name] is task
    with pytest.raises(KeyError, match=r"Did you mean '.*add'"):
        app.tasks[f"{task.name}d"]
    assert issubclass(NotRegistered, KeyError)


# ---- what is absent ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ABSENT_ATTRIBUTES)
def test_what_the_application_lacks_is_said_in_a_sentence(make: Make, name: str):
    app = make()

    with pytest.raises(NotSupportedError, match=f"liteq has no Celery.{name}: "):
        getattr(app, name)
    assert not hasattr(app, name)


@pytest.mark.parametrize("name", ABSENT_ARGUMENTS)
def test_what_the_application_cannot_take_is_refused(make: Make, name: str):
    with pytest.raises(NotSupportedError, match=f"does not take '{name}'"):
        make(**{name: "some.module:Class"})
    make(**{name: None})


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("liteq.celery", "chain"),
        ("liteq.celery", "group"),
        ("liteq.celery", "beat"),
        ("liteq.celery", "task"),
        ("liteq.celery", "bin"),
        ("liteq.celery", "contrib"),
        ("liteq.celery.canvas", "chord"),
        ("liteq.celery.exceptions", "ChordError"),
        ("liteq.celery.result", "GroupResult"),
        ("liteq.celery.signals", "task_failure"),
    ],
)
def test_importing_what_is_absent_says_why(module: str, name: str):
    with pytest.raises(ImportError, match=f"{module} has no {name}: ") as caught:
        exec(f"from {module} import {name}")
    assert isinstance(caught.value, NotSupportedError)


def test_a_word_that_celery_does_not_know_either_is_no_attribute(make: Make):
    with pytest.raises(AttributeError, match="no attribute 'controll'"):
        make().controll  # noqa: B018
    with pytest.raises(ImportError):
        exec("from liteq.celery import chian")


def test_what_others_declare_does_not_make_the_queue_of_an_application_that_has_not_got_so_far(make: Make):
    app = make()
    app.task(name="known")(add)
    app.add_periodic_task(10.0, app.signature("known", (1, 2)), name="its own")
    with Queue("memory://") as queue:
        queue.add_periodic_task(10.0, "known", name="theirs")

    assert not app.finalized
