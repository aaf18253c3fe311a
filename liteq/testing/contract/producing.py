"""The contract of storing jobs: what is stored, what is not, and who comes first."""
# ruff: noqa: D102  (the names of the tests are the promises)

from __future__ import annotations

from liteq.job import PRIORITY_MAX, PRIORITY_MIN, ClaimRequest, NewJob, TaskOrigin
from liteq.states import PENDING, STARTED
from liteq.testing.contract.base import (
    ANY,
    NOW,
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

__all__ = ["ProducingContract"]


class ProducingContract(Contract):
    """Enqueueing, and the order in which jobs are claimed."""

    def test_a_stored_job_reads_back_with_every_field(self, transport: Transport) -> None:
        job = NewJob(
            id="a",
            task="add",
            payload=b"\x00\xff payload",
            codec="json",
            queue="häufig",
            priority=7,
            eta=NOW + 10,
            expires=NOW + 100,
            max_crashes=1,
            ignore_result=True,
            options=b"\x00options",
        )

        assert transport.enqueue([job], NOW) == [True]

        stored = read(transport, "a")
        assert {name: getattr(stored, name) for name in job._fields if name != "result_expires"} == {
            name: value for name, value in job._asdict().items() if name != "result_expires"
        }
        assert (stored.state, stored.finished) == (PENDING, False)
        assert (stored.enqueued, stored.due) == (NOW, NOW + 10)
        assert (stored.attempts, stored.retries, stored.crashes) == (0, 0, 0)
        assert (stored.started, stored.done, stored.holder) == (None, None, None)
        assert (stored.result, stored.reason) == (None, None)

    def test_what_one_handle_stored_another_reads(self, transport: Transport, second: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)

        assert read(second, "a")._replace(seq=0) == read(transport, "a")._replace(seq=0)
        assert claim_ids(second, register(second)) == ["a"]
        assert read(transport, "a").state == STARTED

    def test_storing_nothing_changes_nothing(self, transport: Transport) -> None:
        assert transport.enqueue([], NOW) == []
        assert transport.count() == []

    def test_an_id_whose_job_waits_is_not_stored_again(self, transport: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)

        assert transport.enqueue([new_job("a", "mul", priority=9), new_job("b")], NOW + 1) == [False, True]

        assert (read(transport, "a").task, read(transport, "a").priority) == ("add", 0)

    def test_an_id_whose_job_is_delayed_is_not_stored_again(self, transport: Transport) -> None:
        transport.enqueue([new_job("a", eta=NOW + 100)], NOW)

        assert transport.enqueue([new_job("a")], NOW) == [False]
        assert read(transport, "a").due == NOW + 100

    def test_an_id_whose_job_runs_is_not_stored_again(self, transport: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)
        claim = claim_one(transport, register(transport))

        assert transport.enqueue([new_job("a", "mul")], NOW) == [False]
        assert transport.settle(0, [succeed(claim)], NOW) == []

    def test_the_second_of_one_id_in_a_call_is_not_stored(self, transport: Transport) -> None:
        assert transport.enqueue([new_job("a"), new_job("a", "mul")], NOW) == [True, False]
        assert read(transport, "a").task == "add"

    def test_a_finished_job_gives_way_to_a_new_one_of_its_id(self, transport: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)
        holder = register(transport)
        earlier = claim_one(transport, holder)
        transport.settle(holder, [succeed(earlier)], NOW)

        assert transport.enqueue([new_job("a", "mul")], NOW + 1) == [True]

        anew = read(transport, "a")
        assert (anew.task, anew.state, anew.attempts, anew.result) == ("mul", PENDING, 0, None)
        later = claim_one(transport, holder, NOW + 1)
        assert transport.settle(holder, [succeed(earlier)], NOW + 1) == [succeed(earlier)]
        assert transport.settle(holder, [succeed(later)], NOW + 1) == []

    def test_higher_priority_is_claimed_first(self, transport: Transport) -> None:
        for priority in (0, PRIORITY_MAX, -1, PRIORITY_MIN, 1):
            transport.enqueue([new_job(str(priority), priority=priority)], NOW)

        assert claim_ids(transport, register(transport)) == [
            str(priority) for priority in (PRIORITY_MAX, 1, 0, -1, PRIORITY_MIN)
        ]

    def test_equal_priority_is_claimed_by_the_time_of_becoming_ready(self, transport: Transport) -> None:
        transport.enqueue([new_job("second", eta=NOW + 2)], NOW)
        transport.enqueue([new_job("first", eta=NOW + 1)], NOW)
        transport.enqueue([new_job("third")], NOW + 3)

        assert claim_ids(transport, register(transport), NOW + 4) == ["first", "second", "third"]

    def test_equal_priority_and_time_are_claimed_in_the_order_of_storing(self, transport: Transport) -> None:
        names = ["d", "b", "a", "c"]
        transport.enqueue([new_job(name) for name in names], NOW)
        transport.enqueue([new_job("0")], NOW)

        assert claim_ids(transport, register(transport)) == [*names, "0"]

    def test_several_queues_and_tasks_are_claimed_in_one_order(self, transport: Transport) -> None:
        transport.enqueue([new_job("a", queue="x"), new_job("b", "mul", queue="y")], NOW)
        transport.enqueue([new_job("c", "mul", queue="x"), new_job("d", queue="z", priority=1)], NOW + 1)

        assert claim_ids(transport, register(transport), NOW + 1) == ["d", "a", "b", "c"]

    def test_an_eta_in_the_past_takes_no_earlier_place_than_now(self, transport: Transport) -> None:
        transport.enqueue([new_job("a")], NOW)
        transport.enqueue([new_job("b", eta=NOW - 1000)], NOW + 1)

        assert (read(transport, "b").due, read(transport, "b").eta) == (NOW + 1, NOW - 1000)
        assert claim_ids(transport, register(transport), NOW + 1) == ["a", "b"]

    def test_a_delayed_job_is_claimable_from_its_time_on(self, transport: Transport) -> None:
        transport.enqueue([new_job("a", eta=NOW + 10)], NOW)
        holder = register(transport)

        assert claim_ids(transport, holder, NOW + 9.999) == []
        assert claim_ids(transport, holder, NOW + 10) == ["a"]

    def test_a_retry_takes_the_place_of_its_new_time(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a")], NOW)
        transport.settle(holder, [retry(claim_one(transport, holder), delay=5)], NOW)
        transport.enqueue([new_job("b")], NOW + 4)
        transport.enqueue([new_job("c")], NOW + 6)

        assert claim_ids(transport, holder, NOW + 7) == ["b", "a", "c"]

    def test_a_job_handed_back_keeps_its_place(self, transport: Transport) -> None:
        holder = register(transport)
        transport.enqueue([new_job("a"), new_job("b")], NOW)
        transport.settle(holder, [returned(claim_one(transport, holder))], NOW + 3)

        assert claim_ids(transport, holder, NOW + 3) == ["a", "b"]

    def test_a_declared_origin_is_stored_with_the_next_job_of_its_task(
        self, transport: Transport, second: Transport
    ) -> None:
        origin = TaskOrigin("add", module="tasks", root="/srv/app", directory="/srv")
        transport.declare(origin)
        assert second.origins() == []

        transport.enqueue([new_job("a", "mul")], NOW)
        assert second.origins() == []

        transport.enqueue([new_job("b", "add")], NOW)
        assert second.origins() == [origin]

    def test_the_last_declared_origin_of_a_task_counts(self, transport: Transport) -> None:
        earlier = TaskOrigin("add", module="tasks", root="/srv/app", directory="/srv")
        later = TaskOrigin("add", module="app.tasks", root="/srv", directory="/")
        for job_id, origin in (("a", earlier), ("b", later)):
            transport.declare(origin)
            transport.enqueue([new_job(job_id)], NOW)

        assert transport.origins() == [later]

    def test_a_thousand_jobs_in_one_call_are_all_stored_in_order(self, transport: Transport) -> None:
        names = [f"job {number}" for number in range(1000)]

        assert transport.enqueue([new_job(name) for name in names], NOW) == [True] * 1000

        everything = ClaimRequest(ANY.tasks, budget=10_000, limit=2000)
        assert claim_ids(transport, register(transport), NOW, everything) == names
