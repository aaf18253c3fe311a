"""`q.drain()`: everything that is ready runs in the calling thread, on every transport."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from liteq import (
    ConfigurationError,
    Drained,
    DrainTimeoutError,
    NotSupportedError,
    Queue,
    Reject,
    ResultExpired,
)
from liteq.testing import ManualClock
from liteq.testing.overriding import override_queue


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url"))
    return "memory://" if request.param == "memory" else str(tmp_path / "queue.db")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def q(url: str, clock: ManualClock) -> Iterator[Queue]:
    """A queue on a clock that is turned by hand."""
    with Queue(url, durability="normal") as queue, override_queue(queue, None, clock=clock):
        yield queue


def ends(done: Drained) -> tuple[int, int, int, int]:
    return done.ran, done.succeeded, done.retried, done.failed


def test_everything_ready_runs_in_the_calling_thread_and_so_does_what_it_enqueues(q: Queue):
    threads = []

    @q.task(name="count")
    def count(n: int) -> int:
        threads.append(threading.current_thread())
        if n:
            count.delay(n - 1)
        return n

    first = count.delay(3)
    done = q.drain()
    assert ends(done) == (4, 4, 0, 0)
    assert set(threads) == {threading.current_thread()}
    assert first.get(timeout=5) == 3
    assert q.drain() == Drained(0, 0, 0, 0, (), 0, None, 0)


def test_jobs_run_by_priority_and_only_those_of_the_named_queues(q: Queue):
    ran = []
    note = q.task(name="note")(ran.append)
    note.delay("first")
    note.options(priority=5).delay("urgent")
    note.options(queue="other").delay("elsewhere")

    q.drain(queues=["default"])
    assert ran == ["urgent", "first"]
    q.drain()
    assert ran[2:] == ["elsewhere"]


def test_a_retry_waits_until_the_clock_is_turned(q: Queue, clock: ManualClock):
    @q.task(name="flaky", bind=True, autoretry_for=(ConnectionError,), default_retry_delay=180)
    def flaky(self: Any) -> int:
        if self.request.retries < 2:
            raise ConnectionError("the line is down")
        return self.request.attempt

    result = flaky.delay()
    done = q.drain()
    assert ends(done) == (1, 0, 1, 0)
    assert (done.delayed, done.due_in) == (1, 180.0)
    clock.advance(179)
    assert ends(q.drain()) == (0, 0, 0, 0)
    clock.advance(1)
    assert ends(q.drain()) == (1, 0, 1, 0)
    clock.advance(180)
    assert ends(q.drain()) == (1, 1, 0, 0)
    assert result.get(timeout=5) == 3


def test_a_retry_that_a_task_asks_for_goes_by_the_clock_of_the_queue(q: Queue, clock: ManualClock):
    @q.task(name="asks", bind=True)
    def asks(self: Any) -> str:
        if self.request.retries == 0:
            raise self.retry(countdown=60)
        return "done"

    result = asks.delay()
    assert q.drain().due_in == 60
    clock.advance(60)
    assert q.drain().succeeded == 1
    assert result.get(timeout=5) == "done"


def test_delayed_jobs_run_too_when_asked_and_a_manual_clock_moves_to_them(q: Queue, clock: ManualClock):
    began, at = clock.wall(), []
    when = q.task(name="when")(lambda: at.append(clock.wall() - began))
    when.options(countdown=3600).delay()
    when.options(eta=datetime.fromtimestamp(began, UTC) + timedelta(days=30)).delay()

    assert q.drain().delayed == 2
    assert ends(q.drain(delayed=True)) == (2, 2, 0, 0)
    assert at == [3600, 30 * 86400]


def test_what_waited_too_long_is_revoked_and_what_was_kept_long_enough_is_gone(q: Queue, clock: ManualClock):
    task = q.task(name="task")(lambda: 1)
    late, kept = task.options(expires=60).delay(), task.delay()
    later = task.options(countdown=120, expires=60).delay()
    assert q.drain().ran == 2
    clock.advance(61)
    assert later.status == "REVOKED"
    assert q.drain().ran == 0
    clock.advance(86400)
    q.drain()
    assert not kept.exists()
    with pytest.raises(ResultExpired):
        late.get(timeout=5)


def test_failures_are_counted_and_told(q: Queue):
    @q.task(name="fail")
    def fail(word: str) -> None:
        raise ValueError(word)

    fail.delay("one")
    fail.delay("two")
    done = q.drain()
    assert ends(done) == (2, 0, 0, 2)
    assert [str(error) for error in done.errors] == ["one", "two"]


def test_with_propagate_the_first_failure_is_raised_once_it_is_stored(q: Queue):
    fail = q.task(name="fail")(lambda word: int(word))
    results = [fail.delay("one"), fail.delay("two")]

    with pytest.raises(ValueError, match="one"):
        q.drain(propagate=True)
    assert [result.status for result in results] == ["FAILURE", "PENDING"]


def test_a_job_that_gives_itself_back_is_no_end_of_it_and_a_timeout_is(q: Queue):
    @q.task(name="never")
    def never() -> None:
        raise Reject(requeue=True)

    result = never.delay()
    with pytest.raises(DrainTimeoutError, match="attempts ran") as caught:
        q.drain(timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert result.status == "PENDING"


def test_the_timeout_of_a_drained_queue_is_none(q: Queue):
    task = q.task(name="task")(lambda: None)
    task.options(countdown=60).delay()
    assert q.drain(timeout=0).delayed == 1


def test_an_interrupt_is_for_the_caller_and_the_job_goes_back_unharmed(q: Queue):
    interrupts = [KeyboardInterrupt()]

    @q.task(name="work", bind=True)
    def work(self: Any) -> int:
        if interrupts:
            raise interrupts.pop()
        return self.request.attempt

    result = work.delay()
    with pytest.raises(KeyboardInterrupt):
        q.drain()
    assert result.status == "PENDING"
    assert q.drain().succeeded == 1
    assert result.get(timeout=5) == 1


def test_jobs_of_tasks_that_are_not_here_are_counted_and_left(q: Queue):
    result = q.send_task("somewhere.else", (1,))
    assert q.drain().unknown == 1
    assert result.status == "PENDING"


def test_async_tasks_run_also_where_an_event_loop_runs_already(q: Queue):
    @q.task(name="wait")
    async def wait(word: str) -> str:
        await asyncio.sleep(0)
        return word

    results = [wait.delay("one")]
    q.drain()

    async def within_a_loop() -> None:
        results.append(wait.delay("two"))
        q.drain()

    asyncio.run(within_a_loop())
    assert [result.get(timeout=5) for result in results] == ["one", "two"]


def test_a_queue_without_tasks_has_nothing_to_drain(q: Queue):
    q.send_task("somewhere.else")
    assert q.drain(delayed=True).unknown == 1


def test_no_worker_is_left_registered(q: Queue):
    fail = q.task(name="fail")(lambda: 1 / 0)
    fail.delay()
    q.drain()
    assert q.transport.workers() == []


def test_a_queue_cannot_be_drained_from_one_of_its_tasks(q: Queue):
    @q.task(name="inner")
    def inner() -> None:
        q.drain()

    result = inner.delay()
    q.drain()
    with pytest.raises(NotSupportedError, match=r"inner cannot drain"):
        result.get(timeout=5)


def test_nor_within_a_transaction_nor_where_nothing_is_stored(tmp_path: Path):
    with Queue(tmp_path / "queue.db") as q, q.transaction(), pytest.raises(NotSupportedError, match="leave"):
        q.drain()
    with pytest.raises(NotSupportedError, match="eager"):
        Queue("memory://", eager=True).drain()


@pytest.mark.parametrize(
    "options", [{"timeout": -1}, {"timeout": "1"}, {"queues": "default"}, {"queues": 1}, {"delayed": 1}]
)
def test_what_makes_no_sense_is_refused(q: Queue, options: dict[str, Any]):
    with pytest.raises(ConfigurationError):
        q.drain(**options)


def test_on_the_machines_own_clock_a_drain_waits_for_what_is_delayed(url: str):
    with Queue(url, durability="normal") as q:
        result = q.task(name="soon")(lambda: "ran").options(countdown=0.02).delay()
        assert q.drain(timeout=30, delayed=True).succeeded == 1
        assert result.get(timeout=5) == "ran"


@pytest.mark.parametrize("start", [Queue.start_workers, Queue.start_scheduler])
def test_workers_do_not_start_where_the_clock_is_turned_by_hand(q: Queue, start: Callable[[Queue], object]):
    q.task(name="json.dumps")(lambda: None)
    with pytest.raises(NotSupportedError, match=r"drain\(\)"):
        start(q)
