"""Moving: what a store gives away and takes in, and what it refuses while it is closed."""
# ruff: noqa: D102  (the names of the tests are the promises)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from liteq.errors import MoveRefusedError, StoreMovedError
from liteq.job import ClaimRequest, Job, JobFilter, TaskOrigin
from liteq.moving import StoredJob
from liteq.states import FAILURE, PENDING, RETRY
from liteq.testing.contract.base import (
    ANY,
    NOW,
    PATIENCE,
    Contract,
    claim_ids,
    claim_one,
    fail,
    new_job,
    read,
    register,
    retry,
    succeed,
)
from liteq.timetable import Firing, ScheduleRecord
from liteq.transport import Transport
from liteq.transports.memory import MemoryTransport

__all__ = ["MovingContract"]

MOVE = "the move"
ORIGIN = TaskOrigin("add", "shop", "/srv", "/srv/here")
SCHEDULE = ScheduleRecord(
    name="nightly",
    task="add",
    spec="a spec",
    policy="a policy",
    job=new_job("")._replace(priority=2, options=b"o", result_expires=5.0),
    next_run=NOW + 60,
    last_run=NOW - 60,
    runs=7,
    last_job="one",
    paused=True,
    module="shop",
    declaration="a digest",
    created=NOW - 1000,
)

CHANGES: list[Callable[[Transport], object]] = [
    lambda store: store.enqueue([new_job("late")], NOW),
    lambda store: register(store),
    lambda store: store.turn(1, NOW, (), ANY),
    lambda store: store.revoke(["waiting"], NOW, "not wanted"),
    lambda store: store.purge(None, NOW),
    lambda store: store.requeue(["failed"], NOW),
    lambda store: store.forget("failed"),
    lambda store: store.sweep(NOW + 10**6),
    lambda store: store.save_schedules([replace(SCHEDULE, name="other")]),
    lambda store: store.remove_schedules(["nightly"]),
    lambda store: store.fire([Firing(SCHEDULE, (new_job("ticked"),))], NOW),
    lambda store: store.adopt("another move", None, b"1", (), [replace(SCHEDULE, name="other")]),
    lambda store: store.adopt("another move", None, b"1", (), (), [ORIGIN]),
]
"""Everything that would change what a store keeps."""


def told(job: Job) -> Job:
    """Return what has to be the same in another store."""
    return job._replace(seq=0)


def fill(store: Transport) -> None:
    """Bring a store into a state in which every kind of job is there."""
    store.declare(ORIGIN)
    holder = register(store)
    details: dict[str, Any] = {
        "codec": "json",
        "max_crashes": 1,
        "options": b"options",
        "result_expires": 0.0,
    }
    store.enqueue([new_job("done", **details), new_job("failed"), new_job("again")], NOW)
    for settle in (succeed, fail, retry):
        store.settle(holder, [settle(claim_one(store, holder), NOW + 1)], NOW + 1)
    store.enqueue(
        [
            new_job("waiting"),
            new_job("important", priority=7, ignore_result=True, queue="x"),
            new_job("delayed", task="mul", eta=NOW + 100, expires=NOW + 200),
            new_job("revoked"),
            new_job("large")._replace(payload=bytes(100_000)),
        ],
        NOW + 2,
    )
    store.revoke(["revoked"], NOW + 3, "not wanted")
    store.save_schedules([SCHEDULE])
    store.unregister(holder)


