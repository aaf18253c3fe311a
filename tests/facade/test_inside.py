"""What a task sees and does while it runs: request, retry, update_state, calls of other tasks."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

import liteq
from liteq import ConfigurationError, MaxRetriesExceededError, Request, Retry
from liteq.calls.options import JobOptions, decode_options, encode_options
from liteq.calls.request import current, pop_request, push_request
from liteq.job import Claim

CLAIM = Claim(1, 1, "id-1", "t", "q", b"", "msgpack", 4, 0.0, 1.5, None, 3, 2, 0, 3, False, None)


class Reported(list):
    """The acts of a job whose states go nowhere but here."""

    def update_state(self, state, meta, _post=None):
        self.append((state, meta))


@contextmanager
def running(request: Request, acts=None):
    token = push_request(lambda: request, acts)
    try:
        yield
    finally:
        pop_request(token)


@pytest.fixture
def task(queue):
    @queue.task(name="t", bind=True, max_retries=2, default_retry_delay=30)
    def task(self, x=0):
        return self.request

    return task


# ---- request ---------------------------------------------------------------------------------------------


def test_a_plain_call_is_called_directly(task):
    request = task(5)
    assert request.called_directly
    assert (request.task, request.id, request.args) == ("t", None, (5,))


def test_a_claim_becomes_a_request_with_aware_times():
    request = Request.of(CLAIM, [1], {"y": 2}, hostname="w@h", limits=(None, 9.0))
    assert (request.id, request.task, request.args, request.kwargs) == ("id-1", "t", [1], {"y": 2})
    assert (request.retries, request.attempt, request.queue, request.priority) == (2, 3, "q", 4)
    assert (request.eta, request.expires) == (datetime.fromtimestamp(1.5, UTC), None)
    assert (request.root_id, request.parent_id, request.headers) == ("id-1", None, {})
    assert (request.hostname, request.timelimit) == ("w@h", (None, 9.0))
    assert (request.is_eager, request.called_directly) == (False, False)


def test_what_travelled_with_the_job_is_in_the_request():
    options = encode_options(JobOptions(2.5, {"a": 1}, "root", "parent"))
    request = Request.of(CLAIM._replace(options=options), [], {}, limits=(None, 9.0))
    assert (request.timelimit, request.headers) == ((None, 2.5), {"a": 1})
    assert (request.root_id, request.parent_id) == ("root", "parent")


def test_the_request_is_made_only_when_it_is_read(task):
    made = []

    def make():
        made.append(1)
        return Request(task="t", id="j")

    token = push_request(make)
    try:
        assert current() is not None
        assert made == []
        assert task.request.id == "j"
        assert task.request.id == "j"
        assert made == [1]
    finally:
        pop_request(token)
    assert current() is None


def test_a_task_sees_its_own_request_only(queue, task):
    other = queue.task(name="other", bind=True)(lambda self: self.request)
    with running(Request(task="t", id="j")):
        assert task.request.id == "j"
        assert other.request.called_directly
        assert other().called_directly
        assert task(1).called_directly
        assert task.request.id == "j"


# ---- calls of other tasks ----------------------------------------------------------------------------------


def test_a_job_that_a_task_enqueues_knows_its_parent_and_root(queue, task):
    child = queue.task(name="child")(lambda: None)
    with running(Request(task="t", id="j", root_id="r")):
        results = [child.delay(), child.options(headers={"a": 1}).delay(), *queue.enqueue_many([child.s()])]
    for job in queue.transport.get([result.id for result in results]):
        options = decode_options(job.options)
        assert (options.parent_id, options.root_id) == ("j", "r")
    (job,) = queue.transport.get([results[1].id])
    assert decode_options(job.options).headers == {"a": 1}


def test_a_job_enqueued_by_a_function_that_the_task_calls_directly_has_the_same_parent(queue, task):
    child = queue.task(name="child")(lambda: None)
    middle = queue.task(name="middle", bind=True)(lambda self: child.delay())
    with running(Request(task="t", id="j")):
        result = middle()
    (job,) = queue.transport.get([result.id])
    assert decode_options(job.options).parent_id == "j"


# ---- retry -------------------------------------------------------------------------------------------------


def test_retry_raises_what_the_worker_obeys(task):
    error = ValueError("x")
    with running(Request(task="t", id="j", retries=1)), pytest.raises(Retry) as asked:
        raise task.retry(exc=error, countdown=5)
    assert asked.value.due == pytest.approx(time.time() + 5, abs=5)
    assert (asked.value.exc, asked.value.max_retries) == (error, 2)
    assert "Retry in 5s" in str(asked.value)


def test_retry_without_a_time_waits_for_the_tasks_own_delay(task):
    with running(Request(task="t", id="j")), pytest.raises(Retry) as asked:
        task.retry()
    assert asked.value.due == pytest.approx(time.time() + 30, abs=5)


def test_retry_takes_a_time(task):
    with running(Request(task="t", id="j")), pytest.raises(Retry) as asked:
        task.retry(eta=datetime(2100, 1, 1))
    assert asked.value.due == datetime(2100, 1, 1, tzinfo=UTC).timestamp()


def test_retry_can_be_returned_instead_of_raised(task):
    with running(Request(task="t", id="j")):
        asked = task.retry(countdown=timedelta(seconds=1), throw=False)
    assert isinstance(asked, Retry)


def retry_while_handling(task, handled: Exception, given: Exception | None):
    try:
        raise handled
    except ValueError:
        task.retry(exc=given)


def test_retry_remembers_the_exception_that_is_being_handled(task):
    handled = ValueError("x")
    with running(Request(task="t", id="j")), pytest.raises(Retry) as asked:
        retry_while_handling(task, handled, None)
    assert asked.value.exc is handled


def test_retry_with_none_left_raises_the_exception_that_was_given(task):
    handled, given = ValueError("x"), KeyError("y")
    with running(Request(task="t", id="j", retries=2)):
        with pytest.raises(KeyError) as raised:
            retry_while_handling(task, handled, given)
        assert raised.value is given
        assert given.__cause__ is handled
        with pytest.raises(ValueError, match="x") as again:
            retry_while_handling(task, handled, handled)
        assert again.value is handled
        assert handled.__cause__ is None


def test_retry_with_none_left_and_no_exception_given_says_that_it_is_over(task):
    with (
        running(Request(task="t", id="j", retries=2)),
        pytest.raises(MaxRetriesExceededError, match=r"t\[j\]"),
    ):
        task.retry()


def test_a_limit_given_to_retry_is_the_one_that_holds(task):
    with running(Request(task="t", id="j", retries=2)), pytest.raises(Retry) as asked:
        task.retry(max_retries=3)
    assert asked.value.max_retries == 3
    with running(Request(task="t", id="j")), pytest.raises(MaxRetriesExceededError):
        task.retry(max_retries=0)


def test_retry_without_a_limit_never_ends(queue):
    task = queue.task(name="u", bind=True, max_retries=None)(lambda self: None)
    with running(Request(task="u", id="j", retries=10**6)), pytest.raises(Retry):
        task.retry()


def test_retry_of_a_plain_call_raises_the_exception_or_the_retry_itself(queue):
    @queue.task(bind=True)
    def flaky(self, exc=None):
        self.retry(exc=exc)

    with pytest.raises(KeyError):
        flaky(KeyError("k"))
    with pytest.raises(Retry):
        flaky()


@pytest.mark.parametrize(
    "options", [{"countdown": -1}, {"countdown": 1, "eta": datetime(2100, 1, 1)}, {"max_retries": -1}]
)
def test_retry_refuses_values_that_make_no_sense(task, options):
    with running(Request(task="t", id="j")), pytest.raises(ConfigurationError):
        task.retry(**options)


def test_retry_with_new_arguments_is_refused_by_name(task):
    with running(Request(task="t", id="j")), pytest.raises(liteq.NotSupportedError, match="args"):
        task.retry(args=(1,))


# ---- update_state ------------------------------------------------------------------------------------------


def test_update_state_reaches_the_worker(task):
    reported = Reported()
    with running(Request(task="t", id="j"), reported):
        task.update_state(state="PROGRESS", meta={"n": 1})
        task.update_state("DONE")
    assert reported == [("PROGRESS", {"n": 1}), ("DONE", None)]


def test_update_state_of_a_plain_call_does_nothing(queue):
    reported = Reported()
    task = queue.task(name="u", bind=True)(lambda self: self.update_state("PROGRESS"))
    task()
    with running(Request(task="t", id="j"), reported):
        task()
    assert reported == []


@pytest.mark.parametrize("state", ["", None, 5])
def test_a_state_must_have_a_name(task, state):
    with pytest.raises(ConfigurationError, match="state"):
        task.update_state(state)
