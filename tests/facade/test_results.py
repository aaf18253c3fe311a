"""What a caller reads of a job, at each station of its life."""

from __future__ import annotations

import json
import threading
import time
from decimal import Decimal

import pytest

import liteq
from liteq import Queue
from liteq.calls.request import Request, pop_request, push_request
from liteq.ids import new_id
from liteq.lifecycle import Ignored, Succeeded


class Unlucky(ValueError):
    """A user's own exception."""


@pytest.fixture
def add(queue):
    @queue.task
    def add(x: int, y: int = 2) -> int:
        return x + y

    return add


@pytest.fixture
def worker(queue, add, hand_worker):
    return hand_worker(queue)


def test_a_job_is_pending_then_started_then_success(add, worker):
    result = add.delay(1)
    assert (result.status, result.ready(), result.exists(), result.result) == ("PENDING", False, True, None)
    job = worker.claim()
    assert (result.state, result.ready(), result.info) == ("STARTED", False, None)
    worker.settle(job, Succeeded(add.codec.encode(Decimal("3.0"))))
    assert (result.status, result.ready(), result.successful(), result.failed()) == (
        "SUCCESS",
        True,
        True,
        False,
    )
    assert result.get() == result.result == Decimal("3.0")
    assert result.traceback is None


def test_a_task_that_returns_none_gives_none(add, worker):
    result = add.delay(1)
    worker.succeed(None)
    assert result.get(timeout=0) is None
    assert result.exists()


def test_a_failure_is_raised_as_its_own_type_with_the_remote_traceback(add, worker):
    result = add.delay(1)
    try:
        raise Unlucky("no", 13)
    except Unlucky as error:
        worker.fail(error)
    with pytest.raises(Unlucky) as raised:
        result.get()
    assert raised.value.args == ("no", 13)
    assert (result.status, result.failed(), result.successful()) == ("FAILURE", True, False)
    assert isinstance(result.result, Unlucky)
    assert "test_results.py" in result.traceback
    assert isinstance(result.get(propagate=False), Unlucky)


def test_a_failure_whose_type_is_not_at_hand_is_a_task_error(add, worker):
    class Local(Exception):
        pass

    result = add.delay(1)
    worker.fail(Local("deep"))
    with pytest.raises(liteq.TaskError, match="Local: deep"):
        result.get()


def test_a_job_that_waits_for_a_retry_shows_why(add, worker):
    result = add.delay(1)
    worker.ask_for_retry(Unlucky("again"))
    assert (result.status, result.ready()) == ("RETRY", False)
    assert isinstance(result.result, Unlucky)


def test_a_state_of_the_tasks_own_shows_as_it_is_with_its_meta(add, worker):
    result = add.delay(1)
    worker.report("PROGRESS", {"done": 3})
    assert (result.status, result.info, result.ready()) == ("PROGRESS", {"done": 3}, False)


def test_a_failure_that_the_task_reported_itself_carries_its_meta(add, worker):
    result = add.delay(1)
    worker.settle(worker.claim(), Ignored("FAILURE", add.codec.encode({"why": "because"})))
    assert (result.status, result.info) == ("FAILURE", {"why": "because"})
    with pytest.raises(liteq.TaskError, match="because"):
        result.get()


def test_a_waiting_job_can_be_revoked_and_get_says_so(add, queue, worker):
    result = add.delay(1)
    assert result.revoke() is True
    assert (result.status, result.ready()) == ("REVOKED", True)
    assert isinstance(result.result, liteq.TaskRevokedError)
    with pytest.raises(liteq.TaskRevokedError, match="revoked"):
        result.get()


def test_a_running_or_finished_job_cannot_be_revoked(add, worker):
    result = add.delay(1)
    job = worker.claim()
    assert result.revoke() is False
    worker.settle(job, Succeeded())
    assert result.revoke() is False
    assert result.status == "SUCCESS"


def test_ending_a_running_job_is_refused_with_a_sentence(add):
    with pytest.raises(liteq.NotSupportedError, match="terminate"):
        add.delay(1).revoke(terminate=True)


def test_a_waiting_job_whose_time_has_passed_reads_revoked_before_anybody_swept(add):
    result = add.apply_async((1,), expires=0, countdown=60)
    assert (result.status, result.ready()) == ("REVOKED", True)
    with pytest.raises(liteq.TaskRevokedError, match="expired"):
        result.get()


def test_an_unknown_id_reads_pending_and_does_not_exist(queue):
    result = queue.AsyncResult("nobody")
    assert (result.status, result.exists(), result.ready(), result.result) == ("PENDING", False, False, None)
    assert result.revoke() is False
    assert result.forget() is False
    with pytest.raises(liteq.ResultTimeoutError):
        result.get(timeout=0)


