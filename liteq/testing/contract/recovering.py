"""The contract of workers: registering, renewing, and taking over from those that are gone."""
# ruff: noqa: D102  (the names of the tests are the promises)

from __future__ import annotations

import time

from liteq.job import WorkerInfo, WorkerRecord
from liteq.lifecycle import Lost
from liteq.states import PENDING, SUCCESS
from liteq.testing.contract.base import (
    ANY,
    ERROR,
    NOW,
    VISIBILITY,
    Contract,
    after,
    claim_ids,
    claim_one,
    new_job,
    read,
    register,
    succeed,
)
from liteq.transport import Transport

__all__ = ["RecoveringContract"]


class RecoveringContract(Contract):
    """Workers, their leases' expiry, and recovery."""

    def test_a_registered_worker_is_listed_alive(self, transport: Transport) -> None:
        info = WorkerInfo("Wörker@host", "host", pid=4711, supervisor=4710, queues=("x", "y"))

        holder = transport.register(info, 30.0, NOW)

        record = _record(transport, holder)
        assert (record.info, record.started) == (info, NOW)
        assert (record.expires, record.visibility_timeout) == (NOW + 30, 30)
        assert (record.alive, record.leases, record.running) == (True, 0, None)
        assert transport.is_registered(holder) is True

    def test_a_worker_that_serves_all_queues_says_so(self, transport: Transport) -> None:
        assert _record(transport, register(transport)).info.queues is None

    def test_holder_numbers_are_never_used_again(self, transport: Transport, second: Transport) -> None:
        first = register(transport)
        transport.unregister(first)
        other = register(second)
        transport.expel(other, None)

        assert first < other < register(transport)

    def test_an_unregistered_worker_without_leases_is_gone(self, transport: Transport) -> None:
        holder = register(transport)
        transport.unregister(holder)
        transport.unregister(holder)

        assert transport.workers() == []
        assert transport.is_registered(holder) is False
        assert transport.leases(holder) == []

    def test_an_unregistered_worker_with_leases_is_listed_dead_until_they_are_taken(
        self, transport: Transport
    ) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(transport, holder)
        transport.unregister(holder)

        record = _record(transport, holder)
        assert (record.alive, record.leases) == (False, 1)
        assert transport.is_registered(holder) is False

        transport.settle(0, [succeed(claim)], NOW)
        assert transport.workers() == []

    def test_leases_are_listed_in_the_order_of_claiming(self, transport: Transport) -> None:
        holder, other = register(transport), register(transport)
        transport.enqueue([new_job("low"), new_job("high", priority=1)], NOW)
        claims = transport.claim(holder, ANY, NOW)
        transport.enqueue([new_job("higher", priority=9), new_job("other", priority=-1)], NOW)
        claims.append(claim_one(transport, holder))
        claim_one(transport, other)

        assert [claim.id for claim in claims] == ["high", "low", "higher"]
        assert transport.leases(holder) == claims
        assert _record(transport, holder).leases == 3

    def test_a_settled_job_is_no_lease_any_more(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a"), new_job("b")], NOW)
        claims = transport.claim(holder, ANY, NOW)
        transport.settle(holder, [succeed(claims[0])], NOW)

        assert transport.leases(holder) == [claims[1]]

    def test_renewing_moves_the_expiry_of_those_who_hold_leases(self, transport: Transport) -> None:
        idle, busy, absent = register(transport), register(transport), register(transport)
        transport.enqueue([new_job("a"), new_job("b")], NOW)
        claim_one(transport, busy)
        claim_one(transport, absent)

        transport.renew([idle, busy], VISIBILITY, NOW + 30)

        expiries = [_record(transport, holder).expires for holder in (idle, busy, absent)]
        assert expiries == [NOW + VISIBILITY, NOW + 30 + VISIBILITY, NOW + VISIBILITY]

    def test_claiming_renews_when_a_third_of_the_time_has_passed(self, transport: Transport) -> None:
        holder = register(transport, NOW, visibility_timeout=60)
        transport.enqueue([new_job("a"), new_job("b"), new_job("c")], NOW)

        claim_one(transport, holder, NOW + 19)
        assert _record(transport, holder).expires == NOW + 60
        claim_one(transport, holder, NOW + 21)
        assert _record(transport, holder).expires == NOW + 81

    def test_claiming_renews_when_all_of_the_time_has_passed(self, transport: Transport) -> None:
        holder = register(transport, NOW, visibility_timeout=60)
        transport.enqueue([new_job("a")], NOW)

        claim_one(transport, holder, NOW + 5000)

        assert _record(transport, holder).expires == NOW + 5060

    def test_claiming_after_the_clock_was_set_back_brings_the_expiry_back(self, transport: Transport) -> None:
        holder = register(transport, NOW, visibility_timeout=60)
        transport.enqueue([new_job("a")], NOW - 3600)

        claim_one(transport, holder, NOW - 3600)

        assert _record(transport, holder).expires == NOW - 3600 + 60

    def test_a_turn_without_a_request_renews_nothing(self, transport: Transport) -> None:
        holder = register(transport)
        transport.turn(holder, NOW + 50)

        assert _record(transport, holder).expires == NOW + VISIBILITY

    def test_an_expelled_worker_can_neither_claim_nor_renew(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a"), new_job("b")], NOW)
        claim_one(transport, holder)

        assert transport.expel(holder, NOW + VISIBILITY) is True

        before = _record(transport, holder)
        assert claim_ids(transport, holder) == []
        transport.renew([holder], VISIBILITY, NOW + 30)
        assert _record(transport, holder) == before
        assert transport.is_registered(holder) is False

    def test_a_worker_that_has_renewed_is_not_expelled(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        claim_one(transport, holder)
        seen = _record(transport, holder).expires
        transport.renew([holder], VISIBILITY, NOW + 30)

        assert transport.expel(holder, seen) is False
        assert transport.is_registered(holder) is True

    def test_a_worker_can_be_expelled_whatever_its_expiry(self, transport: Transport) -> None:
        holder = register(transport)

        assert transport.expel(holder, None) is True
        assert transport.is_registered(holder) is False

    def test_a_worker_that_is_out_counts_as_expelled(self, transport: Transport) -> None:
        holder = register(transport)
        transport.unregister(holder)

        assert transport.expel(holder, None) is True
        assert transport.expel(holder, NOW) is True

    def test_the_leases_of_an_expelled_worker_go_to_others(self, transport: Transport) -> None:
        gone, other = register(transport), register(transport)
        transport.enqueue([new_job("a"), new_job("b")], NOW)
        transport.claim(gone, ANY, NOW)
        transport.expel(gone, None)

        lost = Lost(started=False, error=ERROR, reason="its worker is gone")
        freed = [after(claim, lost, NOW + 1) for claim in transport.leases(gone)]
        assert transport.settle(other, freed, NOW + 1) == []

        assert [(job.state, job.attempts) for job in (read(transport, "a"), read(transport, "b"))] == [
            (PENDING, 0),
            (PENDING, 0),
        ]
        assert claim_ids(transport, other, NOW + 1) == ["a", "b"]
        assert [record.holder for record in transport.workers()] == [other]

    def test_an_expelled_worker_may_settle_what_nobody_has_taken(self, transport: Transport) -> None:
        gone = register(transport)
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(transport, gone)
        transport.expel(gone, None)

        assert transport.update_state(claim.seq, claim.token, "PROGRESS", None) is True
        assert transport.settle(gone, [succeed(claim)], NOW) == []
        assert read(transport, "a").state == SUCCESS

    def test_an_expelled_worker_cannot_settle_what_others_have_taken(self, transport: Transport) -> None:
        gone, other = register(transport), register(transport)
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(transport, gone)
        transport.expel(gone, None)
        lost = Lost(started=True, error=ERROR, reason="its worker is gone")
        transport.turn(other, NOW + 1, [after(claim, lost, NOW + 1)], ANY)

        assert transport.settle(gone, [succeed(claim)], NOW + 2) == [succeed(claim)]
        assert read(transport, "a").holder == other

    def test_a_worker_publishes_what_it_runs(self, transport: Transport, second: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(transport, holder)
        assert transport.running(holder) is None

        slot = transport.slot(holder)
        before = time.monotonic()
        slot.begin(claim.seq, claim.token, before + 9.5)

        running = second.running(holder)
        assert running is not None
        assert (running.seq, running.token, running.deadline) == (claim.seq, claim.token, before + 9.5)
        assert before <= running.since <= time.monotonic()
        assert _record(second, holder).running == running
        slot.clear()
        assert second.running(holder) is None
        slot.close()
        slot.close()

    def test_a_job_without_a_time_limit_is_published_without_a_deadline(self, transport: Transport) -> None:
        holder = register(transport)
        slot = transport.slot(holder)
        slot.begin(1, 2, None)

        running = transport.running(holder)
        assert running is not None
        assert running.deadline is None
        slot.close()

    def test_a_worker_that_runs_several_jobs_publishes_them_all(
        self, transport: Transport, second: Transport
    ) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        claim_one(transport, holder)
        slot = transport.slot(holder, places=3)
        slot.begin(1, 10, None)
        alone = second.running(holder)
        assert alone is not None
        assert (alone.seq, alone.beside) == (1, ())
        slot.begin(2, 20, 90.0, place=2)
        slot.begin(3, 30, 80.0, place=1)

        first = second.running(holder)
        assert first is not None
        assert (first.seq, first.token, first.deadline) == (3, 30, 80.0)
        assert [(each.seq, each.deadline) for each in first.beside or ()] == [(2, 90.0), (1, None)]
        assert _record(second, holder).running == first

        slot.clear(1)
        slot.clear(0)
        last = second.running(holder)
        assert last is not None
        assert (last.seq, last.beside) == (2, ())
        slot.clear()
        assert second.running(holder) is None
        slot.close()

    def test_an_unknown_worker_runs_nothing(self, transport: Transport) -> None:
        assert transport.running(12345) is None
        assert transport.leases(12345) == []
        assert transport.is_registered(12345) is False


def _record(transport: Transport, holder: int) -> WorkerRecord:
    (record,) = [record for record in transport.workers() if record.holder == holder]
    return record
