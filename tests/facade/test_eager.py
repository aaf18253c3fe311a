"""Eager mode: the whole life of a job in its caller, with no file."""

from __future__ import annotations

import pytest

import liteq
from liteq import Ignore, Queue, Reject


@pytest.fixture
def eager(tmp_path):
    return Queue(tmp_path / "no such folder" / "queue.db", eager=True)


def test_a_call_runs_at_once_and_its_result_is_known(eager):
    add = eager.task(name="add")(lambda x, y: x + y)
    result = add.delay(1, y=2)
    assert (result.get(), result.status, result.ready(), result.successful()) == (3, "SUCCESS", True, True)
    assert (result.revoke(), result.forget(), result.exists()) == (False, True, False)


def test_no_file_is_touched(eager, tmp_path):
    eager.task(name="add")(lambda: 1).delay()
    assert list(tmp_path.iterdir()) == []


def test_arguments_and_results_go_through_the_codec(eager):
    given = [1, 2]
    task = eager.task(name="same")(lambda value: value)
    assert task.delay(given).get() == given
    assert task.delay(given).get() is not given
    with pytest.raises(liteq.EncodingError):
        task.delay(object())
    with pytest.raises(liteq.EncodingError):
        eager.task(name="bad")(lambda: object()).delay().get()


def test_a_failure_is_kept_until_it_is_asked_for(eager):
    result = eager.task(name="fail")(lambda: 1 / 0).delay()
    assert result.failed()
    assert "ZeroDivisionError" in result.traceback
    with pytest.raises(ZeroDivisionError):
        result.get()


def test_automatic_retries_follow_at_once(eager):
    attempts = []

    @eager.task(bind=True, autoretry_for=(ValueError,), max_retries=2, default_retry_delay=1000)
    def flaky(self, good_at):
        attempts.append((self.request.attempt, self.request.retries, self.request.is_eager))
        if self.request.attempt < good_at:
            raise ValueError(self.request.attempt)
        return "done"

    assert flaky.delay(3).get() == "done"
    assert attempts == [(1, 0, True), (2, 1, True), (3, 2, True)]
    with pytest.raises(ValueError, match="3"):
        flaky.delay(9).get()


def test_retries_that_the_task_asks_for_follow_at_once_and_end(eager):
    attempts = []

    @eager.task(bind=True, max_retries=1)
    def flaky(self):
        attempts.append(self.request.id)
        raise self.retry(countdown=500)

    with pytest.raises(liteq.MaxRetriesExceededError):
        flaky.delay().get()
    assert len(attempts) == 2
    assert len(set(attempts)) == 1


def test_reject_fails_and_ignore_keeps_what_the_task_reported(eager):
    @eager.task
    def refuse():
        raise Reject("no", requeue=True)

    @eager.task(bind=True)
    def custom(self):
        self.update_state("SKIPPED", {"why": 1})
        raise Ignore

    assert refuse.delay().failed()
    assert (custom.delay().status, custom.delay().info, custom.delay().ready()) == (
        "SKIPPED",
        {"why": 1},
        True,
    )


@pytest.mark.parametrize(("reason", "text"), [("spoilt", "spoilt"), ({"why": 1}, "{'why': 1}"), (None, "")])
def test_a_rejection_reads_as_its_reason_alone(eager, reason, text):
    @eager.task
    def refuse():
        raise Reject(reason)

    result = refuse.delay()
    assert str(result.result) == text
    assert result.traceback.rstrip().endswith(f"Reject: {text}".rstrip(": "))


def test_an_ignored_result_is_none(eager):
    result = eager.task(name="t", ignore_result=True)(lambda: 5).delay()
    assert (result.get(), result.successful()) == (None, True)


def test_a_task_may_call_another_and_both_know_each_other(eager):
    @eager.task(bind=True)
    def inner(self):
        return [self.request.parent_id, self.request.root_id]

    @eager.task(bind=True)
    def outer(self):
        return [self.request.id, inner.delay().get(disable_sync_subtasks=False)]

    mine, (parent, root) = outer.delay().get()
    assert mine == parent == root


def test_waiting_inside_a_task_is_refused_as_in_a_worker(eager):
    inner = eager.task(name="inner")(lambda: 1)
    outer = eager.task(name="outer")(lambda: inner.delay().get())
    with pytest.raises(liteq.SyncSubtaskError):
        outer.delay().get()


def test_many_are_checked_before_the_first_one_runs(eager):
    ran = []
    note = eager.task(name="note")(lambda x: ran.append(x))
    with pytest.raises(liteq.SignatureError):
        eager.enqueue_many([note.s(1), note.s()])
    assert ran == []
    assert [result.get() for result in eager.enqueue_many([note.s(1), note.s(2)])] == [None, None]
    assert ran == [1, 2]


def test_what_needs_a_store_is_refused(eager):
    with pytest.raises(liteq.NotSupportedError, match="eager"), eager.transaction():
        pass
    with pytest.raises(liteq.NotSupportedError, match="eager"):
        eager.start_workers(1)
    with pytest.raises(liteq.NotSupportedError, match="eager"):
        eager.task(name="t")(lambda: 1).using(object())
