"""The contract of reading and of the store itself."""
# ruff: noqa: D102  (the names of the tests are the promises)

from __future__ import annotations

from liteq.job import ClaimRequest, Finding, JobFilter, LaneCount
from liteq.states import FAILURE, PENDING, RETRY, STARTED, SUCCESS
from liteq.testing.contract.base import (
    ANY,
    NOW,
    Contract,
    claim_one,
    fail,
    new_job,
    read,
    register,
    retry,
    succeed,
)
from liteq.transport import Transport

__all__ = ["ReadingContract"]


class ReadingContract(Contract):
    """Reading by id and by filter, counting, looking ahead, leading, and the doctor."""

    def test_jobs_are_read_in_the_order_asked(self, transport: Transport) -> None:
        transport.enqueue([new_job("a"), new_job("b")], NOW)

        found = transport.get(["b", "unknown", "a", "b"])

        assert [job and job.id for job in found] == ["b", None, "a", "b"]
        assert transport.get([]) == []

    def test_many_jobs_can_be_read_at_once(self, transport: Transport) -> None:
        names = [f"job {number}" for number in range(1500)]
        transport.enqueue([new_job(name) for name in names], NOW)

        assert [job and job.id for job in transport.get(names)] == names

    def test_jobs_are_found_newest_first_up_to_the_limit(self, transport: Transport) -> None:
        transport.enqueue([new_job("a"), new_job("b")], NOW)
        transport.enqueue([new_job("c", priority=9)], NOW)

        assert _found(transport, JobFilter()) == ["c", "b", "a"]
        assert _found(transport, JobFilter(limit=2)) == ["c", "b"]

    def test_jobs_are_found_by_state_task_and_queue(self, transport: Transport) -> None:
        self._store_one_of_each(transport)

        assert _found(transport, JobFilter(states=[SUCCESS, FAILURE])) == ["failed", "done"]
        assert _found(transport, JobFilter(states=[STARTED])) == ["runs"]
        assert _found(transport, JobFilter(tasks=["mul"])) == ["delayed"]
        assert _found(transport, JobFilter(queues=["x", "nowhere"])) == ["delayed", "done"]
        assert _found(transport, JobFilter(queues=["x"], states=[PENDING])) == ["delayed"]
        assert _found(transport, JobFilter(states=["NEVER"])) == []
        assert _found(transport, JobFilter(tasks=[])) == []

    def test_jobs_are_found_by_when_they_finished(self, transport: Transport) -> None:
        self._store_one_of_each(transport)

        assert _found(transport, JobFilter(done_since=NOW)) == ["failed", "done"]
        assert _found(transport, JobFilter(done_since=NOW + 2)) == ["failed"]
        assert _found(transport, JobFilter(done_since=NOW + 2.5)) == []

    def test_jobs_are_counted_by_queue_task_state_and_station(self, transport: Transport) -> None:
        self._store_one_of_each(transport)

        assert sorted(transport.count()) == [
            LaneCount("default", "add", FAILURE, "finished", 1),
            LaneCount("default", "add", PENDING, "ready", 2),
            LaneCount("default", "add", RETRY, "delayed", 1),
            LaneCount("default", "add", STARTED, "leased", 1),
            LaneCount("x", "add", SUCCESS, "finished", 1),
            LaneCount("x", "mul", PENDING, "delayed", 1),
        ]

    def _store_one_of_each(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("done", queue="x")], NOW)
        transport.settle(holder, [succeed(claim_one(transport, holder), NOW + 1)], NOW + 1)
        transport.enqueue([new_job("failed")], NOW)
        transport.settle(holder, [fail(claim_one(transport, holder), NOW + 2)], NOW + 2)
        transport.enqueue([new_job("retried")], NOW)
        transport.settle(holder, [retry(claim_one(transport, holder), NOW + 2, delay=100)], NOW + 2)
        transport.enqueue([new_job("runs")], NOW)
        claim_one(transport, holder, NOW + 2)
        transport.enqueue(
            [new_job("delayed", "mul", queue="x", eta=NOW + 50), new_job("a"), new_job("b")], NOW + 2
        )

    def test_an_empty_store_has_nothing(self, transport: Transport) -> None:
        assert (transport.count(), transport.find(JobFilter()), transport.workers()) == ([], [], [])
        assert (transport.get(["a"]), transport.next_due(ANY), transport.next_sweep()) == ([None], None, None)

    def test_next_due_is_zero_while_something_is_ready(self, transport: Transport) -> None:
        transport.enqueue([new_job("a"), new_job("b", eta=NOW + 5)], NOW)

        assert transport.next_due(ANY) == 0.0

    def test_next_due_is_the_earliest_time_of_a_delayed_job(self, transport: Transport) -> None:
        transport.enqueue([new_job("a", eta=NOW + 9), new_job("b", eta=NOW + 5)], NOW)
        assert transport.next_due(ANY) == NOW + 5

        holder = register(transport)
        transport.settle(holder, [retry(claim_one(transport, holder, NOW + 5), NOW + 5, delay=2)], NOW + 5)
        assert transport.next_due(ANY) == NOW + 7

    def test_next_due_leaves_out_ready_jobs_that_the_request_does_not_want(
        self, transport: Transport
    ) -> None:
        transport.enqueue([new_job("a", queue="x"), new_job("b", "unknown")], NOW)

        assert transport.next_due(ClaimRequest({"add": 1}, queues=["y"])) is None
        assert transport.next_due(ClaimRequest({"mul": 1})) is None
        assert transport.next_due(ClaimRequest({"mul": 1, "unknown": 1})) == 0.0

    def test_what_runs_or_is_finished_is_not_due(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(transport, holder)
        assert transport.next_due(ANY) is None

        transport.settle(holder, [succeed(claim)], NOW)
        assert transport.next_due(ANY) is None

    def test_one_leads_at_a_time(self, transport: Transport, second: Transport) -> None:
        with transport.lead() as first:
            with second.lead() as other:
                assert (first, other) == (True, False)
            with second.lead() as other:
                assert other is False
        with second.lead() as other:
            assert other is True

    def test_leading_ends_with_its_block_whatever_happens_in_it(self, transport: Transport) -> None:
        class Stumble(Exception):
            pass

        try:
            with transport.lead() as leads:
                assert leads is True
                raise Stumble
        except Stumble:
            pass

        with transport.lead() as leads:
            assert leads is True

    def test_upkeep_changes_no_job(self, transport: Transport) -> None:
        self._store_one_of_each(transport)
        before = transport.find(JobFilter())

        with transport.lead():
            transport.tend(NOW + 1e6)

        assert transport.find(JobFilter()) == before

    def test_the_doctor_finds_a_fresh_store_well(self, transport: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)

        findings = transport.diagnose(NOW)

        assert findings
        assert all(isinstance(finding, Finding) and finding.check and finding.detail for finding in findings)

    def test_a_transport_describes_itself_in_pairs_of_words(self, transport: Transport) -> None:
        pairs = transport.describe()

        assert pairs
        assert all(isinstance(name, str) and isinstance(value, str) for name, value in pairs)
        assert transport.url
        assert transport.crosses_processes in (True, False)

    def test_closing_twice_is_no_error(self, transport: Transport) -> None:
        transport.close()
        transport.close()

    def test_another_handle_sees_everything(self, transport: Transport, second: Transport) -> None:
        self._store_one_of_each(transport)

        assert second.find(JobFilter()) == transport.find(JobFilter())
        assert sorted(second.count()) == sorted(transport.count())
        assert read(second, "runs").holder == transport.workers()[0].holder


def _found(transport: Transport, which: JobFilter) -> list[str]:
    return [job.id for job in transport.find(which)]
