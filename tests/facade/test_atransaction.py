"""Transactions of coroutines: rows and jobs together or not at all, whatever happens to the coroutine."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from liteq import NotSupportedError, Queue, StoreUnavailableError, Task
from liteq.aio import courier
from liteq.aio.transactions import joined, open_blocks
from liteq.transports.sqlite import forking


@pytest.fixture
def queue(tmp_path) -> Iterator[Queue]:
    with Queue(tmp_path / "queue.db", durability="normal", busy_timeout=5) as queue:
        with queue.transaction() as connection:
            connection.execute("CREATE TABLE orders (item TEXT)")
        yield queue


@pytest.fixture
def ship(queue: Queue) -> Task[[str], None]:
    @queue.task(name="ship")
    def ship(item: str) -> None: ...

    return ship


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name == "liteq-transaction":
            thread.join(10)
            assert not thread.is_alive()


def stored(queue: Queue) -> tuple[int, int]:
    """Count the rows and the jobs."""
    with closing(sqlite3.connect(queue.url)) as connection:
        ((rows,),) = connection.execute("SELECT count(*) FROM orders")
    return rows, sum(lane.jobs for lane in queue.transport.count())


def test_rows_and_jobs_are_there_together_when_the_block_has_ended(queue: Queue, ship):
    async def main() -> None:
        async with queue.atransaction() as connection:
            cursor = await connection.execute("INSERT INTO orders VALUES (?)", ("tea",))
            assert (cursor.rowcount, cursor.lastrowid) == (1, 1)
            result = await ship.adelay("tea")
            await queue.aenqueue_many([ship.s("tea")])
            await ship.options(priority=2).adelay("tea")
            assert stored(queue) == (0, 0)
        assert result.exists()

    asyncio.run(main())
    assert stored(queue) == (1, 3)


def test_rows_are_read_in_the_ways_of_sqlite3(queue: Queue):
    async def main() -> None:
        async with queue.atransaction() as connection:
            connection.row_factory = sqlite3.Row
            rows = [(str(number),) for number in range(250)]
            assert (await connection.executemany("INSERT INTO orders VALUES (?)", rows)).rowcount == 250
            cursor = await connection.execute("SELECT item FROM orders ORDER BY rowid")
            assert cursor.description[0][0] == "item"
            assert (await cursor.fetchone())["item"] == "0"
            assert [row["item"] for row in await cursor.fetchmany(2)] == ["1", "2"]
            assert [row["item"] async for row in cursor] == [str(number) for number in range(3, 250)]
            assert (await cursor.fetchone()) is None
            named = await connection.execute("SELECT :a AS a", {"a": 5})
            assert [row["a"] for row in await named.fetchall()] == [5]
            await named.close()
            assert await connection.run(lambda lent, more: lent.total_changes + more, 1) == 251
            connection.row_factory = None

    asyncio.run(main())


def test_what_a_function_in_the_block_enqueues_belongs_to_it(queue: Queue, ship):
    async def main() -> None:
        async with queue.atransaction() as connection:
            await connection.run(lambda _: ship.delay("tea"))
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(main())
    assert stored(queue) == (0, 0)


@pytest.mark.parametrize("error", [ValueError, SystemExit, asyncio.CancelledError])
def test_an_exception_that_leaves_the_block_rolls_everything_back(queue: Queue, ship, error):
    async def main() -> None:
        async with queue.atransaction() as connection:
            await connection.execute("INSERT INTO orders VALUES ('tea')")
            await ship.adelay("tea")
            raise error

    with pytest.raises(error):
        asyncio.run(main())
    assert stored(queue) == (0, 0)


def test_a_statement_that_fails_raises_as_in_sqlite3_and_the_block_may_go_on(queue: Queue, ship):
    async def main() -> None:
        async with queue.atransaction() as connection:
            with pytest.raises(sqlite3.OperationalError, match="no such table"):
                await connection.execute("INSERT INTO nowhere VALUES (1)")
            with pytest.raises(NotSupportedError, match="itself commits"):
                await connection.execute("COMMIT")
            await ship.adelay("tea")

    asyncio.run(main())
    assert stored(queue) == (0, 1)


def test_a_coroutine_that_is_cancelled_in_the_block_leaves_nothing(queue: Queue, ship):
    async def buy(inside: asyncio.Event) -> None:
        async with queue.atransaction() as connection:
            await connection.execute("INSERT INTO orders VALUES ('tea')")
            await ship.adelay("tea")
            inside.set()
            await asyncio.Event().wait()

    async def main() -> None:
        inside = asyncio.Event()
        task = asyncio.create_task(buy(inside))
        await inside.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        async with queue.atransaction():
            await ship.adelay("after")

    asyncio.run(main())
    assert stored(queue) == (0, 1)


def test_a_coroutine_that_is_cancelled_while_it_waits_for_the_lock_leaves_no_lock(queue: Queue, ship):
    async def main() -> None:
        with closing(sqlite3.connect(queue.url, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            task = asyncio.create_task(queue.atransaction().__aenter__())
            await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            other.execute("ROLLBACK")
        await ship.adelay("tea")

    asyncio.run(main())
    assert stored(queue) == (0, 1)


def test_a_cancellation_at_the_end_of_the_block_comes_when_the_transaction_has_ended(queue: Queue, ship):
    async def main() -> None:
        block = queue.atransaction()
        await block.__aenter__()
        await ship.adelay("tea")
        ending = asyncio.create_task(block.__aexit__(None, None, None))
        await asyncio.sleep(0)
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        assert ending.cancelled()
        assert stored(queue) == (0, 1)

    asyncio.run(main())


def test_a_block_may_rest_for_longer_than_an_idle_thread_lives(queue: Queue, ship, monkeypatch):
    monkeypatch.setattr(courier, "IDLE", 0.001)

    async def main() -> None:
        async with queue.atransaction() as connection:
            (thread,) = (each for each in threading.enumerate() if each.name == "liteq-transaction")
            await connection.execute("INSERT INTO orders VALUES ('tea')")
            await asyncio.to_thread(thread.join, 0.05)
            await connection.execute("INSERT INTO orders VALUES ('milk')")
            await ship.adelay("tea")
        await ship.adelay("after")

    asyncio.run(main())
    assert stored(queue) == (2, 2)


def test_tasks_that_are_begun_in_the_block_belong_to_it_and_others_wait(queue: Queue, ship):
    async def main() -> None:
        inside, may_end = asyncio.Event(), asyncio.Event()

        async def other() -> None:
            await inside.wait()
            call = asyncio.create_task(ship.adelay("other"))
            await asyncio.sleep(0.02)
            assert not call.done()
            may_end.set()
            assert (await call).exists()

        async def block() -> None:
            async with queue.atransaction():
                await asyncio.gather(*(ship.adelay(str(number)) for number in range(20)))
                inside.set()
                await may_end.wait()
                raise ValueError("no")

        waiting = asyncio.create_task(other())
        with pytest.raises(ValueError, match="no"):
            await block()
        await waiting

    asyncio.run(main())
    assert stored(queue) == (0, 1)


def test_a_task_that_outlives_the_block_enqueues_by_itself(queue: Queue, ship):
    async def main() -> None:
        over = asyncio.Event()

        async def later() -> None:
            await over.wait()
            await ship.adelay("later")

        async def block(tasks: list[asyncio.Task[None]]) -> None:
            async with queue.atransaction():
                tasks.append(asyncio.create_task(later()))
                await ship.adelay("first")
                raise ValueError("no")

        tasks: list[asyncio.Task[None]] = []
        with pytest.raises(ValueError, match="no"):
            await block(tasks)
        (task,) = tasks
        over.set()
        await task

    asyncio.run(main())
    assert stored(queue) == (0, 1)


def test_what_cannot_be_in_a_block_is_refused(queue: Queue, ship):
    async def main() -> None:
        async with queue.atransaction() as connection:
            result = await ship.adelay("tea")
            for refused in (
                queue.atransaction().__aenter__(),
                result.aget(),
                result.aget(timeout=1),
            ):
                with pytest.raises(NotSupportedError):
                    await refused
            # These would wait in the loop's own thread for what the loop has to end.
            for blocking in (
                lambda: ship.delay("tea"),
                lambda: queue.enqueue_many([ship.s("tea")]),
                lambda: queue.transaction().__enter__(),
            ):
                with pytest.raises(NotSupportedError, match="block the event loop"):
                    blocking()
        with pytest.raises(NotSupportedError, match="is over"):
            await connection.execute("SELECT 1")
        with pytest.raises(NotSupportedError, match="is over"):
            _ = connection.row_factory
        ship.delay("after")
        with queue.transaction():
            with pytest.raises(NotSupportedError, match="atransaction"):
                await ship.adelay("tea")
            with pytest.raises(NotSupportedError, match="inside a transaction"):
                await queue.atransaction().__aenter__()

    asyncio.run(main())
    assert stored(queue) == (0, 2)


def test_a_queue_that_is_closed_in_the_block_rolls_back_and_says_so(queue: Queue, ship):
    async def main() -> None:
        async with queue.atransaction() as connection:
            await ship.adelay("tea")
            queue.close()
            with pytest.raises(StoreUnavailableError, match="closed"):
                await connection.execute("SELECT 1")
            with pytest.raises(StoreUnavailableError, match="closed"):
                await ship.adelay("tea")

    with pytest.raises(StoreUnavailableError, match="rolled back"):
        asyncio.run(main())
    assert stored(queue) == (0, 0)


def test_a_queue_is_closed_at_once_though_some_blocks_wait_for_another(queue: Queue):
    ends: list[str] = []

    async def main() -> None:
        inside = asyncio.Event()

        async def wait_for_it() -> None:
            await inside.wait()
            async with queue.atransaction():
                raise AssertionError("this waits for the other block")

        waiting = [asyncio.create_task(wait_for_it()) for _ in range(5)]
        async with queue.atransaction():
            inside.set()
            await asyncio.sleep(0.01)
            queue.close()
            ends.extend(map(repr, await asyncio.gather(*waiting, return_exceptions=True)))

    with pytest.raises(StoreUnavailableError, match="rolled back"):
        asyncio.run(main())
    assert not open_blocks
    assert len(ends) == 5
    assert not [end for end in ends if "closed" not in end]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_is_forked_in_the_block_is_not_in_it(queue: Queue, ship, monkeypatch):
    monkeypatch.setattr(forking, "LONGEST", 0.01)

    async def main() -> int:
        async with queue.atransaction():
            await ship.adelay("tea")
            child = os.fork()
            if child == 0:
                os._exit(0 if joined(queue.store) is None and not open_blocks else 1)
            assert joined(queue.store) is not None
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert asyncio.run(main()) == 0
    assert stored(queue) == (0, 1)


@pytest.mark.parametrize("eager", [False, True])
def test_a_queue_without_a_file_has_none(eager: bool):
    with Queue("memory://", eager=eager) as queue, pytest.raises(NotSupportedError):
        asyncio.run(queue.atransaction().__aenter__())
