"""Async tasks and transactions: the job ends with the block, and no block outlives its job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_thread import PATIENCE, Worker

from liteq import NotSupportedError, Queue
from liteq.aio.transactions import open_blocks
from liteq.states import FAILURE, SUCCESS

Finish = Callable[[Callable[..., Any]], Any]


@pytest.fixture
def q(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "queue.db", durability="normal", busy_timeout=5) as q:
        with q.transaction() as connection:
            connection.execute("CREATE TABLE paid (job TEXT)")
        q.task(name="mail")(lambda: None)
        yield q


@pytest.fixture
def finish(q: Queue) -> Finish:
    """Enqueue a call of a function as a task, let a worker run it, and return the finished job's result."""

    def enqueue_and_work(function: Callable[..., Any]) -> Any:
        task = q.task(bind=True, name="pay")(function)
        result = task.delay()
        worker = Worker(q, tasks={"pay": q.tasks["pay"]}).start()
        try:
            result.get(PATIENCE, propagate=False)
        finally:
            worker.stop()
        return result

    return enqueue_and_work


def stored(q: Queue) -> tuple[int, int]:
    """Count the rows, and the jobs that the task has enqueued."""
    with q.transaction() as connection:
        ((rows,),) = connection.execute("SELECT count(*) FROM paid")
    return rows, sum(lane.jobs for lane in q.transport.count() if lane.task == "mail")


def test_rows_jobs_and_the_success_are_stored_together(q: Queue, finish: Finish) -> None:
    async def task(self: Any) -> str:
        async with self.atransaction() as connection:
            await connection.execute("INSERT INTO paid VALUES (?)", (self.request.id,))
            await q.asend_task("mail")
            await asyncio.sleep(0)
            self.complete({"receipt": 7})
        raise ValueError("too late to change anything")

    result = finish(task)
    assert (result.status, result.get(), stored(q)) == (SUCCESS, {"receipt": 7}, (1, 1))


def test_an_exception_in_the_block_leaves_nothing_and_fails_the_job(q: Queue, finish: Finish) -> None:
    async def task(self: Any) -> None:
        async with self.atransaction() as connection:
            await connection.execute("INSERT INTO paid VALUES (?)", (self.request.id,))
            await q.asend_task("mail")
            self.complete("paid")
            raise ValueError("no")

    result = finish(task)
    assert (result.status, stored(q)) == (FAILURE, (0, 0))
    with pytest.raises(ValueError, match="no"):
        result.get()


@pytest.mark.parametrize("raises", [False, True])
def test_a_block_that_the_task_leaves_open_ends_with_its_job(q: Queue, finish: Finish, raises: bool) -> None:
    async def task(self: Any) -> str:
        connection = await q.atransaction().__aenter__()
        await connection.execute("INSERT INTO paid VALUES (?)", (self.request.id,))
        if raises:
            raise ValueError("no")
        return "never mind"

    result = finish(task)
    assert (result.status, stored(q)) == (FAILURE, (0, 0))
    with pytest.raises(ValueError if raises else NotSupportedError, match="no" if raises else "rolled back"):
        result.get()
    assert not open_blocks


def test_a_state_that_would_wait_for_the_block_is_refused(q: Queue, finish: Finish) -> None:
    async def task(self: Any) -> None:
        async with q.atransaction():
            self.update_state("PROGRESS")

    with pytest.raises(NotSupportedError, match=r"update_state\(\) would block the event loop"):
        finish(task).get()


def test_called_directly_it_is_a_transaction_and_ends_no_job(q: Queue) -> None:
    @q.task(bind=True, name="pay")
    async def task(self: Any) -> str:
        async with self.atransaction() as connection:
            await connection.execute("INSERT INTO paid VALUES ('direct')")
            self.complete("ignored")
        return "returned"

    assert asyncio.run(task()) == "returned"
    assert stored(q) == (1, 0)
