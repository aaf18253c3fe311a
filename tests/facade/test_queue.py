"""The queue itself: its settings and URL, when it opens, and what importing it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import liteq
from liteq import ConfigurationError, NotSupportedError, Queue
from liteq.app.opening import open_transport


@pytest.mark.parametrize("make", [str, Path, lambda path: f"sqlite:///{path}"])
def test_a_queue_is_a_path_in_any_form(tmp_path, make):
    path = tmp_path / "with a space" / "Schlange-ü.db"
    queue = Queue(make(path))
    assert queue.url == str(path)
    assert str(path) in repr(queue)


def test_a_relative_path_is_taken_from_the_folder_of_that_moment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    queues = [Queue("a.db"), Queue(Path("a.db")), Queue("sqlite:///a.db"), Queue("./a.db")]
    monkeypatch.chdir(tmp_path.parent)
    assert {queue.url for queue in queues} == {str(tmp_path / "a.db")}


def test_making_a_queue_and_its_tasks_touches_no_file(tmp_path):
    queue = Queue(tmp_path / "queue.db")
    queue.task(name="t")(lambda: None)
    queue.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@localhost", "redis://user@localhost:6379/0"),
        ("rediss://:secret@host/1", "rediss://host:6379/1"),
        ("unix:///tmp/redis.sock?password=secret", "unix:///tmp/redis.sock"),
    ],
)
def test_a_queue_on_redis_connects_to_nothing_yet_and_shows_no_password(url, shown):
    queue = Queue(url)

    assert queue.url == shown
    assert "secret" not in repr(queue) + repr(queue.settings) + str(queue.settings.url)
    assert queue.settings.transport_settings()["password"] == "secret"


def test_two_urls_of_one_store_on_redis_are_the_same():
    one, other = Queue("redis://user:secret@host"), Queue("redis://HOST:6379/0?socket_timeout=3")

    assert one.store.is_at(other.url)
    assert not one.store.is_at("redis://host/1")
    assert not one.store.is_at("redis://host/0?prefix=other")
    assert not one.store.is_at("queue.db")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "amqp://host",
        "sqlite:///",
        "sqlite://host/x",
        ":memory:",
        "file:x.db",
        "a\0b",
        5,
        None,
        b"x.db",
        "memory://x",
    ],
)
def test_what_names_no_queue_is_refused_with_what_there_is(url):
    with pytest.raises(ConfigurationError, match="memory://"):
        Queue(url)


@pytest.mark.parametrize(
    "setting",
    [
        {"durability": "none"},
        {"serializer": "pickle"},
        {"serializer": None},
        {"result_expires": -1},
        {"result_expires": "1 day"},
        {"visibility_timeout": 0},
        {"visibility_timeout": float("inf")},
        {"timezone": "Mars/Olympus"},
        {"timezone": "../etc/passwd"},
        {"timezone": 5},
        {"eager": 1},
        {"max_payload": 0},
        {"max_payload": 1.5},
        {"disable_sync_subtasks": None},
        {"default_queue": ""},
        {"busy_timeout": -1},
        {"file_mode": 0o666},
        {"file_mode": 0o640},
        {"file_mode": 0o606},
        {"file_mode": 0o700},
        {"file_mode": 660},
        {"file_mode": "0600"},
        {"file_mode": True},
        {"create": "yes"},
    ],
    ids=repr,
)
def test_a_value_that_a_setting_cannot_have_is_refused_at_the_call(tmp_path, setting):
    name = next(iter(setting))
    with pytest.raises(ConfigurationError, match=name if name != "timezone" else "time ?zone"):
        Queue(tmp_path / "queue.db", **setting)


def test_settings_are_taken_in_their_usual_forms(tmp_path):
    queue = Queue(
        "memory://", timezone="Europe/Berlin", result_expires=timedelta(hours=1), default_queue="main"
    )
    assert queue.settings.timezone == ZoneInfo("Europe/Berlin")
    assert queue.settings.result_expires == 3600.0
    assert queue.task(name="t")(lambda: None).queue_name == "main"
    assert Queue("memory://").settings.timezone is UTC
    assert Queue("memory://", result_expires=None).settings.result_expires == 0.0


def test_the_queues_result_expires_travels_with_its_jobs():
    def kept(queue, **options):
        return queue.task(name="t", **options)(lambda: None).new_job((), {}).result_expires

    assert kept(Queue("memory://")) is None
    assert kept(Queue("memory://", result_expires=None)) == 0.0
    assert kept(Queue("memory://", result_expires=60)) == 60.0
    assert kept(Queue("memory://", result_expires=60), result_expires=5) == 5.0
    assert kept(Queue("memory://", result_expires=60), result_expires=86400) is None
    assert kept(Queue("memory://", result_expires=60), result_expires=None) == 0.0


def test_a_file_is_opened_at_first_use_and_again_after_close(tmp_path):
    with Queue(tmp_path / "queue.db") as queue:
        task = queue.task(name="t")(lambda: None)
        result = task.delay()
        first = queue.transport
        queue.close()
        assert result.status == "PENDING"
        assert result.exists()
        assert queue.transport is not first


def test_where_a_task_lives_is_stored_with_its_job(tmp_path):
    with Queue(tmp_path / "queue.db") as queue:

        @queue.task
        def before() -> None: ...

        queue.transport.count()

        @queue.task
        def after() -> None: ...

        before.delay()
        after.delay()
        assert {origin.task for origin in queue.transport.origins()} == {before.name, after.name}
        assert before.origin in queue.transport.origins()


def test_open_transport_picks_by_url(tmp_path):
    with open_transport("memory://") as memory, open_transport(str(tmp_path / "q.db"), create=True) as file:
        assert (memory.crosses_processes, file.crosses_processes) == (False, True)


@pytest.mark.parametrize(
    "setting", [{"n": 0}, {"n": 1.5}, {"queues": "a,b"}, {"queues": [""]}, {"loglevel": "LOUD"}, {"name": ""}]
)
def test_workers_are_not_started_with_settings_that_make_no_sense(queue, setting):
    with pytest.raises(ConfigurationError, match=next(iter(setting))):
        queue.start_workers(**setting)


def test_memory_workers_run_what_is_enqueued(queue):
    add = queue.task(name="add")(lambda x, y: x + y)
    with queue.start_workers(2):
        assert add.delay(1, 2).get(timeout=30) == 3


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_forked_child_opens_its_own_or_says_that_it_cannot(tmp_path, kind):
    with Queue(tmp_path / "queue.db" if kind == "file" else "memory://") as queue:
        task = queue.task(name="t")(lambda: None)
        parent = queue.transport
        child = os.fork()
        if child == 0:
            try:
                own = queue.transport is not parent and task.delay().exists()
                os._exit(0 if own else 2)
            except NotSupportedError:
                os._exit(1)
            finally:
                os._exit(3)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == (0 if kind == "file" else 1)
        assert task.delay().exists()


def test_importing_liteq_leaves_alone_what_it_does_not_need():
    heavy = "sqlite3 asyncio logging filelock click msgpack multiprocessing zoneinfo difflib liteq.worker"
    code = f"import sys, liteq; print([name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    assert sorted(liteq.__all__) == sorted(set(liteq.__all__))
    assert all(hasattr(liteq, name) for name in liteq.__all__)
    assert liteq.TimeoutError is liteq.ResultTimeoutError


def test_a_time_limit_that_threads_could_not_keep_is_refused_at_the_call(queue):
    task = queue.task(name="t")(lambda: None)
    with pytest.raises(NotSupportedError, match="time_limit"):
        task.apply_async(time_limit=5)
    with pytest.raises(NotSupportedError, match="time_limit"):
        task.options(time_limit=5)
