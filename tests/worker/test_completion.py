"""A task's own writes and its job's end, in one transaction on the queue's file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_thread import Worker

from liteq import ConfigurationError, LeaseLostError, NotSupportedError, Queue
from liteq.errors import EncodingError
from liteq.job import ClaimRequest, WorkerInfo
from liteq.lifecycle import Lost, decide
from liteq.states import FAILURE, STARTED, SUCCESS
from liteq.transports.sqlite.transport import SqliteTransport
from liteq.worker.executor import Executor

PATIENCE = 30.0


@pytest.fixture
def q(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "queue.db", durability="normal") as q:
        with q.transaction() as connection:
            connection.execute("CREATE TABLE paid (job TEXT)")
        yield q


@pytest.fixture
def finish(q: Queue) -> Callable[..., Any]:
    """Enqueue a call of a function as a task, let a worker run it, and return the finished job's result."""

    def enqueue_and_work(function: Callable[..., Any], **options: Any) -> Any:
        task = q.task(bind=True, name="pay", **options)(function)
        result = task.delay()
        worker = Worker(q).start()
        try:
            result.get(PATIENCE, propagate=False)
        finally:
            worker.stop()
        return result

    return enqueue_and_work


def paid(q: Queue) -> list[str]:
    with q.transaction() as connection:
        return [row[0] for row in connection.execute("SELECT job FROM paid")]


def pay(self: Any, connection: Any) -> None:
    connection.execute("INSERT INTO paid VALUES (?)", (self.request.id,))


# ---- completing ----------------------------------------------------------------------------------


def test_the_rows_and_the_success_are_stored_together(q: Queue, finish: Callable[..., Any]) -> None:
    def task(self: Any) -> str:
        with self.transaction() as connection:
            pay(self, connection)
            self.complete({"receipt": 7})
        return "what is returned later is not the result"

    result = finish(task)
    assert (result.status, result.get(), paid(q)) == (SUCCESS, {"receipt": 7}, [result.id])


def test_without_a_result_the_job_gives_none(q: Queue, finish: Callable[..., Any]) -> None:
    def task(self: Any) -> str:
        with self.transaction() as connection:
            pay(self, connection)
        return "not the result"

    result = finish(task)
    assert (result.status, result.get(), len(paid(q))) == (SUCCESS, None, 1)


