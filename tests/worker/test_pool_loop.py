"""A worker that runs several jobs at once keeps the same promises as one that runs them one by one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from worker_thread import PATIENCE, Gate

from liteq import EncodingError, Ignore, NotSupportedError, Queue, StoreUnavailableError
from liteq.clock import SystemClock
from liteq.job import JobFilter, WorkerInfo
from liteq.states import FAILURE, PENDING, STARTED, SUCCESS
from liteq.transport import Transport
from liteq.worker.loop import LoopEnd
from liteq.worker.pools.aio import MOST_THREADS, AsyncioPool
from liteq.worker.pools.executor import PoolExecutor
from liteq.worker.pools.loop import ConcurrentLoop
from liteq.worker.pools.threads import ThreadPool

Until = Callable[[Callable[[], bool]], None]


class Pooled:
    """A loop of a pool in a thread of the test."""

    def __init__(self, queue: Queue, pool: Any, concurrency: int, **options: Any) -> None:
        transport = options.pop("transport", queue.transport)
        executor = PoolExecutor(pool, queue.tasks, transport, SystemClock(), "here")
        crew = pool.crew(concurrency)
        self.loop = ConcurrentLoop(
            transport, executor, crew, concurrency, WorkerInfo("w", "here", 1, 1), **options
        )
        self.end: LoopEnd | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.end = self.loop.run()

    def join(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the worker did not end"

    def stop(self) -> None:
        self.loop.stop()
        self.join()


@pytest.fixture(params=[ThreadPool, AsyncioPool])
def pool(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def pooled(queue: Queue, gate: Gate) -> Iterator[Callable[..., Pooled]]:
    """Start workers of a pool on the queue; they are stopped at the end of the test."""
    workers: list[Pooled] = []

    def start(pool: Any, concurrency: int = 4, **options: Any) -> Pooled:
        workers.append(Pooled(queue, pool, concurrency, **options))
        return workers[-1]

    yield start
    gate.open()
    for worker in workers:
        worker.stop()


def states(queue: Queue, results: list[Any]) -> list[str]:
    return [job.state for job in queue.transport.get([result.id for result in results]) if job is not None]


def test_it_claims_what_it_has_room_for_and_no_more(
    queue: Queue, gate: Gate, pooled: Callable[..., Pooled], until: Until, pool: Any
) -> None:
    @queue.task
    def hold(number: int) -> int:
        gate.wait_here()
        return number

    pooled(pool, 3)
    results = queue.enqueue_many(hold.s(number) for number in range(5))
    until(lambda: states(queue, results).count(STARTED) == 3)
    assert states(queue, results) == [STARTED] * 3 + [PENDING] * 2
    gate.open()
    assert [result.get(timeout=PATIENCE) for result in results] == list(range(5))


def test_plain_jobs_do_not_take_the_room_of_those_that_await(
    queue: Queue, gate: Gate, pooled: Callable[..., Pooled], until: Until
) -> None:
    @queue.task
    def hold() -> None:
        gate.wait_here()

    @queue.task
    async def give(number: int) -> int:
        return number

    pooled(AsyncioPool(), 2 * MOST_THREADS)
    held = queue.enqueue_many(hold.s() for _ in range(MOST_THREADS + 3))
    until(lambda: states(queue, held).count(STARTED) == MOST_THREADS)
    assert give.delay(7).get(timeout=PATIENCE) == 7
    assert states(queue, held).count(PENDING) == 3


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_each_job_has_a_request_of_its_own(
    queue: Queue, pooled: Callable[..., Pooled], kind: str, pool: Any
) -> None:
    meeting = threading.Barrier(4)

    @queue.task(bind=True)
    def plain(self) -> list[str]:
        meeting.wait(PATIENCE)
        return [self.request.id, self.name]

    @queue.task(bind=True)
    async def awaiting(self) -> list[str]:
        await asyncio.to_thread(meeting.wait, PATIENCE)
        return [self.request.id, self.name]

    task = plain if kind == "plain" else awaiting
    pooled(pool)
    results = [task.delay() for _ in range(4)]
    assert [result.get(timeout=PATIENCE) for result in results] == [[each.id, task.name] for each in results]


def test_a_state_that_one_job_reports_is_not_stored_for_another(
    queue: Queue, pooled: Callable[..., Pooled], pool: Any
) -> None:
    meeting = threading.Barrier(2)

    @queue.task(bind=True)
    def report(self, state: str | None) -> None:
        if state is not None:
            self.update_state(state=state)
        meeting.wait(PATIENCE)
        raise Ignore

    worker = pooled(pool)
    results = [report.delay("MINE"), report.delay(None)]
    results[0].get(timeout=PATIENCE, propagate=False)
    worker.stop()
    assert results[0].status == "MINE"
    assert results[1].status != "MINE"


def test_it_ends_after_so_many_jobs(
    queue: Queue, gate: Gate, pooled: Callable[..., Pooled], pool: Any
) -> None:
    @queue.task
    def give(number: int) -> int:
        return number

    results = queue.enqueue_many(give.s(number) for number in range(5))
    worker = pooled(pool, 2, max_jobs=3)
    worker.join()
    assert worker.end is LoopEnd.RECYCLE
    assert states(queue, results) == [SUCCESS] * 3 + [PENDING] * 2


def test_a_stop_lets_what_runs_end_and_hands_back_nothing_else(
    queue: Queue, gate: Gate, pooled: Callable[..., Pooled], pool: Any
) -> None:
    @queue.task
    def hold() -> str:
        gate.wait_here()
        return "done"

    worker = pooled(pool, 1)
    results = [hold.delay(), hold.delay()]
    gate.wait_until_reached()
    worker.loop.stop()
    gate.open()
    worker.join()
    assert worker.end is LoopEnd.STOPPED
    assert states(queue, results) == [SUCCESS, PENDING]
    assert queue.transport.workers() == []


def test_a_recalled_coroutine_goes_back_without_losing_its_attempt(
    queue: Queue, pooled: Callable[..., Pooled], until: Until
) -> None:
    begun = threading.Event()

    @queue.task
    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    @queue.task(max_crashes=0)
    async def once() -> None:
        await asyncio.Event().wait()

    worker = pooled(AsyncioPool())
    result, only = endless.delay(), once.delay()
    assert begun.wait(PATIENCE)
    until(lambda: states(queue, [only]) == [STARTED])
    worker.loop.recall()
    worker.join()
    [job] = queue.transport.get([result.id])
    assert job is not None
    assert (job.state, job.attempts) == (PENDING, 0)
    assert states(queue, [only]) == [FAILURE]


def test_a_coroutine_that_cancels_itself_fails_and_does_not_go_back(
    queue: Queue, pooled: Callable[..., Pooled]
) -> None:
    @queue.task
    async def cancelled() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    pooled(AsyncioPool())
    result = cancelled.delay()
    result.get(timeout=PATIENCE, propagate=False)
    assert str(result.traceback).rstrip().endswith("asyncio.exceptions.CancelledError")
    assert "liteq" not in str(result.traceback)


def test_a_coroutine_is_cancelled_at_its_time_limit_and_may_clean_up(tmp_path, pooled, gate: Gate) -> None:
    cleaned = threading.Event()
    with Queue(tmp_path / "queue.db", durability="normal") as queue:

        @queue.task(name="late", time_limit=0.05)
        async def late() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.set()

        worker = Pooled(queue, AsyncioPool(), 4)
        try:
            raised = late.delay().get(timeout=PATIENCE, propagate=False)
        finally:
            worker.stop()
    assert "ran longer than its time limit of 0.05 s" in str(raised)
    assert cleaned.is_set()


def test_what_a_held_up_event_loop_cannot_begin_runs_elsewhere_until_it_goes_on(
    queue: Queue, gate: Gate, pooled: Callable[..., Pooled], until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liteq.worker.pools.unbegun.BEGIN_WITHIN", 0.2)

    @queue.task
    async def block() -> None:
        gate.wait_here()

    @queue.task
    async def give(number: int) -> int:
        return number

    @queue.task
    def plain() -> int:
        return 7

    pooled(AsyncioPool(), 4)
    blocking = block.delay()
    gate.wait_until_reached()
    results = [give.delay(number) for number in range(5)]
    until(lambda: states(queue, results).count(STARTED) == 3)
    assert plain.delay().get(timeout=PATIENCE) == 7
    until(lambda: states(queue, results) == [PENDING] * 5)
    other = pooled(ThreadPool())
    assert [result.get(timeout=PATIENCE) for result in results] == list(range(5))
    assert [job.attempts for job in queue.transport.get([result.id for result in results])] == [1] * 5
    other.stop()
    last = give.delay(7)
    gate.open()
    assert last.get(timeout=PATIENCE) == 7
    assert blocking.get(timeout=PATIENCE) is None


def test_a_stop_hands_back_at_once_what_a_held_up_event_loop_cannot_begin(
    queue: Queue, gate: Gate, pooled: Callable[..., Pooled], until: Until
) -> None:
    @queue.task
    async def block() -> None:
        gate.wait_here()

    @queue.task
    async def give() -> None: ...

    worker = pooled(AsyncioPool(), 4)
    blocking = block.delay()
    gate.wait_until_reached()
    results = [give.delay() for _ in range(3)]
    until(lambda: states(queue, results) == [STARTED] * 3)
    worker.loop.stop()
    until(lambda: states(queue, results) == [PENDING] * 3)
    gate.open()
    worker.join()
    assert states(queue, [blocking, *results]) == [SUCCESS] + [PENDING] * 3


def test_jobs_cannot_join_a_transaction_that_another_one_awaits_in(tmp_path) -> None:
    with Queue(tmp_path / "queue.db", durability="normal") as queue:

        @queue.task(name="give")
        def give() -> None: ...

        @queue.task(name="across")
        async def across() -> None:
            with queue.transaction() as connection:
                connection.execute("CREATE TABLE t (x)")
                await asyncio.sleep(0)

        worker = Pooled(queue, AsyncioPool(), 4)
        try:
            with pytest.raises(NotSupportedError, match="awaited something inside a transaction"):
                across.delay().get(timeout=PATIENCE)
            give.delay().get(timeout=PATIENCE)
        finally:
            worker.stop()
        with queue.transaction() as connection:
            connection.execute("CREATE TABLE t (x)")


def test_a_block_that_a_job_leaves_behind_waiting_for_another_does_not_stop_the_loop(tmp_path) -> None:
    with Queue(tmp_path / "queue.db", durability="normal", busy_timeout=1) as queue:
        inside, may_end = asyncio.Event(), asyncio.Event()
        left: list[asyncio.Task[None]] = []

        @queue.task(name="hold")
        async def hold() -> None:
            async with queue.atransaction():
                inside.set()
                await may_end.wait()

        async def wait_for_it() -> None:
            async with queue.atransaction():
                pass

        @queue.task(name="leave")
        async def leave() -> None:
            await inside.wait()
            left.append(asyncio.create_task(wait_for_it()))
            await asyncio.sleep(0.01)
            asyncio.get_running_loop().call_soon(may_end.set)

        results = queue.enqueue_many([hold.s(), leave.s()])
        worker = Pooled(queue, AsyncioPool(), 2)
        try:
            results[0].get(timeout=PATIENCE)
            with pytest.raises(NotSupportedError, match="returned inside a transaction"):
                results[1].get(timeout=PATIENCE)
        finally:
            worker.stop()
        assert isinstance(left[0].exception(), StoreUnavailableError)


def test_a_job_reports_its_state_though_another_one_has_a_transaction_open(tmp_path) -> None:
    with Queue(tmp_path / "queue.db", durability="normal", busy_timeout=1) as queue:
        inside, told, may_end = asyncio.Event(), asyncio.Event(), threading.Event()

        @queue.task(name="hold")
        async def hold() -> None:
            async with queue.atransaction():
                inside.set()
                await told.wait()

        @queue.task(name="report", bind=True)
        async def report(self: Any) -> None:
            await inside.wait()
            self.update_state("FIRST")
            self.update_state("SECOND", {"done": 2})
            with pytest.raises(EncodingError):
                self.update_state("NEVER", object())
            told.set()
            await asyncio.to_thread(may_end.wait, PATIENCE)

        held, reported = queue.enqueue_many([hold.s(), report.s()])
        worker = Pooled(queue, AsyncioPool(), 2)
        try:
            held.get(timeout=PATIENCE)
            give_up = time.monotonic() + PATIENCE
            while reported.status != "SECOND":
                assert time.monotonic() < give_up
                time.sleep(0.002)
            assert reported.info == {"done": 2}
            may_end.set()
            assert reported.get(timeout=PATIENCE) is None
        finally:
            worker.stop()


class Expelling:
    """A store that takes the worker for dead right after its first claim."""

    def __init__(self, store: Transport) -> None:
        self._store = store
        self.expelled = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def turn(self, holder: int, now: float, settlements: Any = (), request: Any = None) -> Any:
        turn = self._store.turn(holder, now, settlements, request)
        if turn.claimed and not self.expelled.is_set():
            self._store.expel(holder, None)
            self.expelled.set()
        return turn


def test_a_job_that_must_not_run_twice_does_not_begin_if_it_may_be_somebody_elses(
    queue: Queue, pooled: Callable[..., Pooled], pool: Any
) -> None:
    ran: list[int] = []

    @queue.task(max_crashes=0)
    def once() -> int:
        ran.append(1)
        return len(ran)

    store = Expelling(queue.transport)
    pooled(pool, transport=store)
    assert once.delay().get(timeout=PATIENCE) == 1
    assert store.expelled.is_set()
    [job] = queue.transport.find(JobFilter())
    assert job.attempts == 1


def test_what_a_job_stops_or_leaves_on_the_event_loop_does_not_stop_the_worker(
    queue: Queue, pooled: Callable[..., Pooled]
) -> None:
    left: list[asyncio.Task[None]] = []

    async def leave() -> None:
        raise SystemExit(3)

    @queue.task
    async def stops() -> None:
        loop = asyncio.get_running_loop()
        left.append(loop.create_task(leave()))
        loop.stop()
        await asyncio.sleep(0)

    @queue.task
    async def give() -> int:
        return 1

    pooled(AsyncioPool())
    assert stops.delay().get(timeout=PATIENCE) is None
    assert give.delay().get(timeout=PATIENCE) == 1
    assert isinstance(left[0].exception(), SystemExit)


def test_a_job_that_cancels_all_tasks_of_the_loop_cancels_none_that_has_not_begun(
    queue: Queue, pooled: Callable[..., Pooled]
) -> None:
    @queue.task
    async def cancel_all() -> int:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for each in others:
            each.cancel()
        return len(others)

    @queue.task
    async def give() -> int:
        return 7

    results = queue.enqueue_many([cancel_all.s(), give.s(), give.s()])
    pooled(AsyncioPool())
    assert [result.get(timeout=PATIENCE) for result in results] == [2, 7, 7]


@pytest.mark.parametrize("name", ["threads", "asyncio", "solo"])
def test_a_queue_in_memory_has_the_pools_that_stay_in_its_process(queue: Queue, name: str) -> None:
    @queue.task
    async def give(number: int) -> int:
        await asyncio.sleep(0)
        return number

    with queue.start_workers(1 if name == "solo" else 3, pool=name):
        results = [give.delay(number) for number in range(5)]
        assert [result.get(timeout=PATIENCE) for result in results] == list(range(5))


@pytest.mark.parametrize("words", [{"pool": "processes"}, {"pool": "threads", "processes": 2}])
def test_a_queue_in_memory_refuses_pools_of_other_processes(queue: Queue, words: dict[str, Any]) -> None:
    with pytest.raises(NotSupportedError, match="stays in this process"):
        queue.start_workers(**words)
