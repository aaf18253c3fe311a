"""The contract of settlements: what is stored when a lease ends, and that it comes before the next claim."""
# ruff: noqa: D102  (the names of the tests are the promises)

from __future__ import annotations

from liteq.lifecycle import Crashed, Ignored, Lost
from liteq.states import FAILURE, PENDING, RETRY, SUCCESS
from liteq.testing.contract.base import (
    ANY,
    ERROR,
    NOW,
    Contract,
    after,
    claim_ids,
    claim_one,
    fail,
    new_job,
    read,
    register,
    retry,
    returned,
    succeed,
)
from liteq.transport import Transport

__all__ = ["SettlingContract"]


class SettlingContract(Contract):
    """Every way in which a lease ends."""

    def test_a_success_is_kept_with_its_result(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(transport, holder)

        assert transport.settle(holder, [succeed(claim, NOW + 3, b"\x00\xff")], NOW + 4) == []

        job = read(transport, "a")
        assert (job.state, job.finished, job.done, job.result, job.reason) == (
            SUCCESS,
            True,
            NOW + 3,
            b"\x00\xff",
            None,
        )
        assert (job.holder, job.started, job.attempts) == (None, NOW, 1)
        assert claim_ids(transport, holder, NOW + 1e6) == []

    def test_a_failure_is_kept_with_its_error_and_reason(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a", ignore_result=True)], NOW)
        transport.settle(holder, [fail(claim_one(transport, holder))], NOW)

        job = read(transport, "a")
        assert (job.state, job.finished, job.result, job.reason) == (FAILURE, True, ERROR, "it failed")

    def test_an_ignored_success_leaves_no_record(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a", ignore_result=True)], NOW)
        transport.settle(holder, [succeed(claim_one(transport, holder))], NOW)

        assert transport.get(["a"]) == [None]
        assert transport.count() == []

    def test_an_ignored_job_keeps_the_state_that_it_set(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        outcome = Ignored("PROGRESS", b"as far as I got")
        transport.settle(holder, [after(claim_one(transport, holder), outcome, NOW)], NOW)

        job = read(transport, "a")
        assert (job.state, job.finished, job.result) == ("PROGRESS", True, b"as far as I got")

    def test_a_retry_waits_for_its_time_with_its_error(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        transport.settle(holder, [retry(claim_one(transport, holder), NOW + 1, delay=5)], NOW + 1)

        job = read(transport, "a")
        assert (job.state, job.finished, job.due, job.retries) == (RETRY, False, NOW + 6, 1)
        assert (job.result, job.reason, job.holder, job.done) == (ERROR, "it failed", None, None)
        assert claim_ids(transport, holder, NOW + 5.999) == []
        assert claim_ids(transport, holder, NOW + 6) == ["a"]

    def test_a_crash_is_counted_apart_from_retries(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        crashed = Crashed(ERROR, "its worker died")
        transport.settle(holder, [after(claim_one(transport, holder), crashed, NOW)], NOW)

        job = read(transport, "a")
        assert (job.state, job.due, job.attempts, job.retries, job.crashes) == (RETRY, NOW + 0.25, 1, 0, 1)
        again = claim_one(transport, holder, NOW + 0.25)
        assert (again.attempts, again.retries, again.crashes) == (2, 0, 1)

    def test_a_job_handed_back_loses_no_attempt(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(transport, holder, NOW + 1)
        transport.settle(holder, [returned(claim, NOW + 2)], NOW + 2)

        job = read(transport, "a")
        assert (job.state, job.attempts, job.due, job.holder) == (PENDING, 0, NOW, None)
        assert claim_one(transport, holder, NOW + 2).attempts == 1

    def test_a_lost_job_that_must_run_at_most_once_ends(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a", max_crashes=0)], NOW)
        lost = Lost(started=True, error=ERROR, reason="its worker is gone")
        transport.settle(holder, [after(claim_one(transport, holder), lost, NOW)], NOW)

        assert (read(transport, "a").state, read(transport, "a").finished) == (FAILURE, True)

    def test_settling_and_claiming_happen_in_one_turn(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a"), new_job("b")], NOW)
        first = claim_one(transport, holder)

        turn = transport.turn(holder, NOW + 1, [succeed(first, NOW + 1)], ANY)

        assert ([claim.id for claim in turn.claimed], turn.refused) == (["b"], [])
        assert read(transport, "a").state == SUCCESS

    def test_a_job_handed_back_in_a_turn_can_be_claimed_in_it(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a"), new_job("b")], NOW)
        first = claim_one(transport, holder)

        turn = transport.turn(holder, NOW + 1, [returned(first, NOW + 1)], ANY)

        assert [claim.id for claim in turn.claimed] == ["a", "b"]
        assert (turn.claimed[0].attempts, turn.claimed[0].token == first.token) == (1, False)

    def test_a_turn_with_nothing_to_do_brings_nothing(self, transport: Transport) -> None:
        turn = transport.turn(register(transport), NOW)

        assert (turn.claimed, turn.refused) == ([], [])

    def test_a_settlement_without_a_request_claims_nothing(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a"), new_job("b")], NOW)
        first = claim_one(transport, holder)

        assert transport.turn(holder, NOW, [succeed(first)]).claimed == []
        assert read(transport, "b").attempts == 0

    def test_a_settlement_that_keeps_nothing_leaves_no_record(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        ignored = after(claim_one(transport, holder), Ignored(), NOW)
        transport.settle(holder, [ignored], NOW)

        assert transport.get(["a"]) == [None]
        assert transport.enqueue([new_job("a")], NOW) == [True]