@pytest.mark.parametrize("error", [ValueError("too late"), SystemExit(3), KeyboardInterrupt()])
def test_what_the_task_raises_after_the_block_changes_nothing(
    q: Queue, finish: Callable[..., Any], caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def task(self: Any) -> None:
        with self.transaction() as connection:
            pay(self, connection)
            self.complete("paid")
        raise error

    with caplog.at_level(logging.WARNING, "liteq.worker"):
        result = finish(task, autoretry_for=(ValueError,), default_retry_delay=0)
    assert (result.status, result.get(), len(paid(q))) == (SUCCESS, "paid", 1)
    assert "raised after it had completed" in caplog.text


def test_a_retry_asked_for_after_the_block_is_not_given(q: Queue, finish: Callable[..., Any]) -> None:
    def task(self: Any) -> None:
        with self.transaction() as connection:
            pay(self, connection)
        self.update_state("PROGRESS", {"too": "late"})
        raise self.retry(countdown=0)

    result = finish(task)
    assert (result.status, len(paid(q))) == (SUCCESS, 1)


def test_an_ignored_result_leaves_the_rows_and_no_record(q: Queue) -> None:
    def task(self: Any) -> None:
        with self.transaction() as connection:
            pay(self, connection)
            self.complete("nobody wants it")

    result = q.task(bind=True, name="pay", ignore_result=True)(task).delay()
    worker = Worker(q).start()
    try:
        assert result.get(PATIENCE) is None
    finally:
        worker.stop()
    assert paid(q) == [result.id]
    assert not result.exists()


def test_jobs_enqueued_in_the_block_are_stored_with_it(q: Queue, finish: Callable[..., Any]) -> None:
    follow_up = q.task(name="follow up", queue="elsewhere")(lambda: None)
    ids: list[str] = []

    def task(self: Any) -> None:
        with self.transaction() as connection:
            pay(self, connection)
            ids.append(follow_up.delay().id)

    assert finish(task).status == SUCCESS
    assert q.AsyncResult(ids[0]).exists()


@pytest.mark.parametrize("raises", [True, False])
def test_a_transaction_left_open_after_the_block_is_rolled_back_and_changes_nothing(
    q: Queue, finish: Callable[..., Any], raises: bool
) -> None:
    def task(self: Any) -> None:
        with self.transaction() as connection:
            pay(self, connection)
        left = q.transaction()
        left.__enter__().execute("INSERT INTO paid VALUES ('never')")
        kept.append(left)
        if raises:
            raise ValueError("too late")

    kept: list[Any] = []
    result = finish(task)
    assert (result.status, paid(q)) == (SUCCESS, [result.id])


def test_the_log_tells_the_result_that_was_given(
    q: Queue, finish: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def task(self: Any) -> str:
        with self.transaction() as connection:
            pay(self, connection)
            self.complete("given")
        return "returned"

    with caplog.at_level(logging.INFO, "liteq.worker"):
        finish(task)
    assert "'given'" in caplog.text
    assert "'returned'" not in caplog.text


def test_another_tasks_transaction_does_not_end_the_job_that_uses_it(
    q: Queue, finish: Callable[..., Any]
) -> None:
    other = q.task(name="other", bind=True)(lambda self: None)

    def task(self: Any) -> str:
        with other.transaction() as connection:
            pay(self, connection)
            other.complete("not this job's result")
        return "returned"

    result = finish(task)
    assert (result.status, result.get(), paid(q)) == (SUCCESS, "returned", [result.id])


# ---- not completing ------------------------------------------------------------------------------


def test_an_error_in_the_block_takes_everything_back_and_fails_the_job(
    q: Queue, finish: Callable[..., Any]
) -> None:
    def task(self: Any) -> None:
        with self.transaction() as connection:
            pay(self, connection)
            self.complete("paid")
            raise ValueError("no money")

    result = finish(task)
    assert (result.status, str(result.result), paid(q)) == (FAILURE, "no money", [])


def test_a_retried_block_has_its_effect_once(q: Queue, finish: Callable[..., Any]) -> None:
    def task(self: Any) -> None:
        with self.transaction() as connection:
            pay(self, connection)
            self.complete(self.request.attempt)
            if self.request.attempt < 3:
                raise ValueError("not yet")

    result = finish(task, autoretry_for=(ValueError,), default_retry_delay=0)
    assert (result.status, result.get(), len(paid(q))) == (SUCCESS, 3, 1)


def test_a_second_block_is_tried_after_one_that_failed(q: Queue, finish: Callable[..., Any]) -> None:
    def task(self: Any) -> None:
        try:
            with self.transaction() as connection:
                pay(self, connection)
                self.complete("first")
                raise ValueError("no")
        except ValueError:
            with self.transaction() as connection:
                pay(self, connection)

    result = finish(task)
    assert (result.status, result.get(), len(paid(q))) == (SUCCESS, None, 1)


def refusal_of(finish: Callable[..., Any], function: Callable[..., Any]) -> str:
    result = finish(function)
    assert result.status == FAILURE
    return f"{type(result.result).__name__}: {result.result}"


def test_a_result_that_cannot_be_encoded_is_refused_where_it_is_given(
    q: Queue, finish: Callable[..., Any]
) -> None:
    def task(self: Any) -> None:
        with self.transaction() as connection:
            pay(self, connection)
            self.complete(object())

    assert refusal_of(finish, task).startswith(EncodingError.__name__)
    assert paid(q) == []


def test_a_job_completes_once(q: Queue, finish: Callable[..., Any]) -> None:
    told: list[str] = []

    def task(self: Any) -> None:
        with self.transaction() as connection:
            pay(self, connection)
        try:
            with self.transaction():
                pass
        except NotSupportedError as error:
            told.append(str(error))

    assert finish(task).status == SUCCESS
    assert "completed in a transaction already" in told[0]


def test_complete_outside_of_the_block_is_refused(finish: Callable[..., Any]) -> None:
    def task(self: Any) -> None:
        self.complete(1)

    assert "with self.transaction()" in refusal_of(finish, task)


def test_a_commit_in_the_block_is_refused_and_leaves_the_job_unfinished(
    q: Queue, finish: Callable[..., Any]
) -> None:
    def task(self: Any) -> None:
        with self.transaction() as connection:
            connection.execute("COMMIT")

    assert "the block itself commits" in refusal_of(finish, task)


@pytest.mark.parametrize("block", ["self", "queue"])
def test_a_state_reported_inside_a_transaction_is_refused_at_once(
    q: Queue, finish: Callable[..., Any], block: str
) -> None:
    def task(self: Any) -> None:
        with self.transaction() if block == "self" else q.transaction():
            self.update_state("PROGRESS")

    assert "before the block" in refusal_of(finish, task)


def test_settling_its_own_row_by_hand_is_refused(q: Queue, finish: Callable[..., Any]) -> None:
    def task(self: Any) -> None:
        with self.transaction() as connection:
            pay(self, connection)
            connection.execute("UPDATE liteq_jobs SET token = 1")

    assert "liteq_" in refusal_of(finish, task)
    assert paid(q) == []


# ---- the fence -----------------------------------------------------------------------------------


def test_a_worker_whose_lease_was_superseded_writes_nothing(q: Queue) -> None:
    entered: list[str] = []

    @q.task(bind=True, name="pay")
    def task(self: Any) -> None:
        with self.transaction() as connection:
            entered.append(self.request.id)
            pay(self, connection)

    result = task.delay()
    request = ClaimRequest({"pay": 1})
    transport = q.transport
    zombie, heir = (
        transport.register(WorkerInfo(name, "host", 1, 1), 60.0, 0.0) for name in ("zombie", "heir")
    )
    far = 1e10
    (claim,) = transport.claim(zombie, request, far)
    transport.expel(zombie, None)
    freed = decide(claim, Lost(True, b"", "its worker seemed to be gone"), far, lambda: 0.5)
    assert transport.settle(zombie, [freed], far) == []
    (again,) = transport.claim(heir, request, far)
    assert again.token != claim.token

    late = Executor(q.tasks, transport).run(claim)
    assert late is not None
    assert (late.state, "lease" in str(late.reason)) == (FAILURE, True)
    assert (entered, paid(q), result.status) == ([], [], STARTED)
    assert transport.settle(zombie, [late], far) == [late]


def test_a_lost_lease_is_an_error_of_its_own(q: Queue) -> None:
    with pytest.raises(LeaseLostError), q.transport.completion(1, 1, lambda: pytest.fail("not asked")):
        pytest.fail("the block is not entered")


def test_a_job_from_another_file_is_refused(q: Queue, tmp_path: Path) -> None:
    @q.task(bind=True, name="pay")
    def task(self: Any) -> None:
        with self.transaction():
            pass

    with SqliteTransport(tmp_path / "other.db") as other:
        other.enqueue([task.new_job((), {})], 0.0)
        holder = other.register(WorkerInfo("w", "host", 1, 1), 60.0, 0.0)
        (claim,) = other.claim(holder, ClaimRequest({"pay": 1}), 1e10)
        decided = Executor(q.tasks, other).run(claim)
    assert decided is not None
    assert ConfigurationError.__name__ in str(decided.reason)


# ---- without a job -------------------------------------------------------------------------------


def test_in_a_direct_call_it_is_a_plain_transaction(q: Queue) -> None:
    @q.task(bind=True, name="pay")
    def task(self: Any) -> str:
        with self.transaction() as connection:
            connection.execute("INSERT INTO paid VALUES ('by hand')")
            self.complete("ignored")
        return "returned"

    assert (task(), paid(q)) == ("returned", ["by hand"])


def test_an_eager_queue_has_no_transaction_to_complete_in(tmp_path: Path) -> None:
    eager = Queue(tmp_path / "eager.db", eager=True)

    @eager.task(bind=True, name="pay")
    def task(self: Any) -> None:
        with self.transaction():
            pass

    with pytest.raises(NotSupportedError, match="eager"):
        task.delay().get()


def test_a_memory_queue_has_none_either(finish: Callable[..., Any]) -> None:
    with Queue("memory://") as memory:

        @memory.task(bind=True, name="pay")
        def task(self: Any) -> None:
            with self.transaction():
                pass

        result = task.delay()
        worker = Worker(memory).start()
        try:
            with pytest.raises(NotSupportedError, match="queue file"):
                result.get(PATIENCE)
        finally:
            worker.stop()
