"""What a worker promises: no job twice, none forgotten, none stuck behind a long one, no result lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worker_thread import Gate, Worker

from liteq import Ignore, Queue, Reject, Task
from liteq.errors import StoreBusyError, StoreError, StoreFullError, StoreReplacedError
from liteq.job import ClaimRequest, LaneCount, Transition, Turn
from liteq.lifecycle import Returned, decide
from liteq.states import FAILURE, PENDING, STARTED, SUCCESS
from liteq.testing.clock import ManualClock
from liteq.transports.memory import MemoryTransport
from liteq.worker.batching import GATHER_FOR
from liteq.worker.loop import LoopEnd

Work = Callable[..., Worker]
Until = Callable[[Callable[[], bool]], None]


def state_of(queue: Queue, job_id: str) -> str:
    (job,) = queue.store.transport().get([job_id])
    assert job is not None
    return job.state


def teach_short(task: Task[..., Any], *args: object) -> None:
    """Run one short job, so that the worker claims the next ones in a batch."""
    task.delay(*args).get(timeout=30)


# ---- coming, working, going ----------------------------------------------------------------------


def test_jobs_stored_before_and_after_the_worker_came_are_run(queue: Queue, work: Work) -> None:
    @queue.task
    def double(x: int) -> int:
        return 2 * x

    early = double.delay(1)
    work()
    assert early.get(timeout=30) == 2
    assert double.delay(2).get(timeout=30) == 4


def test_a_stopped_worker_leaves_no_trace_in_the_registry(queue: Queue, work: Work) -> None:
    @queue.task
    def nothing() -> None:
        return

    worker = work()
    teach_short(nothing)
    worker.stop()
    assert worker.end is LoopEnd.STOPPED
    assert queue.store.transport().workers() == []


def test_a_worker_may_be_stopped_before_it_begins(queue: Queue, work: Work) -> None:
    @queue.task
    def nothing() -> None:
        return

    result = nothing.delay()
    worker = work(clock=ManualClock())
    worker.loop.stop()
    worker.loop.stop()
    worker.join()
    assert worker.end is LoopEnd.STOPPED
    assert state_of(queue, result.id) in (PENDING, SUCCESS)


def test_a_job_that_fails_does_the_next_one_no_harm(queue: Queue, work: Work) -> None:
    @queue.task
    def odd(x: int) -> int:
        if x % 2 == 0:
            raise SystemExit(x)
        return x

    results = queue.enqueue_many([odd.s(x) for x in range(20)])
    work()
    assert [results[x].get(timeout=30) for x in range(1, 20, 2)] == list(range(1, 20, 2))
    assert {state_of(queue, results[x].id) for x in range(0, 20, 2)} == {FAILURE}


def test_a_delayed_job_starts_when_it_is_due_although_nobody_rings(queue: Queue, work: Work) -> None:
    @queue.task
    def now() -> str:
        return "done"

    work()
    assert now.options(countdown=0.05).delay().get(timeout=30) == "done"


def test_only_the_named_queues_are_served(queue: Queue, work: Work) -> None:
    @queue.task
    def where() -> int:
        return 1

    work(queues=("a",))
    other = where.options(queue="b").delay()
    assert where.options(queue="a").delay().get(timeout=30) == 1
    assert state_of(queue, other.id) == PENDING


def test_a_worker_is_recycled_after_exactly_max_jobs(queue: Queue, work: Work) -> None:
    ran = []

    @queue.task
    def note(x: int) -> None:
        ran.append(x)

    results = queue.enqueue_many([note.s(x) for x in range(40)])
    worker = work(max_jobs=17)
    worker.join()
    assert worker.end is LoopEnd.RECYCLE
    assert ran == list(range(17))
    assert [state_of(queue, result.id) for result in results[17:]] == [PENDING] * 23


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.lists(st.sampled_from(["return", "raise", "requeue", "ignore"]), max_size=60))
def test_every_job_runs_exactly_once_however_many_workers_share_them(workers: int, kinds: list[str]) -> None:
    with Queue("memory://") as queue:
        ran: Counter[int] = Counter()
        done = threading.Semaphore(0)

        @queue.task
        def act(n: int, kind: str) -> None:
            ran[n] += 1
            done.release()
            if kind == "raise":
                raise ValueError(kind)
            if kind == "requeue" and ran[n] == 1:
                raise Reject("again", requeue=True)
            if kind == "ignore":
                raise Ignore

        queue.enqueue_many([act.s(n, kind) for n, kind in enumerate(kinds)])
        team = [Worker(queue, name=str(n)).start() for n in range(workers)]
        for _ in range(len(kinds) + kinds.count("requeue")):
            assert done.acquire(timeout=30)
        for worker in team:
            worker.stop()
        assert ran == {n: 2 if kind == "requeue" else 1 for n, kind in enumerate(kinds)}
        assert {lane.waiting for lane in queue.store.transport().count()} <= {"finished"}


# ---- stopping ------------------------------------------------------------------------------------


@pytest.fixture
def at_gate(queue: Queue, gate: Gate) -> Task[..., int]:
    """A task whose job number 1 waits at the gate; the others return at once."""

    @queue.task(name="t.at_gate")
    def at_gate(n: int) -> int:
        if n == 1:
            gate.wait_here()
        return n

    return at_gate


def test_a_stop_hands_back_at_once_what_has_not_begun_and_finishes_the_running_job(
    queue: Queue, work: Work, gate: Gate, until: Until, at_gate: Task[..., int]
) -> None:
    # On a clock that stands still no job is ever long, so only the stop can hand anything back.
    worker = work(clock=ManualClock())
    teach_short(at_gate, 0)
    running, *behind = queue.enqueue_many([at_gate.s(n) for n in (1, 2, 3)], atomic=True)
    gate.wait_until_reached()
    assert [state_of(queue, result.id) for result in behind] == [STARTED, STARTED]

    worker.loop.stop()
    until(lambda: [state_of(queue, result.id) for result in behind] == [PENDING, PENDING])
    assert state_of(queue, running.id) == STARTED

    gate.open()
    worker.join()
    assert running.get(timeout=30) == 1
    assert [state_of(queue, result.id) for result in behind] == [PENDING, PENDING]


def test_an_idle_worker_stops_without_being_rung_by_a_job(queue: Queue, work: Work) -> None:
    idle = threading.Event()

    @queue.task
    def nothing() -> None:
        return

    worker = work(on_idle=idle.set)
    assert idle.wait(30)
    worker.stop()
    assert worker.end is LoopEnd.STOPPED


# ---- long jobs -----------------------------------------------------------------------------------


def test_jobs_behind_a_long_one_are_run_by_another_worker_meanwhile(
    queue: Queue, work: Work, gate: Gate, at_gate: Task[..., int]
) -> None:
    work(name="first")
    teach_short(at_gate, 0)
    running, *behind = queue.enqueue_many([at_gate.s(n) for n in (1, 2, 3)], atomic=True)
    gate.wait_until_reached()
    work(name="second")
    assert [result.get(timeout=30) for result in behind] == [2, 3]
    assert state_of(queue, running.id) == STARTED


def test_a_job_handed_back_unstarted_has_lost_no_attempt(
    queue: Queue, work: Work, gate: Gate, until: Until, at_gate: Task[..., int]
) -> None:
    work()
    teach_short(at_gate, 0)
    _, behind = queue.enqueue_many([at_gate.s(n) for n in (1, 2)], atomic=True)
    gate.wait_until_reached()
    until(lambda: state_of(queue, behind.id) == PENDING)
    (job,) = queue.store.transport().get([behind.id])
    assert job is not None
    assert (job.attempts, job.retries, job.crashes) == (0, 0, 0)


def test_finished_work_is_stored_while_the_next_job_still_runs(
    queue: Queue, work: Work, gate: Gate, at_gate: Task[..., int]
) -> None:
    work()
    teach_short(at_gate, 0)
    finished, running = queue.enqueue_many([at_gate.s(n) for n in (7, 1)], atomic=True)
    gate.wait_until_reached()
    assert finished.get(timeout=30) == 7
    assert state_of(queue, running.id) == STARTED


# ---- jobs that must not run twice ----------------------------------------------------------------


class WatchedTransport(MemoryTransport):
    """Notes what the worker published at the moment of each settlement."""

    def __init__(self) -> None:
        super().__init__()
        self.settled: list[tuple[int, int | None, float | None]] = []
        """The job settled, the job that was published as running then, and its deadline."""

    def turn(
        self,
        holder: int,
        now: float,
        settlements: Sequence[Transition] = (),
        request: ClaimRequest | None = None,
    ) -> Turn:
        running = self.running(holder)
        for each in settlements:
            published = (None, None) if running is None else (running.seq, running.deadline)
            self.settled.append((each.seq, *published))
        return super().turn(holder, now, settlements, request)


def on(queue: Queue, transport: MemoryTransport) -> MemoryTransport:
    """Put a queue on a transport of the test's own."""
    queue.store.close()
    queue.store._transport = transport
    return transport


