"""Async tasks where jobs run one at a time: each thread has an event loop for them, which it keeps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from worker_thread import PATIENCE, Worker

from liteq import Queue
from liteq.calls.coroutines import close_loop, run_coroutine
from liteq.states import FAILURE

Work = Callable[..., Worker]


@pytest.fixture(autouse=True)
def _no_loop_is_left() -> Iterator[None]:
    yield
    close_loop()


def test_what_an_async_task_gives_is_its_result(queue: Queue, work: Work) -> None:
    @queue.task(bind=True)
    async def add(self, x: int, y: int) -> list[object]:
        await asyncio.sleep(0)
        return [self.request.id, x + y]

    work()
    result = add.delay(1, y=2)
    assert result.get(timeout=PATIENCE) == [result.id, 3]


def test_jobs_of_one_worker_share_a_loop_and_it_is_closed_at_the_end(queue: Queue, work: Work) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    @queue.task
    async def note() -> None:
        loops.append(asyncio.get_running_loop())

    worker = work()
    for _ in range(2):
        note.delay().get(timeout=PATIENCE)
    worker.stop()
    first, second = loops
    assert first is second
    assert first.is_closed()


@pytest.mark.parametrize("raised", [ValueError, asyncio.CancelledError, SystemExit, KeyboardInterrupt])
def test_whatever_an_async_task_raises_ends_its_own_job_only(
    queue: Queue, work: Work, raised: type[BaseException]
) -> None:
    @queue.task
    async def fail() -> None:
        await asyncio.sleep(0)
        raise raised("so")

    @queue.task
    async def well() -> int:
        return 1

    work()
    failed = fail.delay()
    assert well.delay().get(timeout=PATIENCE) == 1
    assert failed.status == FAILURE
    assert "in fail" in str(failed.traceback)
    assert "asyncio" not in str(failed.traceback).replace("asyncio.exceptions", "")


def test_an_async_task_is_tried_again_like_any_other(queue: Queue, work: Work) -> None:
    @queue.task(bind=True, max_retries=1)
    async def again(self) -> int:
        if self.request.retries == 0:
            raise self.retry(countdown=0)
        return self.request.attempt

    work()
    assert again.delay().get(timeout=PATIENCE) == 2


def test_a_plain_function_may_give_a_coroutine_too(queue: Queue, work: Work) -> None:
    async def inner() -> str:
        return "given"

    @queue.task
    def outer():
        return inner()

    work()
    assert outer.delay().get(timeout=PATIENCE) == "given"


def test_what_an_async_task_has_begun_and_not_awaited_is_cancelled() -> None:
    ended: list[str] = []

    async def stay() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def leave() -> None:
        ended.append("left")
        task = asyncio.create_task(stay())
        await asyncio.sleep(0)
        assert not task.done()

    run_coroutine(leave())
    assert ended == ["left", "cancelled"]


def test_a_plain_call_of_a_bound_async_task_has_its_own_request(queue: Queue) -> None:
    @queue.task(bind=True)
    async def direct(self, value: int) -> tuple[bool, int]:
        await asyncio.sleep(0)
        return self.request.called_directly, value

    assert run_coroutine(direct(4)) == (True, 4)


def test_an_eager_queue_runs_async_tasks_also_inside_of_an_event_loop() -> None:
    queue = Queue("memory://", eager=True)

    @queue.task(bind=True)
    async def give(self, value: int) -> tuple[bool, int, str]:
        await asyncio.sleep(0)
        return self.request.is_eager, value, threading.current_thread().name

    async def call() -> object:
        return give.delay(2).get()

    assert give.delay(1).get()[:2] == (True, 1)
    assert asyncio.run(call()) == (True, 2, "liteq-coroutine")
