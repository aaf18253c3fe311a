"""Soft time limits: raised inside the task, at the latest where a blocking call returns, nowhere else."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Callable

import pytest
from worker_thread import PATIENCE, Worker

from liteq import ConfigurationError, Queue, SoftTimeLimitExceeded
from liteq.calls.coroutines import close_loop, run_coroutine
from liteq.states import FAILURE
from liteq.worker.soft import alimit, limit, run_limited

Work = Callable[..., Worker]


def spin(seconds: float) -> None:
    """Take so long in steps that an exception can come between."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@pytest.fixture(autouse=True)
def _no_loop_is_left():
    yield
    close_loop()


def test_a_task_in_a_thread_can_tidy_up_and_return(queue: Queue, work: Work) -> None:
    @queue.task(bind=True, soft_time_limit=0.05)
    def slow(self) -> object:
        try:
            spin(PATIENCE)
        except SoftTimeLimitExceeded:
            return self.request.timelimit
        return "never"

    work()
    assert slow.delay().get(timeout=PATIENCE) == (0.05, None)


def test_a_task_that_lets_it_through_fails_with_it(queue: Queue, work: Work) -> None:
    @queue.task(soft_time_limit=60)
    def slow() -> None:
        spin(PATIENCE)

    work()
    result = slow.options(soft_time_limit=0.05).delay()
    with pytest.raises(SoftTimeLimitExceeded, match=r"soft time limit of 0\.05 s"):
        result.get(timeout=PATIENCE)
    assert result.status == FAILURE


@pytest.mark.parametrize("is_async", [False, True])
def test_a_task_that_retries_it_runs_again(queue: Queue, work: Work, is_async: bool) -> None:
    attempts: list[int] = []
    options = {
        "soft_time_limit": 0.05,
        "autoretry_for": (SoftTimeLimitExceeded,),
        "default_retry_delay": 0,
        "name": "slow",
    }

    def begin() -> bool:
        attempts.append(1)
        return len(attempts) == 1

    if is_async:

        @queue.task(**options)
        async def slow() -> str:
            await asyncio.sleep(PATIENCE if begin() else 0)
            return "done"

    else:

        @queue.task(**options)
        def slow() -> str:
            spin(PATIENCE if begin() else 0)
            return "done"

    work()
    assert slow.delay().get(timeout=PATIENCE) == "done"
    assert len(attempts) == 2