def test_a_job_that_must_not_run_twice_is_published_until_its_outcome_is_stored(
    queue: Queue, work: Work
) -> None:
    transport = WatchedTransport()
    on(queue, transport)

    @queue.task(max_crashes=0, time_limit=60)
    def once(x: int) -> int:
        return x

    results = queue.enqueue_many([once.s(x) for x in range(5)])
    work()
    assert [result.get(timeout=30) for result in results] == list(range(5))
    assert transport.settled == [(seq, seq, None) for seq, _, _ in transport.settled]


def test_the_last_job_of_a_batch_stays_published_until_the_batch_is_stored(queue: Queue, work: Work) -> None:
    transport = WatchedTransport()
    on(queue, transport)

    @queue.task
    def plain(x: int) -> int:
        return x

    work()
    teach_short(plain, 0)
    published = [published for _, published, _ in transport.settled]
    assert None not in published
    assert published[-1] == transport.settled[-1][0]


# ---- time limits ---------------------------------------------------------------------------------


def test_a_job_with_a_time_limit_is_published_before_the_supervisor_is_told(queue: Queue, work: Work) -> None:
    published = []
    transport = queue.store.transport()

    @queue.task
    def free(x: int) -> int:
        return x

    @queue.task(time_limit=60)
    def limited(x: int) -> int:
        return x

    def tell() -> None:
        running = transport.running(worker_holder[-1])
        assert running is not None
        published.append(running.deadline is not None)

    worker_holder: list[int] = []
    work(on_registered=worker_holder.append, on_time_limit=tell)
    assert free.delay(1).get(timeout=30) == 1
    assert published == []
    assert limited.delay(2).get(timeout=30) == 2
    assert published == [True]