def test_a_result_is_found_again_by_its_id(add, queue, worker):
    first = add.delay(1)
    worker.succeed(3)
    second = queue.AsyncResult(first.id)
    assert second.get() == 3
    assert second == first
    assert hash(second) == hash(first)
    assert second.task_id == first.id
    assert second != queue.AsyncResult("other")
    assert first.id in repr(first)


def test_get_gives_up_at_its_timeout_and_leaves_the_job_alone(add):
    result = add.delay(1)
    with pytest.raises(liteq.TimeoutError, match="PENDING") as late:
        result.get(timeout=0.01)
    assert isinstance(late.value, TimeoutError)
    assert result.status == "PENDING"


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", True])
def test_a_timeout_that_is_no_time_is_refused(add, timeout):
    with pytest.raises(liteq.ConfigurationError, match="timeout"):
        add.delay(1).get(timeout=timeout)


def test_get_is_woken_by_the_job_that_finishes(add, worker):
    result = add.delay(1)
    settled = threading.Thread(target=worker.succeed, args=(3,))
    settled.start()
    assert result.get(timeout=30) == 3
    settled.join()


def test_a_finished_job_is_read_without_opening_a_listener(add, queue, worker, monkeypatch):
    result = add.delay(1)
    worker.succeed(3)
    monkeypatch.setattr(queue.transport, "listen_for_result", None)
    assert result.get() == 3


# ---- records that are gone -----------------------------------------------------------------------------


def test_a_success_that_nobody_wanted_reads_as_done_and_gives_none(queue, add, worker):
    result = add.apply_async((1,), ignore_result=True)
    assert result.status == "PENDING"
    worker.succeed(3)
    assert (result.exists(), result.status, result.ready()) == (False, "SUCCESS", True)
    assert result.get(timeout=0) is None


def test_a_failure_is_kept_though_the_result_was_to_be_ignored(add, worker):
    result = add.apply_async((1,), ignore_result=True)
    worker.fail(Unlucky("no"))
    with pytest.raises(Unlucky):
        result.get()


def test_a_result_that_expired_is_not_waited_for(add, queue, worker):
    result = add.delay(1)
    worker.succeed(3)
    queue.transport.sweep(time.time() + 86401)
    assert (result.status, result.exists()) == ("PENDING", False)
    with pytest.raises(liteq.ResultExpired, match=result.id):
        result.get()


def test_an_id_older_than_results_are_kept_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("liteq.ids._maker._millisecond", 0)
    with Queue("memory://", result_expires=3600) as queue:
        long_ago = int((time.time() - 3700) * 1000)
        old = f"{long_ago >> 16:08x}-{long_ago & 0xFFFF:04x}" + new_id()[13:]
        with pytest.raises(liteq.ResultExpired):
            queue.AsyncResult(old).get()
        with pytest.raises(liteq.ResultTimeoutError):
            queue.AsyncResult(new_id()).get(timeout=0)
    with Queue("memory://", result_expires=None) as queue, pytest.raises(liteq.ResultTimeoutError):
        queue.AsyncResult(old).get(timeout=0)


def test_a_forgotten_result_is_gone(add, worker):
    result = add.delay(1)
    worker.succeed(3)
    assert result.forget() is True
    assert not result.exists()
    with pytest.raises(liteq.ResultExpired):
        result.get()


# ---- inside a task ---------------------------------------------------------------------------------------


def test_waiting_inside_a_task_is_refused_unless_the_caller_insists(add, worker):
    result = add.delay(1)
    worker.succeed(3)
    token = push_request(lambda: Request(task="outer", id="o"))
    try:
        with pytest.raises(liteq.SyncSubtaskError, match="outer"):
            result.get()
        assert result.get(disable_sync_subtasks=False) == 3
    finally:
        pop_request(token)


def test_a_queue_can_allow_waiting_inside_tasks(hand_worker):
    with Queue("memory://", disable_sync_subtasks=False) as queue:
        task = queue.task(name="t")(lambda: None)
        worker = hand_worker(queue)
        result = task.delay()
        worker.succeed(3)
        token = push_request(lambda: Request(task="outer"))
        try:
            assert result.get() == 3
            with pytest.raises(liteq.SyncSubtaskError):
                result.get(disable_sync_subtasks=True)
        finally:
            pop_request(token)


def test_a_result_of_another_codec_is_read_with_that_codec(queue, hand_worker):
    task = queue.task(name="t", serializer="json")(lambda: None)
    worker = hand_worker(queue)
    result = task.delay()
    worker.succeed([1, "two"])
    (job,) = queue.transport.get([result.id])
    assert json.loads(job.result) == [1, "two"]
    assert result.get() == [1, "two"]
