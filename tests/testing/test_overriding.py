"""`override_queue`: a program's own queue works on another store for the length of a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from liteq import ConfigurationError, Queue
from liteq.celery import Celery
from liteq.testing import ManualClock
from liteq.testing.overriding import override_queue


def test_the_tasks_of_a_program_work_on_the_other_store_and_then_on_their_own_again(tmp_path: Path):
    with Queue(tmp_path / "queue.db") as q:
        add = q.task(name="add")(lambda x, y: x + y)
        before = add.delay(1, 2)
        with override_queue(q) as same:
            assert same is q
            assert q.url == q.settings.url == "memory://"
            inside = add.delay(3, 4)
            assert not before.exists()
            assert q.drain().ran == 1
            assert inside.get(timeout=5) == 7
        assert q.url == str(tmp_path / "queue.db")
        assert not inside.exists()
        assert before.status == "PENDING"
        assert q.drain().ran == 1
        assert before.get(timeout=5) == 3


def test_the_file_of_a_program_is_not_even_made(tmp_path: Path):
    q = Queue(tmp_path / "queue.db")
    with override_queue(q):
        q.task(name="add")(lambda: None).delay()
        q.drain()
    assert [*tmp_path.iterdir()] == []


def test_each_override_in_memory_begins_empty_and_one_on_a_file_finds_what_is_there(tmp_path: Path):
    q = Queue("memory://")
    add = q.task(name="add")(lambda: None)
    for url, found in (("memory://", 0), (str(tmp_path / "other.db"), 1)):
        with override_queue(q, url):
            add.delay()
        with override_queue(q, url):
            assert q.drain().ran == found


def test_it_ends_also_when_the_block_raises_and_when_the_queue_was_closed_in_it():
    with Queue("memory://") as q:
        result = q.task(name="add")(lambda: 1).delay()
        with pytest.raises(AssertionError), override_queue(q):
            assert q.close()  # type: ignore[func-returns-value]
        assert q.drain().ran == 1
        assert result.get(timeout=5) == 1


def test_a_clock_alone_keeps_the_store():
    clock = ManualClock()
    with Queue("memory://") as q:
        result = q.task(name="add")(lambda: 1).options(countdown=60).delay()
        with override_queue(q, None, clock=clock):
            assert result.status == "PENDING"
            # What was called by the machine's clock is due in the years between the two.
            assert q.drain().ran == 0
            clock.step(10**9)
            assert q.drain().ran == 1


def test_a_program_can_be_made_eager():
    with Queue("memory://") as q:
        add = q.task(name="add")(lambda x: x + 1)
        with override_queue(q, eager=True):
            assert add.delay(1).get(timeout=5) == 2
        assert add.delay(1).status == "PENDING"


def test_a_celery_application_is_taken_for_its_queue():
    app = Celery("shop", broker="memory://")
    add = app.task(name="shop.add")(lambda x: x + 1)
    clock = ManualClock()
    with override_queue(app, clock=clock) as q:
        result = add.apply_async((1,), countdown=10)
        assert q.drain().due_in == 10
        clock.advance(10)
        assert q.drain().succeeded == 1
        assert result.get(timeout=5) == 2


@pytest.mark.parametrize("app", [None, "memory://", Queue])
def test_what_is_no_queue_is_refused(app: object):
    with pytest.raises(ConfigurationError, match="Only a Queue"), override_queue(app):
        pass
