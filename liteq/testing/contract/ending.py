"""The contract of what ends without running, comes back, or is forgotten."""
# ruff: noqa: D102  (the names of the tests are the promises)

from __future__ import annotations

from liteq.job import DEFAULT_RESULT_EXPIRES, Claim
from liteq.states import FAILURE, PENDING, REVOKED, STARTED, SUCCESS
from liteq.testing.contract.base import (
    ANY,
    ERROR,
    NOW,
    Contract,
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
from liteq.transport import EXPIRED, PURGED, Transport

__all__ = ["EndingContract"]


class EndingContract(Contract):
    """Expiry, revocation, purging, requeueing, forgetting and sweeping."""

    def test_a_waiting_job_that_expires_is_revoked_and_not_claimed(self, transport: Transport) -> None:
        transport.enqueue([new_job("a", expires=NOW + 10), new_job("b", expires=NOW + 11)], NOW)

        assert claim_ids(transport, register(transport), NOW + 10) == ["b"]

        job = read(transport, "a")
        assert (job.state, job.finished, job.done) == (REVOKED, True, NOW + 10)
        assert (job.reason, job.result, job.attempts) == (EXPIRED, None, 0)

    def test_a_delayed_job_may_expire_before_its_eta(self, transport: Transport) -> None:
        transport.enqueue([new_job("a", eta=NOW + 100, expires=NOW + 10)], NOW)

        transport.turn(register(transport), NOW + 10)

        assert read(transport, "a").state == REVOKED

    def test_a_job_that_has_expired_at_publication_is_stored_and_revoked(self, transport: Transport) -> None:
        assert transport.enqueue([new_job("a", expires=NOW)], NOW) == [True]
        assert read(transport, "a").state == PENDING

        assert claim_ids(transport, register(transport)) == []
        assert read(transport, "a").state == REVOKED

    def test_a_running_job_does_not_expire(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a", expires=NOW + 10)], NOW)
        claim = claim_one(transport, holder)

        assert transport.sweep(NOW + 11) == 0
        transport.turn(holder, NOW + 11)

        assert read(transport, "a").state == STARTED
        assert transport.settle(holder, [succeed(claim, NOW + 12)], NOW + 12) == []

    def test_a_job_handed_back_after_its_expiry_is_revoked(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a", expires=NOW + 10)], NOW)
        claim = claim_one(transport, holder)

        transport.settle(holder, [returned(claim, NOW + 10)], NOW + 10)

        assert (read(transport, "a").state, read(transport, "a").attempts) == (REVOKED, 0)

    def test_a_waiting_job_can_be_revoked(self, transport: Transport) -> None:
        transport.enqueue([new_job("a"), new_job("b", eta=NOW + 100)], NOW)

        assert transport.revoke(["a", "b"], NOW + 1, "not wanted") == [True, True]

        for job_id in ("a", "b"):
            job = read(transport, job_id)
            assert (job.state, job.finished, job.done, job.reason) == (REVOKED, True, NOW + 1, "not wanted")
        assert claim_ids(transport, register(transport), NOW + 1000) == []

    def test_a_job_that_waits_for_a_retry_can_be_revoked(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        transport.settle(holder, [retry(claim_one(transport, holder))], NOW)

        assert transport.revoke(["a"], NOW, "not wanted") == [True]

        job = read(transport, "a")
        assert (job.state, job.result, job.attempts, job.retries) == (REVOKED, None, 1, 1)

    def test_what_runs_is_finished_or_unknown_cannot_be_revoked(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("done"), new_job("runs")], NOW)
        transport.settle(holder, [succeed(claim_one(transport, holder))], NOW)
        claim_one(transport, holder)

        assert transport.revoke(["done", "runs", "unknown"], NOW, "not wanted") == [False, False, False]

        assert [read(transport, job_id).state for job_id in ("done", "runs")] == [SUCCESS, STARTED]

    def test_a_revoked_job_is_not_revoked_again(self, transport: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)

        assert transport.revoke(["a", "a"], NOW, "first") == [True, False]
        assert transport.revoke(["a"], NOW, "second") == [False]
        assert read(transport, "a").reason == "first"

    def test_purging_revokes_what_waits_in_those_queues(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("runs", queue="x", priority=1)], NOW)
        claim_one(transport, holder)
        transport.enqueue(
            [new_job("a", queue="x"), new_job("b", queue="x", eta=NOW + 9), new_job("c", queue="y")], NOW
        )

        assert transport.purge([], NOW) == 0
        assert transport.purge(["x", "nowhere"], NOW + 1) == 2

        states = [read(transport, job_id).state for job_id in ("runs", "a", "b", "c")]
        assert states == [STARTED, REVOKED, REVOKED, PENDING]
        assert (read(transport, "a").reason, read(transport, "a").done) == (PURGED, NOW + 1)

    def test_purging_without_names_revokes_all_that_waits(self, transport: Transport) -> None:
        transport.enqueue([new_job("a", queue="x"), new_job("b", queue="y", eta=NOW + 9)], NOW)

        assert transport.purge(None, NOW) == 2
        assert transport.purge(None, NOW) == 0

    def test_a_failed_job_is_put_back_as_it_was_published(self, transport: Transport) -> None:
        holder = register(transport)
        job = new_job("a", queue="q", priority=4, eta=NOW + 1, expires=NOW + 500, options=b"options")
        transport.enqueue([job], NOW)
        transport.settle(holder, [retry(claim_one(transport, holder, NOW + 1), delay=0)], NOW + 1)
        transport.settle(holder, [fail(claim_one(transport, holder, NOW + 1))], NOW + 1)

        assert transport.requeue(["a"], NOW + 20) == [True]

        back = read(transport, "a")
        assert (back.state, back.finished, back.due) == (PENDING, False, NOW + 20)
        assert (back.attempts, back.retries, back.crashes) == (0, 0, 0)
        assert (back.result, back.reason, back.started, back.done) == (None, None, None, None)
        assert (back.payload, back.options, back.expires) == (job.payload, b"options", NOW + 500)
        again = claim_one(transport, holder, NOW + 20)
        assert (again.id, again.payload, again.attempts, again.priority) == ("a", job.payload, 1, 4)

    def test_requeueing_drops_an_expiry_that_has_passed(self, transport: Transport) -> None:
        transport.enqueue([new_job("a", expires=NOW + 5)], NOW)
        transport.sweep(NOW + 5)
        assert read(transport, "a").state == REVOKED

        assert transport.requeue(["a"], NOW + 6) == [True]

        assert read(transport, "a").expires is None
        assert claim_ids(transport, register(transport), NOW + 6) == ["a"]

    def test_only_failed_or_revoked_jobs_are_put_back(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("done"), new_job("runs"), new_job("waits"), new_job("revoked")], NOW)
        transport.settle(holder, [succeed(claim_one(transport, holder))], NOW)
        running = claim_one(transport, holder)
        transport.update_state(running.seq, running.token, FAILURE, None)
        transport.revoke(["revoked"], NOW, "not wanted")

        outcome = transport.requeue(["done", "runs", "waits", "unknown", "revoked", "revoked"], NOW)

        assert outcome == [False, False, False, False, True, False]

    def test_a_finished_job_can_be_forgotten(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        transport.settle(holder, [succeed(claim_one(transport, holder))], NOW)

        assert transport.forget("a") is True

        assert transport.get(["a"]) == [None]
        assert transport.forget("a") is False

    def test_a_forgotten_unfinished_job_runs_and_leaves_no_success(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("runs"), new_job("waits")], NOW)
        running = claim_one(transport, holder)

        assert (transport.forget("runs"), transport.forget("waits")) == (True, True)

        assert read(transport, "runs").ignore_result is True
        transport.settle(holder, [succeed(running)], NOW)
        waited = claim_one(transport, holder)
        assert waited.ignore_result
        transport.settle(holder, [succeed(waited)], NOW)
        assert transport.get(["runs", "waits"]) == [None, None]

    def test_a_forgotten_job_keeps_its_failure(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        transport.forget("a")
        transport.settle(holder, [fail(claim_one(transport, holder))], NOW)

        assert (read(transport, "a").state, read(transport, "a").result) == (FAILURE, ERROR)

    def test_a_result_is_kept_until_its_time_and_no_longer(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a", result_expires=50.0), new_job("b")], NOW)
        transport.settle(
            holder, [succeed(claim, NOW + 1) for claim in _claim_all(transport, holder)], NOW + 1
        )

        assert (transport.sweep(NOW + 50.5), transport.next_sweep()) == (0, NOW + 51)
        assert transport.sweep(NOW + 51) == 1
        assert transport.get(["a"]) == [None]
        assert transport.next_sweep() == NOW + 1 + DEFAULT_RESULT_EXPIRES
        assert transport.sweep(NOW + 1 + DEFAULT_RESULT_EXPIRES) == 1
        assert transport.get(["b"]) == [None]
        assert transport.next_sweep() is None

    def test_a_result_that_is_kept_for_ever_is_never_swept(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a", result_expires=0.0)], NOW)
        transport.settle(holder, [succeed(claim_one(transport, holder))], NOW)

        assert (transport.next_sweep(), transport.sweep(NOW + 1e9)) == (None, 0)
        assert read(transport, "a").state == SUCCESS

    def test_a_sweep_revokes_waiting_jobs_that_have_expired(self, transport: Transport) -> None:
        transport.enqueue([new_job("a", expires=NOW + 5), new_job("b", eta=NOW + 50, expires=NOW + 6)], NOW)

        assert (transport.next_sweep(), transport.sweep(NOW + 4)) == (NOW + 5, 0)
        assert (transport.sweep(NOW + 6), transport.sweep(NOW + 6)) == (2, 0)
        assert (read(transport, "a").state, read(transport, "a").reason) == (REVOKED, EXPIRED)
        assert (read(transport, "b").state, read(transport, "b").done) == (REVOKED, NOW + 6)

    def test_sweeping_in_small_steps_reaches_the_end(self, transport: Transport) -> None:
        transport.enqueue(
            [new_job(str(number), expires=NOW + 1, result_expires=10.0) for number in range(25)], NOW
        )

        for moment in (NOW + 1, NOW + 11):
            steps = 0
            while transport.sweep(moment, limit=10):
                steps += 1
            assert 2 <= steps <= 25
        assert transport.count() == []

    def test_a_fresh_store_needs_no_sweep(self, transport: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)

        assert (transport.next_sweep(), transport.sweep(NOW)) == (None, 0)


def _claim_all(transport: Transport, holder: int) -> list[Claim]:
    return transport.claim(holder, ANY, NOW)
