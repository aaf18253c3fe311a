"""Jobs behind one that holds the interpreter: their supervisor takes them back, and no job runs twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_thread import Worker

from liteq import Queue
from liteq.errors import StoreBusyError
from liteq.job import Claim, ClaimRequest, NewJob, Running, Transition, Turn, WorkerInfo
from liteq.testing.clock import ManualClock
from liteq.transports.memory import MemoryTransport
from liteq.transports.memory.waking import MemorySlot
from liteq.worker.batching import BEGIN_WITHIN, TAKE_BACK_AFTER
from liteq.worker.recovery import Recovery
from liteq.worker.taking_back import TakingBack, waiting_behind

WORKER = WorkerInfo("one", "host", 1, 1)


def holding(transport: MemoryTransport, jobs: int) -> tuple[int, list[Claim]]:
    """Register a worker and let it claim some jobs; return its holder number and the claims."""
    transport.enqueue([NewJob(f"job-{number}", "task", b"") for number in range(jobs)], 0.0)
    holder = transport.register(WORKER, 60.0, 0.0)
    return holder, transport.claim(holder, ClaimRequest({"task": 1}), 0.0)


@given(st.integers(2, 20), st.data())
def test_what_is_behind_the_running_job_goes_back_uncharged_and_nothing_else(
    jobs: int, data: st.DataObject
) -> None:
    transport = MemoryTransport()
    holder, claims = holding(transport, jobs)
    place = data.draw(st.integers(0, jobs - 1))
    transport.slot(holder).begin(claims[place].seq, claims[place].token, None)
    running = transport.running(holder)
    assert running is not None
    # Slots go by the machine's own clock.
    clock = ManualClock(wall=0.0, monotonic=running.since)
    recovery = Recovery(transport, clock, lambda: 0.5)
    taking_back = TakingBack(transport, clock, lambda: 0.5)

    def taken() -> list[str]:
        recovery.look([holder])
        before = {claim.id for claim in transport.leases(holder)}
        taking_back.look(recovery.own)
        taking_back.close()
        return sorted(before - {claim.id for claim in transport.leases(holder)})

    clock.advance(TAKE_BACK_AFTER - 0.5)
    assert taken() == []
    clock.advance(0.6)
    assert taken() == sorted(claim.id for claim in claims[place + 1 :])
    assert taken() == []
    assert transport.leases(holder) == claims[: place + 1]
    returned = transport.get([claim.id for claim in claims[place + 1 :]])
    assert {(job.state, job.attempts, job.crashes) for job in returned if job} <= {("PENDING", 0, 0)}


def test_nothing_is_taken_from_a_worker_that_rests_or_is_somebody_elses() -> None:
    transport = MemoryTransport()
    holder, claims = holding(transport, 3)
    clock = ManualClock(wall=0.0, monotonic=time.monotonic() + 60)
    recovery = Recovery(transport, clock, lambda: 0.5)
    taking_back = TakingBack(transport, clock, lambda: 0.5)
    recovery.look([holder])
    taking_back.look(recovery.own)
    taking_back.close()
    transport.slot(holder).begin(claims[0].seq, claims[0].token, None)
    recovery.look([])
    taking_back.look(recovery.own)
    taking_back.close()
    assert len(transport.leases(holder)) == 3


def test_nothing_can_be_said_when_the_running_job_is_not_among_the_claims() -> None:
    _, claims = holding(MemoryTransport(), 3)
    running = Running(claims[0].seq, claims[0].token - 1, 0.0, None)
    assert waiting_behind(claims, running) == ()
    assert waiting_behind(claims[1:], running._replace(token=claims[0].token)) == ()


class Stalled(MemoryTransport):
    """Its worker stands still for seconds at some point of a batch, and meanwhile its supervisor looks."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.taking_back = TakingBack(self, clock, lambda: 0.5)
        self.holder = 0
        self.taken: set[str] = set()
        self.stall_at_publication = False
        self.trouble_at_settlement = False

    def stall(self) -> None:
        self.clock.advance(TAKE_BACK_AFTER + BEGIN_WITHIN)
        before = {claim.id for claim in self.leases(self.holder)}
        self.taking_back.look(self.workers())
        self.taking_back.close()
        self.taken |= before - {claim.id for claim in self.leases(self.holder)}

    def slot(self, holder: int, places: int = 1) -> MemorySlot:
        self.holder = holder
        return StalledSlot(self, self._stations.workers[holder])

    def turn(
        self,
        holder: int,
        now: float,
        settlements: Sequence[Transition] = (),
        request: ClaimRequest | None = None,
    ) -> Turn:
        if self.trouble_at_settlement and settlements and holder == self.holder:
            self.trouble_at_settlement = False
            self.stall()
            raise StoreBusyError("Somebody else writes.")
        return super().turn(holder, now, settlements, request)


class StalledSlot(MemorySlot):
    """Publishes on the test's own clock."""

    def __init__(self, transport: Stalled, worker: object) -> None:
        super().__init__(worker)  # type: ignore[arg-type]
        self._transport = transport
        self._begun = 0

    def begin(self, seq: int, token: int, deadline: float | None) -> None:
        self._begun += 1
        # The first job came alone; this is the second one of the batch.
        if self._begun == 3 and self._transport.stall_at_publication:
            self._transport.stall()
        self._worker.running = Running(seq, token, self._transport.clock.monotonic(), deadline)


@pytest.mark.parametrize("stalls", ["stall_at_publication", "trouble_at_settlement"])
def test_a_worker_that_comes_back_runs_nothing_that_was_taken_from_it(
    queue: Queue, work: Callable[..., Worker], stalls: str
) -> None:
    # Ahead of the producer's clock, or what is handed back would seem to be due later.
    clock = ManualClock(wall=time.time() + 60)
    transport = Stalled(clock)
    queue.store.close()
    queue.store._transport = transport
    ran: Counter[int] = Counter()

    @queue.task(max_crashes=0 if stalls == "trouble_at_settlement" else 3)
    def note(x: int) -> int:
        ran[x] += 1
        return x

    work(clock=clock)
    note.delay(0).get(timeout=30)
    setattr(transport, stalls, True)
    results = queue.enqueue_many([note.s(x) for x in range(1, 10)], atomic=True)
    assert [result.get(timeout=30) for result in results] == list(range(1, 10))
    assert ran == dict.fromkeys(range(10), 1)
    assert len(transport.taken) == 8
    assert {job.attempts for job in transport.get([result.id for result in results]) if job} == {1}
