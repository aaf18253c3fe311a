"""The contract of claims: what a worker gets, and that only the holder of the token can change it."""
# ruff: noqa: D102  (the names of the tests are the promises)

from __future__ import annotations

import threading

from liteq.job import ClaimRequest
from liteq.states import RETRY, STARTED, SUCCESS
from liteq.testing.contract.base import (
    ANY,
    ERROR,
    NOW,
    PATIENCE,
    Contract,
    claim_ids,
    claim_one,
    new_job,
    read,
    register,
    retry,
    returned,
    succeed,
)
from liteq.transport import Transport

__all__ = ["LeasingContract"]


class LeasingContract(Contract):
    """Claiming, budgets, tokens, and a running job's own state."""

    def test_a_claim_brings_all_that_a_worker_needs(self, transport: Transport) -> None:
        job = new_job(
            "a",
            queue="q",
            priority=3,
            eta=NOW - 5,
            expires=NOW + 50,
            max_crashes=2,
            ignore_result=True,
            options=b"o",
        )
        transport.enqueue([job], NOW)

        claim = claim_one(transport, register(transport), NOW + 1)

        assert (claim.id, claim.task, claim.queue, claim.priority) == ("a", "add", "q", 3)
        assert (claim.payload, claim.codec, claim.options) == (job.payload, job.codec, b"o")
        assert (claim.due, claim.eta, claim.expires) == (NOW, NOW - 5, NOW + 50)
        assert (claim.attempts, claim.retries, claim.crashes, claim.max_crashes) == (1, 0, 0, 2)
        assert claim.ignore_result

    def test_a_claimed_job_reads_started_by_its_holder(self, transport: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)
        holder = register(transport)
        claim = claim_one(transport, holder, NOW + 2)

        job = read(transport, "a")
        assert (job.state, job.finished, job.started, job.attempts) == (STARTED, False, NOW + 2, 1)
        assert (job.holder, job.seq) == (holder, claim.seq)

    def test_a_claimed_job_is_not_claimed_again(self, transport: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)
        first, other = register(transport), register(transport)

        assert claim_ids(transport, first) == ["a"]
        assert claim_ids(transport, first) == []
        assert claim_ids(transport, other, NOW + 1e6) == []

    def test_each_attempt_is_counted_at_its_claim(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        transport.settle(holder, [retry(claim_one(transport, holder), delay=0)], NOW)

        again = claim_one(transport, holder)

        assert (again.attempts, again.retries, read(transport, "a").attempts) == (2, 1, 2)

    def test_a_claim_clears_what_the_attempt_before_left(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        transport.settle(holder, [retry(claim_one(transport, holder), delay=1)], NOW)
        waiting = read(transport, "a")
        assert (waiting.state, waiting.result, waiting.reason) == (RETRY, ERROR, "it failed")

        claim_one(transport, holder, NOW + 1)

        running = read(transport, "a")
        assert (running.state, running.result, running.reason) == (STARTED, None, None)

    def test_only_known_tasks_are_claimed(self, transport: Transport) -> None:
        transport.enqueue([new_job("a", "unknown", priority=9), new_job("b")], NOW)
        holder = register(transport)

        assert claim_ids(transport, holder) == ["b"]
        assert claim_ids(transport, holder, NOW, ClaimRequest({})) == []
        assert read(transport, "a").attempts == 0

    def test_only_the_served_queues_are_claimed(self, transport: Transport) -> None:
        transport.enqueue(
            [new_job("a", queue="x", priority=9), new_job("b", queue="y"), new_job("c", queue="z")], NOW
        )
        holder = register(transport)

        assert claim_ids(transport, holder, NOW, ANY._replace(queues=[])) == []
        assert claim_ids(transport, holder, NOW, ANY._replace(queues=["y", "z", "nowhere"])) == ["b", "c"]

    def test_a_claim_stops_at_its_limit(self, transport: Transport) -> None:
        transport.enqueue([new_job(name) for name in "abcd"], NOW)
        holder = register(transport)

        assert claim_ids(transport, holder, NOW, ANY._replace(limit=3)) == ["a", "b", "c"]
        assert claim_ids(transport, holder, NOW, ANY._replace(limit=0)) == []

    def test_a_claim_stops_before_its_budget_is_passed(self, transport: Transport) -> None:
        transport.enqueue([new_job(name) for name in "abcd"], NOW)
        request = ClaimRequest({"add": 10}, budget=30)

        assert claim_ids(transport, register(transport), NOW, request) == ["a", "b", "c"]

    def test_the_first_job_is_claimed_whatever_it_costs(self, transport: Transport) -> None:
        transport.enqueue([new_job("a"), new_job("b", "mul")], NOW)
        request = ClaimRequest({"add": 1000, "mul": 1}, budget=10)
        holder = register(transport)

        assert claim_ids(transport, holder, NOW, request) == ["a"]
        assert claim_ids(transport, holder, NOW, request) == ["b"]

    def test_a_job_that_does_not_fit_the_budget_is_not_overtaken(self, transport: Transport) -> None:
        transport.enqueue([new_job("a"), new_job("long", "mul"), new_job("c")], NOW)
        request = ClaimRequest({"add": 1, "mul": 100}, budget=50)

        assert claim_ids(transport, register(transport), NOW, request) == ["a"]

    def test_a_worker_that_is_not_registered_claims_nothing(self, transport: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)
        holder = register(transport)
        transport.unregister(holder)

        assert claim_ids(transport, holder) == []
        assert claim_ids(transport, holder + 100) == []
        assert read(transport, "a").attempts == 0

    def test_no_two_leases_of_a_job_share_a_token(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        tokens = set()
        for _ in range(20):
            claim = claim_one(transport, holder)
            tokens.add((claim.seq, claim.token))
            transport.settle(holder, [returned(claim)], NOW)

        assert len(tokens) == 20

    def test_a_lease_given_through_another_handle_has_a_token_of_its_own(
        self, transport: Transport, second: Transport
    ) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        stale = claim_one(transport, holder)
        transport.settle(holder, [returned(stale)], NOW)
        again = claim_one(second, holder)

        assert (again.seq, again.token) != (stale.seq, stale.token)
        assert transport.settle(holder, [succeed(stale)], NOW) == [succeed(stale)]
        assert read(second, "a").state == STARTED

    def test_a_job_is_given_to_one_of_many_threads(self, transport: Transport) -> None:
        names = {f"job {number}" for number in range(40)}
        transport.enqueue([new_job(name) for name in sorted(names)], NOW)
        claimed: list[str] = []

        def work(holder: int) -> None:
            while batch := claim_ids(transport, holder, NOW, ANY._replace(limit=3)):
                claimed.extend(batch)

        threads = [threading.Thread(target=work, args=(register(transport),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)

        assert sorted(claimed) == sorted(names)

    def test_a_superseded_settlement_is_refused_and_changes_nothing(self, transport: Transport) -> None:
        holder, other = register(transport), register(transport)
        transport.enqueue([new_job("a")], NOW)
        stale = claim_one(transport, holder)
        transport.settle(holder, [returned(stale)], NOW)
        late = succeed(stale, NOW + 5)

        assert transport.settle(holder, [late], NOW) == [late]
        claim_one(transport, other)
        before = read(transport, "a")
        assert transport.settle(holder, [late], NOW + 5) == [late]
        assert read(transport, "a") == before

    def test_a_second_settlement_of_one_lease_is_refused(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(transport, holder)
        first, again = succeed(claim, NOW, b"1"), succeed(claim, NOW + 1, b"2")

        assert transport.settle(holder, [first, again], NOW) == [again]
        assert transport.settle(holder, [again], NOW + 1) == [again]
        assert read(transport, "a").result == b"1"

    def test_a_refused_settlement_does_not_hold_up_the_others(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a"), new_job("b")], NOW)
        claims = transport.claim(holder, ANY, NOW)
        wrong = succeed(claims[0])._replace(token=claims[0].token + 1_000_000)
        unknown = succeed(claims[0])._replace(seq=claims[0].seq + 1_000_000)

        assert transport.settle(holder, [wrong, unknown, succeed(claims[1])], NOW) == [wrong, unknown]
        assert (read(transport, "a").state, read(transport, "b").state) == (STARTED, SUCCESS)

    def test_whoever_has_the_token_may_settle(self, transport: Transport, second: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(transport, register(transport))

        assert second.settle(register(second), [succeed(claim)], NOW) == []
        assert read(transport, "a").state == SUCCESS

    def test_a_running_job_stores_its_own_state(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(transport, holder)

        assert transport.update_state(claim.seq, claim.token, "PROGRESS", b"half") is True

        job = read(transport, "a")
        assert (job.state, job.result, job.finished, job.holder) == ("PROGRESS", b"half", False, holder)
        assert transport.settle(holder, [succeed(claim)], NOW) == []
        assert read(transport, "a").state == SUCCESS

    def test_a_superseded_lease_cannot_store_its_own_state(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        stale = claim_one(transport, holder)
        transport.settle(holder, [returned(stale)], NOW)
        assert transport.update_state(stale.seq, stale.token, "PROGRESS", b"x") is False

        claim_one(transport, holder)

        assert transport.update_state(stale.seq, stale.token, "PROGRESS", b"x") is False
        assert (read(transport, "a").state, read(transport, "a").result) == (STARTED, None)