# ---- idling --------------------------------------------------------------------------------------


def test_a_worker_says_that_it_is_idle_only_when_nothing_is_ready(queue: Queue, work: Work) -> None:
    waiting: list[LaneCount] = []
    idle = threading.Event()

    @queue.task
    def short(x: int) -> int:
        return x

    def tell() -> None:
        waiting.extend(lane for lane in queue.store.transport().count() if lane.waiting != "finished")
        idle.set()

    queue.enqueue_many([short.s(x) for x in range(300)])
    work(on_idle=tell)
    assert idle.wait(30)
    assert waiting == []


def test_jobs_of_an_unknown_task_stay_and_are_told_of_with_the_nearest_name(
    queue: Queue, work: Work, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    @queue.task(name="app.summarise")
    def summarise() -> None:
        return

    @queue.task(name="app.sumarise")
    def misspelt() -> None:
        return

    result = misspelt.delay()
    worker = work(tasks={summarise.name: summarise})
    until(lambda: "app.sumarise" in caplog.text)
    worker.stop()
    (record,) = caplog.records
    assert "1 job waits for task 'app.sumarise'" in record.getMessage()
    assert "'app.summarise'" in record.getMessage()
    (job,) = queue.store.transport().get([result.id])
    assert job is not None
    assert (job.state, job.attempts) == (PENDING, 0)


# ---- a lease that was lost -----------------------------------------------------------------------


def test_a_worker_that_was_taken_for_dead_changes_nothing_and_starts_anew(
    queue: Queue, work: Work, gate: Gate, at_gate: Task[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    transport = queue.store.transport()
    holders: list[int] = []
    work(on_registered=holders.append)
    result = at_gate.delay(1)
    gate.wait_until_reached()

    (holder,) = holders
    (lease,) = transport.leases(holder)
    transport.expel(holder, None)
    returned = decide(lease, Returned(), lease.due, lambda: 0.0)
    assert transport.settle(holder, [returned], lease.due) == []
    gate.open()

    assert result.get(timeout=30) == 1
    assert at_gate.delay(2).get(timeout=30) == 2
    assert len(holders) == 2
    assert f"Task t.at_gate[{result.id}] ended here, but its lease had passed" in caplog.text
    assert "taken for dead" in caplog.text
    (job,) = transport.get([result.id])
    assert job is not None
    assert job.holder in (None, holders[1])


def test_a_worker_expelled_while_idle_registers_again_when_there_is_work(queue: Queue, work: Work) -> None:
    idle = threading.Event()
    holders: list[int] = []

    @queue.task
    def short(x: int) -> int:
        return x

    work(on_idle=idle.set, on_registered=holders.append)
    assert idle.wait(30)
    queue.store.transport().expel(holders[0], None)
    assert short.delay(1).get(timeout=30) == 1
    assert len(holders) == 2


# ---- streams -------------------------------------------------------------------------------------


class StreamTransport(MemoryTransport):
    """Brings one more job after each turn, as a producer does, and notes where the worker rested."""

    def __init__(self, feed: Callable[[], object], jobs: int, awaited: bool) -> None:
        super().__init__()
        self.feed = feed
        self.left = jobs
        self.awaited = awaited

    def is_awaited(self) -> bool:
        return self.awaited

    def turn(
        self,
        holder: int,
        now: float,
        settlements: Sequence[Transition] = (),
        request: ClaimRequest | None = None,
    ) -> Turn:
        if self.left and request is not None:
            self.left -= 1
            self.feed()
        return super().turn(holder, now, settlements, request)


@pytest.mark.parametrize(("awaited", "pauses"), [(False, 6), (True, 0)])
def test_in_a_stream_of_short_jobs_some_gather_before_each_turn_unless_somebody_waits(
    queue: Queue, work: Work, until: Until, awaited: bool, pauses: int
) -> None:
    ran = []

    @queue.task
    def note(x: int) -> None:
        ran.append(x)

    transport = StreamTransport(lambda: note.delay(transport.left), 8, awaited)
    on(queue, transport)
    clock = CountingClock()
    work(clock=clock)
    until(lambda: len(ran) == 8)
    # The first two turns show that it is a stream; the ninth finds nothing.
    until(lambda: clock.slept.count(GATHER_FOR) >= pauses)
    assert ran == [7, 6, 5, 4, 3, 2, 1, 0]
    assert set(clock.slept) <= {GATHER_FOR} if pauses else not clock.slept


# ---- a worker that was taken for dead --------------------------------------------------------------


class HastyTransport(MemoryTransport):
    """Takes the first batch of more than one job away from its worker, as if that had been suspended."""

    taken = False

    def turn(
        self,
        holder: int,
        now: float,
        settlements: Sequence[Transition] = (),
        request: ClaimRequest | None = None,
    ) -> Turn:
        turn = super().turn(holder, now, settlements, request)
        if len(turn.claimed) > 1 and not self.taken:
            self.taken = True
            self.expel(holder, None)
            super().turn(0, now, [decide(job, Returned(), now, lambda: 0.5) for job in turn.claimed])
        return turn


def test_a_job_that_must_not_run_twice_is_not_begun_by_a_worker_that_has_lost_it(
    queue: Queue, work: Work
) -> None:
    transport = HastyTransport()
    on(queue, transport)
    ran = []

    @queue.task(max_crashes=0)
    def once(x: int) -> int:
        ran.append(x)
        return x

    work()
    teach_short(once, 0)
    results = queue.enqueue_many([once.s(x) for x in (1, 2, 3)], atomic=True)
    assert [result.get(timeout=30) for result in results] == [1, 2, 3]
    assert transport.taken
    assert ran == [0, 1, 2, 3]


# ---- a store in trouble --------------------------------------------------------------------------


class TroubledTransport(MemoryTransport):
    """Raises an error at the first turns that have something to settle."""

    def __init__(self, error: StoreError, times: int) -> None:
        super().__init__()
        self.error = error
        self.times = times

    def turn(
        self,
        holder: int,
        now: float,
        settlements: Sequence[Transition] = (),
        request: ClaimRequest | None = None,
    ) -> Turn:
        if settlements and self.times:
            self.times -= 1
            raise self.error
        return super().turn(holder, now, settlements, request)


class CountingClock(ManualClock):
    """Remembers how long it was slept on."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        super().sleep(seconds)


@pytest.mark.parametrize("kind", [StoreFullError, StoreBusyError])
@pytest.mark.parametrize("max_crashes", [0, 3])
def test_a_store_in_passing_trouble_loses_no_result_and_is_asked_ever_less_often(
    queue: Queue, work: Work, kind: type[StoreError], max_crashes: int
) -> None:
    on(queue, TroubledTransport(kind("No room."), 7))
    ran = []

    @queue.task(max_crashes=max_crashes)
    def note(x: int) -> int:
        ran.append(x)
        return x

    clock = CountingClock()
    results = queue.enqueue_many([note.s(x) for x in range(9)])
    work(clock=clock)
    assert [result.get(timeout=30) for result in results] == list(range(9))
    assert ran == list(range(9))
    assert [slept for slept in clock.slept if slept > GATHER_FOR] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_a_stop_waits_until_a_full_disk_has_taken_the_result(
    queue: Queue, work: Work, gate: Gate, at_gate: Task[..., int]
) -> None:
    on(queue, TroubledTransport(StoreFullError("No room."), 3))
    result = at_gate.delay(1)
    worker = work(clock=ManualClock())
    gate.wait_until_reached()
    worker.loop.stop()
    gate.open()
    worker.join()
    assert worker.end is LoopEnd.STOPPED
    assert result.get(timeout=30) == 1


def test_a_store_that_is_gone_ends_the_worker_with_its_sentence(queue: Queue, work: Work) -> None:
    on(queue, TroubledTransport(StoreReplacedError("The file was replaced."), 1))

    @queue.task
    def nothing() -> None:
        return

    nothing.delay()
    worker = work()
    worker.join()
    assert isinstance(worker.error, StoreReplacedError)


def test_a_store_that_goes_while_a_job_runs_is_noticed_by_the_keeper(
    queue: Queue, work: Work, gate: Gate, until: Until, at_gate: Task[..., int]
) -> None:
    transport = TroubledTransport(StoreReplacedError("The file was replaced."), 0)
    on(queue, transport)
    worker = work()
    teach_short(at_gate, 0)
    transport.times = 1
    queue.enqueue_many([at_gate.s(n) for n in (1, 2)], atomic=True)
    gate.wait_until_reached()
    until(lambda: transport.times == 0)
    gate.open()
    worker.join()
    assert isinstance(worker.error, StoreReplacedError)
