"""Coroutines call tasks and await results as other code does, and their event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from overwriting import empty

import liteq
from liteq import NotSupportedError, Queue, ResultTimeoutError, SignatureError
from liteq.calls.request import Request, pop_request, push_request
from liteq.errors import (
    ConfigurationError,
    StoreReplacedError,
    StoreUnavailableError,
    SyncSubtaskError,
    TaskRevokedError,
)

PATIENCE = 30.0


@pytest.fixture(params=["memory", "file", "redis"])
def queue(request: pytest.FixtureRequest, tmp_path) -> Iterator[Queue]:
    url = {"memory": "memory://", "file": tmp_path / "queue.db"}.get(request.param)
    with Queue(request.getfixturevalue("redis_url") if url is None else url, durability="normal") as queue:
        yield queue


@pytest.fixture
def file_queue(tmp_path) -> Iterator[Queue]:
    with Queue(tmp_path / "queue.db", durability="normal") as queue:
        yield queue


def adder(queue: Queue, **options: Any):
    @queue.task(name="add", **options)
    def add(x: int, y: int = 2) -> int:
        return x + y

    return add


async def soon(holds: Callable[[], bool]) -> None:
    """Let the loop go on until something holds."""
    give_up = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < give_up, "it never came to hold"
        await asyncio.sleep(0.001)


def threads(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


# ---- calling -----------------------------------------------------------------------------------------


def test_a_call_from_a_coroutine_is_a_job_and_its_result_is_awaited(queue: Queue, hand_worker):
    add = adder(queue)

    async def main() -> None:
        result = await add.adelay(1, y=5)
        assert (result.status, result.exists()) == ("PENDING", True)
        worker = hand_worker(queue)
        asyncio.get_running_loop().call_later(0.01, worker.succeed, 6)
        assert await result == 6
        assert await result.aget(timeout=0) == 6

    asyncio.run(main())


def test_options_arguments_and_signatures_are_as_in_other_calls(queue: Queue):
    add = adder(queue)

    async def main() -> list[Any]:
        return [
            await add.aapply_async((1,), {"y": 3}, queue="a", priority=3),
            await add.options(queue="b").adelay(1),
            await add.options(queue="b").options(priority=1).aapply_async((1,), queue="c"),
            await add.s(1).set(queue="d").adelay(),
            await add.si(1).aapply_async((9,), queue="e"),
            await queue.asend_task("add", (1,), queue="f"),
            await queue.asend_task("registered.elsewhere", (1,), queue="g"),
        ]

    results = asyncio.run(main())
    jobs = queue.transport.get([result.id for result in results])
    assert [job.queue for job in jobs if job is not None] == list("abcdefg")
    assert [job.priority for job in jobs if job is not None][:3] == [3, 0, 1]


def test_a_wrong_call_is_refused_and_nothing_is_stored(queue: Queue):
    add = adder(queue)

    async def main() -> None:
        with pytest.raises(SignatureError):
            await add.adelay(1, z=2)  # type: ignore[call-arg]
        with pytest.raises(ConfigurationError, match="countdwn"):
            await add.aapply_async((1,), countdwn=3)  # type: ignore[call-arg]
        with pytest.raises(ConfigurationError, match=r"aenqueue_many\(\) takes signatures"):
            await queue.aenqueue_many(5)  # type: ignore[arg-type]

    asyncio.run(main())
    assert queue.transport.count() == []


def test_an_id_that_is_in_use_gives_the_job_that_has_it(queue: Queue):
    add = adder(queue)

    async def main() -> None:
        first, second = await asyncio.gather(
            add.aapply_async((1,), task_id="one"), add.aapply_async((2,), task_id="one")
        )
        assert first == second

    asyncio.run(main())
    assert sum(lane.jobs for lane in queue.transport.count()) == 1


def test_a_job_of_a_running_task_knows_its_parent(queue: Queue):
    add = adder(queue)

    async def main() -> Any:
        token = push_request(lambda: Request(task="parent", id="p"))
        try:
            return await add.adelay(1)
        finally:
            pop_request(token)

    result = asyncio.run(main())
    (job,) = queue.transport.get([result.id])
    assert job is not None
    assert liteq.calls.options.decode_options(job.options).parent_id == "p"


def test_the_loop_goes_on_while_another_program_keeps_the_file(file_queue: Queue):
    add = adder(file_queue)
    file_queue.transport.count()

    async def main() -> None:
        with closing(sqlite3.connect(file_queue.url, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            call = asyncio.create_task(add.adelay(1))
            for _ in range(200):
                await asyncio.sleep(0)
            assert not call.done()
            other.execute("ROLLBACK")
        assert (await call).exists()

    asyncio.run(main())


def test_a_cancelled_call_raises_nothing_and_the_next_ones_are_stored(file_queue: Queue):
    add = adder(file_queue)

    async def main() -> None:
        with closing(sqlite3.connect(file_queue.url, isolation_level=None)) as other:
            await add.adelay(0)
            other.execute("BEGIN IMMEDIATE")
            calls = [asyncio.create_task(add.adelay(number)) for number in range(3)]
            await asyncio.sleep(0.01)
            calls[1].cancel()
            other.execute("ROLLBACK")
            await asyncio.gather(*calls, return_exceptions=True)
        assert calls[1].cancelled()
        assert calls[0].result().exists()
        assert calls[2].result().exists()

    asyncio.run(main())


def test_using_is_for_the_thread_that_has_the_connection(file_queue: Queue):
    add = adder(file_queue)
    file_queue.transport.count()
    with (
        closing(sqlite3.connect(file_queue.url)) as connection,
        pytest.raises(NotSupportedError, match="atransaction"),
    ):
        asyncio.run(add.using(connection).adelay(1))


def test_an_eager_call_runs_at_once_and_its_result_is_there():
    queue = Queue("memory://", eager=True)
    add = adder(queue)

    @queue.task
    async def multiply(x: int, y: int) -> int:
        await asyncio.sleep(0)
        return x * y

    async def main() -> None:
        assert await (await add.adelay(1)) == 3
        assert await (await multiply.adelay(2, 4)) == 8
        results = await queue.aenqueue_many(add.s(number) for number in range(3))
        assert [await result async for result in liteq.as_completed(results)] == [2, 3, 4]
        assert [result.get() for result in liteq.as_completed(results)] == [2, 3, 4]

    asyncio.run(main())


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows")
def test_another_kind_of_event_loop_does_as_well(file_queue: Queue, hand_worker):
    import uvloop

    add = adder(file_queue)

    async def main() -> None:
        async with file_queue.atransaction() as connection:
            await connection.execute("CREATE TABLE rows (x)")
            first = await add.adelay(1)
        results = [first, *await file_queue.aenqueue_many(add.s(number) for number in range(200))]
        worker = hand_worker(file_queue)
        for number in range(201):
            worker.succeed(number)
        assert await asyncio.gather(*results) == list(range(201))
        assert len([result async for result in liteq.as_completed(results)]) == 201

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


# ---- many --------------------------------------------------------------------------------------------


def test_many_calls_are_stored_from_any_iterable(queue: Queue):
    add = adder(queue)

    async def signatures() -> AsyncIterator[Any]:
        for number in range(1500):
            if number % 500 == 0:
                await asyncio.sleep(0)
            yield add.s(number)

    async def main() -> None:
        assert len(await queue.aenqueue_many(add.s(number) for number in range(1500))) == 1500
        assert len(await queue.aenqueue_many(signatures(), atomic=True)) == 1500
        assert await queue.aenqueue_many([]) == []

    asyncio.run(main())
    assert sum(lane.jobs for lane in queue.transport.count()) == 3000


@pytest.mark.parametrize(("atomic", "stored"), [(False, 1000), (True, 0)])
def test_a_wrong_one_among_many_says_where_and_how_many_are_stored(queue: Queue, atomic: bool, stored: int):
    add = adder(queue)
    calls = [add.s(number) for number in range(1100)] + [add.s()]

    async def main() -> None:
        with pytest.raises(SignatureError, match=f"aenqueue_many.* element 1100 .* the first {stored}"):
            await queue.aenqueue_many(calls, atomic=atomic)

    asyncio.run(main())
    assert sum(lane.jobs for lane in queue.transport.count()) == stored


def test_many_calls_at_once_are_all_stored_and_one_thread_stores_them(queue: Queue):
    add = adder(queue)

    async def main() -> None:
        results = await asyncio.gather(*(add.adelay(number) for number in range(1200)))
        assert threads("liteq-courier") == 1
        assert len({result.id for result in results}) == 1200

    asyncio.run(main())
    assert sum(lane.jobs for lane in queue.transport.count()) == 1200


# ---- awaiting ----------------------------------------------------------------------------------------


def test_one_thread_waits_for_all_results(queue: Queue, hand_worker):
    add = adder(queue)

    async def main() -> None:
        results = await queue.aenqueue_many(add.s(number) for number in range(500))
        tasks = [asyncio.create_task(result.aget(timeout=PATIENCE)) for result in results]
        await soon(lambda: threads("liteq-results") == 1)
        worker = hand_worker(queue)
        for number in range(500):
            worker.succeed(number)
            if number == 250:
                await asyncio.sleep(0)
                assert threads("liteq-results") == 1
        assert await asyncio.gather(*tasks) == list(range(500))

    asyncio.run(main())


def test_a_failed_job_raises_its_own_exception(queue: Queue, hand_worker):
    add = adder(queue)

    async def main() -> None:
        result = await add.adelay(1)
        hand_worker(queue).fail(ZeroDivisionError("no"))
        with pytest.raises(ZeroDivisionError, match="no"):
            await result
        assert isinstance(await result.aget(propagate=False), ZeroDivisionError)

    asyncio.run(main())


def test_a_large_result_comes_out_as_it_went_in(queue: Queue, hand_worker):
    add = adder(queue)

    async def main() -> None:
        result = await add.adelay(1)
        hand_worker(queue).succeed("x" * 200_000)
        assert await result == "x" * 200_000

    asyncio.run(main())


def test_a_revoked_or_expired_job_is_awaited_no_longer(queue: Queue):
    add = adder(queue)

    async def main() -> None:
        revoked, expiring = await add.adelay(1), await add.options(expires=0.05).adelay(1)
        waiting = asyncio.gather(revoked, expiring, return_exceptions=True)
        await asyncio.sleep(0)
        assert revoked.revoke()
        assert [type(error) for error in await waiting] == [TaskRevokedError, TaskRevokedError]

    asyncio.run(main())


def test_a_result_that_does_not_come_in_time_says_what_the_job_does(queue: Queue, hand_worker):
    add = adder(queue)

    async def main() -> None:
        result = await add.adelay(1)
        with pytest.raises(ResultTimeoutError, match="is PENDING after 0 s"):
            await result.aget(timeout=0)
        hand_worker(queue).claim()
        with pytest.raises(TimeoutError, match=r"is STARTED after 0\.02 s"):
            await result.aget(timeout=0.02)
        with pytest.raises(ResultTimeoutError, match="There was no job"):
            await queue.AsyncResult("unknown").aget(timeout=0.01)
        with pytest.raises(ConfigurationError, match="timeout"):
            await result.aget(timeout=-1)

    asyncio.run(main())


def test_a_short_wait_beside_a_long_one_is_not_prolonged(queue: Queue, monkeypatch):
    monkeypatch.setattr("liteq.aio.watcher.LOOK_EVERY", PATIENCE)
    add = adder(queue)

    async def main() -> None:
        long = asyncio.create_task((await add.adelay(1)).aget())
        await asyncio.sleep(0.02)
        with pytest.raises(ResultTimeoutError):
            await asyncio.wait_for((await add.adelay(1)).aget(timeout=0.02), PATIENCE / 2)
        long.cancel()

    asyncio.run(main())


def test_a_cancelled_waiting_takes_nothing_from_others(queue: Queue, hand_worker):
    add = adder(queue)

    async def main() -> None:
        result = await add.adelay(1)
        first, second = (asyncio.create_task(result.aget()) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        hand_worker(queue).succeed(3)
        assert await second == 3
        assert first.cancelled()

    asyncio.run(main())


def test_a_task_that_awaits_another_is_refused_as_with_get(queue: Queue):
    add = adder(queue)

    async def main() -> None:
        result = await add.adelay(1)
        token = push_request(lambda: Request(task="outer", id="o"))
        try:
            with pytest.raises(SyncSubtaskError):
                await result
            with pytest.raises(SyncSubtaskError):
                await anext(aiter(liteq.as_completed([result])))
            with pytest.raises(ResultTimeoutError):
                await result.aget(timeout=0, disable_sync_subtasks=False)
        finally:
            pop_request(token)

    asyncio.run(main())


def test_whoever_awaits_a_queue_that_is_closed_is_told(queue: Queue):
    add = adder(queue)

    async def main() -> None:
        result = await add.adelay(1)
        waiting = [asyncio.create_task(each) for each in (result.aget(), result.aget(timeout=PATIENCE))]
        await asyncio.sleep(0.01)
        queue.close()
        for error in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(error, StoreUnavailableError)
            assert "closed" in str(error)

    asyncio.run(main())
    assert threads("liteq-results") == threads("liteq-courier") == 0


@pytest.mark.parametrize("others", [0, 2])
def test_whoever_begins_to_await_when_the_store_serves_no_more_is_told(file_queue: Queue, others: int):
    add = adder(file_queue)

    async def main() -> None:
        results = [await add.adelay(1) for _ in range(others + 1)]
        waiting = [asyncio.create_task(each.aget()) for each in results[:others]]
        await asyncio.sleep(0.01)
        empty(Path(file_queue.url))
        waiting.append(asyncio.create_task(results[-1].aget()))
        ended, hanging = await asyncio.wait(waiting, timeout=PATIENCE)
        assert not hanging
        for each in ended:
            assert isinstance(each.exception(), StoreReplacedError)

    asyncio.run(main())


def test_a_file_that_was_closed_serves_coroutines_again(file_queue: Queue, hand_worker):
    add = adder(file_queue)

    async def main() -> int:
        result = await add.adelay(1)
        hand_worker(file_queue).succeed(3)
        return await result

    for _ in range(2):
        assert asyncio.run(main()) == 3
        file_queue.close()


def test_a_result_that_comes_when_the_loop_is_closed_disturbs_nobody(queue: Queue, hand_worker):
    add = adder(queue)
    loop = asyncio.new_event_loop()
    result = loop.run_until_complete(add.adelay(1))
    # Not to be destroyed before the loop is closed.
    waiting = loop.create_task(result.aget())
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    worker = hand_worker(queue)
    worker.succeed(3)

    async def main() -> int:
        return await (await add.adelay(1)).aget(timeout=PATIENCE)

    late = threading.Timer(0.02, worker.succeed, [4])
    late.start()
    assert asyncio.run(main()) == 4
    late.join()
    # It can never end, and nobody is to be told of that.
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]


def test_a_queue_that_is_dropped_takes_its_threads_along(tmp_path, monkeypatch):
    monkeypatch.setattr("liteq.aio.courier.IDLE", 0.01)
    monkeypatch.setattr("liteq.aio.watcher.IDLE", 0.01)

    async def main() -> None:
        queue = Queue(tmp_path / "queue.db", durability="normal")
        with pytest.raises(ResultTimeoutError):
            await (await adder(queue).adelay(1)).aget(timeout=0.01)

    asyncio.run(main())
    give_up = time.monotonic() + PATIENCE
    while threads("liteq-results") + threads("liteq-courier"):
        assert time.monotonic() < give_up, "they never ended"
        time.sleep(0.005)


# ---- as they complete --------------------------------------------------------------------------------


def test_results_come_in_the_order_in_which_they_complete(queue: Queue, hand_worker):
    add = adder(queue)

    async def main() -> None:
        low, high = await add.adelay(1), await add.options(priority=1).adelay(2)
        worker = hand_worker(queue)
        seen = []
        asyncio.get_running_loop().call_later(0.01, worker.succeed, "high")
        async for result in liteq.as_completed([low, high], timeout=PATIENCE):
            seen.append((result, await result))
            if len(seen) == 1:
                worker.succeed("low")
        assert seen == [(high, "high"), (low, "low")]

    asyncio.run(main())


def test_without_a_loop_they_come_the_same_way(queue: Queue, hand_worker):
    add = adder(queue)
    results = queue.enqueue_many(add.s(number) for number in range(300))
    worker = hand_worker(queue)
    for number in range(150):
        worker.succeed(number)
    seen = []
    for result in liteq.as_completed(results, timeout=PATIENCE):
        seen.append(result.get(timeout=0))
        if len(seen) == 150:
            for number in range(150, 300):
                worker.succeed(number)
    assert sorted(seen) == list(range(300))


def test_those_that_are_missing_when_the_time_is_up_are_counted(queue: Queue, hand_worker):
    add = adder(queue)
    results = queue.enqueue_many(add.s(number) for number in range(3))
    hand_worker(queue).succeed(0)

    async def main() -> None:
        arriving = aiter(liteq.as_completed(results, timeout=0.02))
        assert await (await anext(arriving)) == 0
        with pytest.raises(ResultTimeoutError, match=r"2 of 3 jobs .* 0\.02 s"):
            await anext(arriving)

    asyncio.run(main())
    with pytest.raises(ResultTimeoutError, match="2 of 3"):
        list(liteq.as_completed(results, timeout=0))


def test_a_loop_that_is_left_early_waits_for_nothing_more(queue: Queue, hand_worker):
    add = adder(queue)
    results = queue.enqueue_many(add.s(number) for number in range(3))
    hand_worker(queue).succeed(0)
    for result in liteq.as_completed(results):
        assert result.get() == 0
        break

    async def main() -> None:
        async for result in liteq.as_completed(results):
            assert await result == 0
            break

    asyncio.run(main())


def test_what_is_no_result_is_refused():
    with pytest.raises(ConfigurationError, match="as_completed"):
        liteq.as_completed([5])  # type: ignore[list-item]


def test_results_of_several_queues_come_together(tmp_path, hand_worker):
    async def main() -> set[int]:
        with Queue(tmp_path / "a.db") as one, Queue("memory://") as two:
            results = [await adder(each).adelay(1) for each in (one, two)]
            hand_worker(one).succeed(1)
            hand_worker(two).succeed(2)
            return {await result async for result in liteq.as_completed(results, timeout=PATIENCE)}

    assert asyncio.run(main()) == {1, 2}


def test_a_result_can_be_awaited_like_any_other_thing(queue: Queue, hand_worker):
    add = adder(queue)

    async def main() -> None:
        result: Awaitable[int] = await add.adelay(1)
        hand_worker(queue).succeed(3)
        assert await asyncio.wait_for(result, PATIENCE) == 3

    asyncio.run(main())
