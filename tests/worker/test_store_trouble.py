"""A store that cannot take everything any more: what a worker still saves, and whom it does not blame."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import pytest
from worker_thread import Gate, Worker

from liteq import Queue, Task
from liteq.errors import StoreFullError, StoreReplacedError
from liteq.job import ClaimRequest, NewJob, Transition, Turn, WorkerInfo
from liteq.states import SUCCESS
from liteq.testing.clock import ManualClock
from liteq.transport import RunningSlot
from liteq.transports.memory import MemoryTransport
from liteq.worker.patience import TELL_EVERY, Patience
from liteq.worker.recovery import Recovery

Work = Callable[..., Worker]


def on(queue: Queue, transport: MemoryTransport) -> None:
    """Put a queue on a transport of the test's own."""
    queue.store.close()
    queue.store._transport = transport


class OnlySettles(MemoryTransport):
    """Takes what is settled, and refuses all else from some moment on, like one without its side folder."""

    lost = False

    def turn(
        self,
        holder: int,
        now: float,
        settlements: Sequence[Transition] = (),
        request: ClaimRequest | None = None,
    ) -> Turn:
        if self.lost and request is not None:
            raise StoreReplacedError("The folder was deleted.")
        return super().turn(holder, now, settlements, request)


def test_a_worker_that_cannot_go_on_stores_what_it_has_finished_and_hands_back_the_rest(
    queue: Queue, work: Work, gate: Gate
) -> None:
    transport = OnlySettles()
    on(queue, transport)

    @queue.task(name="t.at_gate")
    def at_gate(x: int) -> int:
        gate.wait_here()
        return x

    finished = at_gate.delay(1)
    worker = work()
    gate.wait_until_reached()
    transport.lost = True
    gate.open()
    worker.join()
    assert isinstance(worker.error, StoreReplacedError)
    assert finished.get(timeout=0) == 1
    assert transport.workers() == []


class NoRoomForSlots(MemoryTransport):
    """Has no room for a slot at first."""

    refusals = 2

    def slot(self, holder: int, places: int = 1) -> RunningSlot:
        if self.refusals:
            self.refusals -= 1
            raise StoreFullError("No room.")
        return super().slot(holder, places)


def test_a_worker_runs_nothing_before_there_is_room_for_its_slot(queue: Queue, work: Work) -> None:
    transport = NoRoomForSlots()
    on(queue, transport)
    seen = []

    @queue.task(name="t.look")
    def look() -> None:
        [record] = transport.workers()
        seen.append((transport.refusals, record.running is not None))

    result = look.delay()
    worker = work(clock=ManualClock())
    result.get(timeout=30)
    assert seen == [(0, True)]
    assert len(transport.workers()) == 1
    worker.stop()
    assert transport.workers() == []


class NobodyCanWrite(MemoryTransport):
    """Is full, for those who would renew a lease as for those who would take it away."""

    full = False

    def expel(self, holder: int, seen_expires: float | None) -> bool:
        if self.full:
            raise StoreFullError("No room.")
        return super().expel(holder, seen_expires)


def test_a_lease_that_ran_out_on_a_full_disk_may_be_renewed_when_there_is_room_again() -> None:
    transport, clock = NobodyCanWrite(), ManualClock()
    holder = transport.register(WorkerInfo("w", "host", 1, 1), 60.0, clock.wall())
    transport.enqueue([NewJob("id", "t.noop", b"")], clock.wall())
    [_] = transport.claim(holder, ClaimRequest({"t.noop": 1}), clock.wall())
    recovery = Recovery(transport, clock, lambda: 0.5)

    def look_for(seconds: int) -> list[Transition]:
        """Look every ten seconds, until somebody is recovered."""
        for _ in range(seconds // 10):
            clock.advance(10)
            if recovered := recovery.look():
                return recovered
        return []

    transport.full = True
    with pytest.raises(StoreFullError):
        look_for(200)
    transport.full = False
    # From here on it could renew, and gets two heartbeats to do so.
    assert look_for(30) == []
    assert transport.is_registered(holder)
    [lost] = look_for(20)
    assert lost.id == "id"


def test_a_lasting_trouble_is_told_at_once_and_then_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    patience = Patience(clock)
    for _ in range(100):
        patience.tell(StoreFullError("The disk is full."))
        clock.advance(TELL_EVERY / 50)
    assert caplog.text.count("The disk is full.") == 2
    patience.is_over()
    patience.tell(StoreFullError("Full again."))
    assert "Full again." in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_progress_report_that_finds_no_room_does_not_fail_its_job(
    queue: Queue, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    class NoRoomForStates(MemoryTransport):
        def update_state(self, seq: int, token: int, state: str, result: bytes | None) -> bool:
            raise StoreFullError("No room.")

    on(queue, NoRoomForStates())

    @queue.task(bind=True, name="t.report")
    def report(self: Task[[int], int], steps: int) -> int:
        for step in range(steps):
            self.update_state("PROGRESS", step)
        return steps

    worker = work()
    results = [report.delay(5), report.delay(3)]
    assert [result.get(timeout=30) for result in results] == [5, 3]
    assert {result.status for result in results} == {SUCCESS}
    worker.stop()
    assert caplog.text.count("cannot be seen: No room.") == 2