class MovingContract(Contract):
    """What goes from one store to another is the same there, and goes once."""

    def test_what_is_exported_and_adopted_is_the_same_in_the_other_store(self, transport: Transport) -> None:
        with MemoryTransport() as elsewhere, MemoryTransport() as back:
            fill(elsewhere)
            assert transport.adopt(
                MOVE, None, b"1", elsewhere.export(None, 100), elsewhere.schedules(), elsewhere.origins()
            )
            assert back.adopt(
                MOVE, None, b"1", transport.export(None, 100), transport.schedules(), transport.origins()
            )
            for store in (transport, back):
                everything = [told(job) for job in store.find(JobFilter())]
                assert everything == [told(job) for job in elsewhere.find(JobFilter())]
                assert store.count() == elsewhere.count()
                assert store.schedules() == elsewhere.schedules()
                assert store.origins() == [ORIGIN]
                assert store.next_sweep() == elsewhere.next_sweep()

    def test_what_was_adopted_is_claimed_in_the_order_it_had(self, transport: Transport) -> None:
        with MemoryTransport() as elsewhere:
            fill(elsewhere)
            transport.enqueue([new_job("here before"), new_job("and more urgent", priority=9)], NOW + 2)
            transport.adopt(MOVE, None, b"1", elsewhere.export(None, 100))
            order = claim_ids(transport, register(transport), NOW + 10)
        assert order == ["and more urgent", "important", "here before", "waiting", "large", "again"]

    def test_an_adopted_job_is_worked_on_as_if_it_had_always_been_here(self, transport: Transport) -> None:
        with MemoryTransport() as elsewhere:
            fill(elsewhere)
            transport.adopt(MOVE, None, b"1", elsewhere.export(None, 100))
        holder = register(transport)
        transport.purge(["x"], NOW + 3)
        claims = {claim.id: claim for claim in transport.claim(holder, ANY, NOW + 10)}
        assert (claims["again"].attempts, claims["again"].retries) == (2, 1)
        assert claims["large"].payload == bytes(100_000)
        transport.settle(holder, [succeed(claims["waiting"], NOW + 11)], NOW + 11)
        assert read(transport, "waiting").result == b"the result"
        assert transport.requeue(["failed", "done"], NOW + 12) == [True, False]
        assert transport.sweep(NOW + 250) == 1, "the delayed job was to expire"
        assert transport.next_due(ANY) == 0.0

    def test_jobs_are_exported_in_the_order_in_which_they_were_stored(self, transport: Transport) -> None:
        transport.enqueue([new_job(name, priority=index) for index, name in enumerate("cab")], NOW)
        first = transport.export(None, 2)
        assert [job.id for job in first] == ["c", "a"]
        rest = transport.export(first[-1].seq, 2)
        assert [job.id for job in rest] == ["b"]
        assert transport.export(rest[-1].seq, 2) == []

    def test_a_batch_of_large_jobs_is_smaller(self, transport: Transport) -> None:
        large = bytes(3 << 20)
        transport.enqueue([new_job(name)._replace(payload=large) for name in "abc"], NOW)
        first = transport.export(None, 100)
        assert [job.id for job in first] == ["a"]
        assert [job.id for job in transport.export(first[-1].seq, 100)] == ["b"]

    def test_a_batch_is_adopted_once(self, transport: Transport) -> None:
        with MemoryTransport() as elsewhere:
            elsewhere.enqueue([new_job("one", ignore_result=True), new_job("two")], NOW)
            jobs = elsewhere.export(None, 100)
        assert transport.move_progress(MOVE) is None
        assert transport.adopt(MOVE, None, b"\0 first", jobs[:1])
        assert transport.move_progress(MOVE) == b"\0 first"
        holder = register(transport)
        transport.settle(holder, [succeed(claim_one(transport, holder))], NOW)
        assert transport.find(JobFilter()) == [], "the job was to leave no record"

        assert not transport.adopt(MOVE, None, b"again", jobs[:1], [SCHEDULE], [ORIGIN])
        assert not transport.adopt(MOVE, b"another", b"again", jobs[:1])
        assert transport.find(JobFilter()) == []
        assert transport.schedules() == []
        assert transport.origins() == []

        assert transport.adopt(MOVE, b"\0 first", b"second", jobs[1:])
        assert transport.adopt("another move", None, b"1")
        assert transport.move_progress(MOVE) == b"second"
        assert claim_ids(transport, holder) == ["two"]

    @pytest.mark.parametrize("settle", [None, succeed])
    def test_a_job_whose_id_is_in_use_is_refused_with_its_batch(
        self, transport: Transport, settle: Callable[..., object] | None
    ) -> None:
        transport.enqueue([new_job("taken")], NOW)
        if settle is not None:
            holder = register(transport)
            transport.settle(holder, [succeed(claim_one(transport, holder))], NOW)
        before = transport.find(JobFilter())
        with MemoryTransport() as elsewhere:
            elsewhere.enqueue([new_job("free"), new_job("taken", priority=3)], NOW)
            with pytest.raises(MoveRefusedError, match=r"1 of the jobs \(taken\)"):
                transport.adopt(MOVE, None, b"1", elsewhere.export(None, 100), [SCHEDULE])
        assert transport.find(JobFilter()) == before
        assert transport.schedules() == []
        assert transport.move_progress(MOVE) is None

    def test_a_schedule_whose_name_is_in_use_is_refused_with_its_batch(self, transport: Transport) -> None:
        transport.save_schedules([replace(SCHEDULE, spec="another spec")])
        before = transport.schedules()
        with MemoryTransport() as elsewhere:
            elsewhere.enqueue([new_job("free")], NOW)
            with pytest.raises(MoveRefusedError, match=r"1 of the schedules \(nightly\)"):
                transport.adopt(MOVE, None, b"1", elsewhere.export(None, 100), [SCHEDULE])
        assert transport.schedules() == before
        assert transport.find(JobFilter()) == []

    def test_an_adopted_schedule_goes_on(self, transport: Transport) -> None:
        record = replace(SCHEDULE, paused=False, revision=4)
        transport.adopt(MOVE, None, b"1", (), [record])
        assert transport.due_schedules(NOW + 60) == [record]
        later = replace(record, next_run=NOW + 120, runs=8)
        assert transport.fire([Firing(later, (new_job("ticked"),))], NOW + 60) == [True]
        assert transport.next_tick() == NOW + 120

    def test_the_origin_of_a_task_that_is_known_here_stays(self, transport: Transport) -> None:
        transport.declare(ORIGIN)
        transport.enqueue([new_job("one")], NOW)
        other = TaskOrigin("mul", "shop", "/srv", "/srv/here")
        transport.adopt(MOVE, None, b"1", (), (), [replace(ORIGIN, module="elsewhere"), other])
        assert sorted(transport.origins(), key=lambda origin: origin.task) == [ORIGIN, other]

    def test_adopting_wakes_who_waits_for_it(self, transport: Transport, second: Transport) -> None:
        with MemoryTransport() as elsewhere:
            fill(elsewhere)
            jobs = elsewhere.export(None, 100)
        listeners = (
            transport.listen_for_jobs(["x"]),
            transport.listen_for_result("failed"),
            transport.listen_for_schedules(),
        )
        try:
            for listener in listeners:
                listener.arm()
            second.adopt(MOVE, None, b"1", jobs, [SCHEDULE])
            assert [listener.wait(PATIENCE) for listener in listeners] == [True, True, True]
        finally:
            for listener in listeners:
                listener.close()

    # ---- the source ------------------------------------------------------------------------------

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_closed_store_refuses_what_would_change_it(
        self, transport: Transport, second: Transport, change: Callable[[Transport], object]
    ) -> None:
        fill(transport)
        assert transport.moving() is None
        mark = transport.begin_move(MOVE, "elsewhere.db", NOW + 5)
        assert (mark.id, mark.target, mark.began, mark.ended) == (MOVE, "elsewhere.db", NOW + 5, None)
        before = (transport.find(JobFilter()), transport.schedules())
        for store in (transport, second):
            assert store.moving() == mark
            with pytest.raises(StoreMovedError, match=r"is being moved to elsewhere\.db"):
                change(store)
        assert (transport.find(JobFilter()), transport.schedules()) == before

        assert transport.reopen(MOVE)
        assert transport.moving() is None
        change(second)

    def test_a_closed_store_notes_how_far_a_move_to_it_has_come(
        self, transport: Transport, second: Transport
    ) -> None:
        mark = transport.begin_move(MOVE, "elsewhere.db", NOW)
        assert second.adopt("another move", None, b"1")
        assert not second.adopt("another move", None, b"2")
        assert transport.move_progress("another move") == b"1"
        assert transport.moving() == mark

    def test_a_closed_store_answers_for_finished_jobs_only(
        self, transport: Transport, second: Transport
    ) -> None:
        fill(transport)
        transport.begin_move(MOVE, "elsewhere.db", NOW)
        assert read(second, "failed").state == FAILURE
        for job_id in ("waiting", "nobody knows this"):
            with pytest.raises(StoreMovedError, match=r"elsewhere\.db"):
                second.get([job_id])

    def test_whoever_sleeps_until_there_is_something_to_do_is_told_that_it_will_be_elsewhere(
        self, transport: Transport, second: Transport
    ) -> None:
        assert second.next_due(ANY) is None
        assert second.next_tick() is None
        transport.begin_move(MOVE, "elsewhere.db", NOW)
        with pytest.raises(StoreMovedError, match=r"elsewhere\.db"):
            second.next_due(ANY)
        with pytest.raises(StoreMovedError, match=r"elsewhere\.db"):
            second.next_tick()

    def test_where_a_store_was_moved_is_found_by_who_looks_for_trouble(self, transport: Transport) -> None:
        def found() -> list[str]:
            return [each.detail for each in transport.diagnose(NOW) if each.check == "move" and not each.ok]

        assert found() == []
        transport.begin_move(MOVE, "elsewhere.db", NOW)
        assert found() == ["closed: it is being moved to elsewhere.db"]
        transport.end_move(MOVE, NOW)
        assert found() == ["closed: it was moved to elsewhere.db"]

    def test_a_store_with_a_worker_is_not_closed(self, transport: Transport) -> None:
        holder = register(transport)
        with pytest.raises(MoveRefusedError, match=r"worker \(pid 100 on host\)"):
            transport.begin_move(MOVE, "elsewhere.db", NOW)
        assert transport.moving() is None
        assert transport.enqueue([new_job("one")], NOW) == [True]
        transport.unregister(holder)
        transport.begin_move(MOVE, "elsewhere.db", NOW)

    def test_a_store_with_a_leased_job_is_not_closed(self, transport: Transport) -> None:
        transport.enqueue([new_job("one")], NOW)
        holder = register(transport)
        claim = claim_one(transport, holder)
        transport.expel(holder, None)
        with pytest.raises(MoveRefusedError, match="holds 1 job"):
            transport.begin_move(MOVE, "elsewhere.db", NOW)
        assert transport.settle(holder, [retry(claim)], NOW) == []
        transport.begin_move(MOVE, "elsewhere.db", NOW)
        assert [job.state for job in transport.export(None, 10)] == [RETRY]

    def test_a_leased_job_is_not_exported(self, transport: Transport) -> None:
        transport.enqueue([new_job("held"), new_job("free")], NOW)
        claim_one(transport, register(transport))
        assert [job.id for job in transport.export(None, 10)] == ["free"]

    def test_the_mark_of_a_closed_store_stays_as_it_is(self, transport: Transport) -> None:
        mark = transport.begin_move(MOVE, "elsewhere.db", NOW)
        assert transport.begin_move("another", "farther.db", NOW + 1) == mark
        assert not transport.reopen("another")
        assert not transport.end_move("another", NOW)
        assert transport.moving() == mark
        assert transport.end_move(MOVE, NOW + 9)
        assert transport.end_move(MOVE, NOW + 10)
        assert transport.moving() == mark._replace(ended=NOW + 9)

    def test_a_store_keeps_everything_until_the_move_has_ended(self, transport: Transport) -> None:
        fill(transport)
        before = transport.find(JobFilter())
        transport.begin_move(MOVE, "elsewhere.db", NOW)
        assert transport.discard_moved(MOVE, 100) == 0
        assert transport.find(JobFilter()) == before
        transport.end_move(MOVE, NOW)
        assert transport.discard_moved("another", 100) == 0
        went = 0
        while gone := transport.discard_moved(MOVE, 3):
            went += gone
        assert went == len(before) + 1
        assert transport.count() == []
        assert transport.schedules() == []
        with pytest.raises(StoreMovedError, match=r"was moved to elsewhere\.db"):
            transport.get(["failed"])

    def test_a_store_that_was_emptied_and_reopened_is_as_good_as_new(self, transport: Transport) -> None:
        fill(transport)
        jobs: list[StoredJob] = transport.export(None, 100)
        transport.begin_move(MOVE, "elsewhere.db", NOW)
        transport.end_move(MOVE, NOW)
        while transport.discard_moved(MOVE, 100):
            pass
        transport.reopen(MOVE)
        assert transport.next_due(ClaimRequest({"add": 1})) is None
        assert transport.next_sweep() is None
        assert transport.next_tick() is None
        assert transport.enqueue([new_job("waiting")], NOW) == [True]
        assert read(transport, "waiting").state == PENDING
        transport.purge(None, NOW)
        transport.forget("waiting")
        assert transport.adopt("back", None, b"1", jobs)
        assert [job.id for job in transport.export(None, 100)] == [job.id for job in jobs]