def test_a_job_in_time_is_left_alone_and_so_are_those_after_it(queue: Queue, work: Work) -> None:
    @queue.task(soft_time_limit=0.05)
    def quick() -> str:
        return "in time"

    @queue.task
    def unlimited() -> str:
        spin(0.2)
        return "alone"

    work()
    results = [quick.delay(), unlimited.delay()]
    assert [result.get(timeout=PATIENCE) for result in results] == ["in time", "alone"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
def test_the_main_thread_is_woken_from_a_blocking_call_and_the_signal_is_as_it_was() -> None:
    before = signal.getsignal(signal.SIGURG)
    began = time.monotonic()
    with pytest.raises(SoftTimeLimitExceeded), limit(0.05):
        time.sleep(PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2
    assert signal.getsignal(signal.SIGURG) is before


def test_a_limit_that_is_reached_as_the_task_ends_hits_nobody_later(rounds) -> None:
    reached = ended = 0
    for number in range(rounds(300, 5_000)):
        try:
            with limit(0.001):
                spin(0.0009 + number % 20 * 0.00001)
            ended += 1
        except SoftTimeLimitExceeded:
            reached += 1
        # Whatever is still on its way would come here, and fail the test.
        spin(0.0003)
    assert reached + ended == rounds(300, 5_000)
    assert ended > 0


def test_a_limit_in_one_thread_is_none_in_another() -> None:
    done: list[str] = []

    def other() -> None:
        with limit(PATIENCE):
            spin(0.2)
        done.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    with pytest.raises(SoftTimeLimitExceeded), limit(0.05):
        spin(PATIENCE)
    thread.join()
    assert done == ["other"]


# ---- coroutines ----------------------------------------------------------------------------------


def test_a_coroutine_can_catch_it_where_it_awaits_and_go_on() -> None:
    async def slow() -> str:
        try:
            await asyncio.sleep(PATIENCE)
        except SoftTimeLimitExceeded as error:
            await asyncio.sleep(0)
            return str(error)
        return "never"

    assert "0.02 s" in run_limited(0.02, slow)


@pytest.mark.parametrize("in_block", [False, True])
def test_what_a_coroutine_has_begun_ends_with_it(in_block: bool) -> None:
    ends: list[str] = []

    async def part(name: str) -> None:
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            ends.append(name)

    async def slow() -> None:
        async with asyncio.TaskGroup() as group:
            for name in "ab":
                group.create_task(part(name))
            if in_block:
                await asyncio.sleep(PATIENCE)

    with pytest.raises(SoftTimeLimitExceeded, match=r"limit of 0\.02 s") as raised:
        run_limited(0.02, slow)
    assert type(raised.value) is SoftTimeLimitExceeded
    assert sorted(ends) == ["a", "b"]


def test_an_error_beside_the_limit_is_not_lost() -> None:
    async def part() -> None:
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            raise ValueError("cannot clean up")

    async def slow() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(part())
            await asyncio.sleep(PATIENCE)

    with pytest.raises(ExceptionGroup) as raised:
        run_limited(0.02, slow)
    assert raised.group_contains(ValueError, match="cannot clean up")


def test_a_timeout_of_the_coroutines_own_stays_its_own() -> None:
    async def slow() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(PATIENCE)
        except TimeoutError:
            return "its own"
        return "never"

    assert run_limited(PATIENCE, slow) == "its own"


def test_who_cancels_the_task_is_not_taken_for_the_limit() -> None:
    async def main() -> object:
        task = asyncio.create_task(alimit(PATIENCE, asyncio.sleep(PATIENCE)))
        await asyncio.sleep(0)
        task.cancel()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    assert type(run_coroutine(main())) is asyncio.CancelledError


def test_after_a_limit_the_task_is_not_cancelled() -> None:
    async def main() -> int:
        with pytest.raises(SoftTimeLimitExceeded):
            await alimit(0.01, asyncio.sleep(PATIENCE))
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert run_coroutine(main()) == 0


# ---- saying it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("soft", [2, 3])
def test_a_soft_limit_that_the_hard_one_forestalls_is_refused(tmp_path, soft: float) -> None:
    with Queue(tmp_path / "queue.db") as queue:
        with pytest.raises(ConfigurationError, match="less than the time_limit"):
            queue.task(time_limit=2, soft_time_limit=soft)
        task = queue.task(name="t", time_limit=2, soft_time_limit=1)(spin)
        for call in (
            lambda: task.options(soft_time_limit=soft),
            lambda: task.options(priority=1).options(soft_time_limit=soft),
            lambda: task.apply_async((1,), time_limit=0.5),
            lambda: task.options(priority=1).apply_async((1,), time_limit=0.5),
        ):
            with pytest.raises(ConfigurationError, match="less than the time_limit"):
                call()
        with pytest.raises(ConfigurationError, match="less than the time_limit"):
            queue.send_task("elsewhere", (), time_limit=2, soft_time_limit=soft)
        queue.schedules.add(60, task.s(1), name="each minute", soft_time_limit=0.5)
        for change in ({"soft_time_limit": soft}, {"time_limit": 0.3}):
            with pytest.raises(ConfigurationError, match="less than the time_limit"):
                queue.schedules.change("each minute", **change)
        assert queue.transport.count() == []


def test_an_eager_task_is_told_its_limits_and_not_held_to_them() -> None:
    @Queue("memory://", eager=True).task(bind=True, soft_time_limit=0.001)
    def slow(self) -> object:
        spin(0.02)
        return self.request.timelimit

    assert slow.delay().get() == (0.001, None)
