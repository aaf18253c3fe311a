"""The contract of schedules: each is changed by whoever has seen its last revision, and by nobody else."""
# ruff: noqa: D102  (the names of the tests are the promises)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from liteq.job import NewJob, TaskOrigin
from liteq.schedule_store import REPLACED
from liteq.states import PENDING, REVOKED, STARTED
from liteq.testing.contract.base import (
    NOW,
    PATIENCE,
    Contract,
    claim_ids,
    claim_one,
    new_job,
    read,
    register,
    succeed,
)
from liteq.timetable import Firing, ScheduleRecord
from liteq.transport import Transport

__all__ = ["SchedulingContract"]

TEMPLATE = NewJob(
    "",
    "add",
    b"payload",
    codec="json",
    queue="q",
    priority=3,
    max_crashes=1,
    ignore_result=True,
    result_expires=60.0,
    options=b"options",
)


def new_schedule(name: str, **fields: Any) -> ScheduleRecord:
    """Return a schedule that was not stored yet."""
    values = {"task": "add", "spec": "a spec", "policy": "a policy", "job": TEMPLATE, "next_run": NOW}
    return ScheduleRecord(name=name, **{**values, **fields})


def stored(transport: Transport, name: str) -> ScheduleRecord:
    """Read a schedule, which has to be there."""
    (record,) = transport.schedules([name])
    return record


def tick(transport: Transport, name: str, *jobs: NewJob, **changes: Any) -> Firing:
    """Return a firing of a stored schedule, as a scheduler that looks now decides it."""
    return Firing(replace(stored(transport, name), **changes), jobs)


class SchedulingContract(Contract):
    """Keeping schedules, and firing their ticks."""

    # ---- keeping ---------------------------------------------------------------------------------

    def test_a_schedule_is_read_as_it_was_saved(self, transport: Transport, second: Transport) -> None:
        whole = new_schedule(
            "nächtlich",
            next_run=NOW + 0.1,
            last_run=NOW - 0.1,
            runs=7,
            last_job="the last",
            paused=True,
            broken="Why it cannot run.",
            module="proj.tasks",
            declaration="a digest",
            created=NOW - 3600,
        )
        bare = new_schedule("bare", job=None, next_run=None)
        assert transport.save_schedules([whole, bare]) == [True, True]
        assert second.schedules() == [replace(bare, revision=1), replace(whole, revision=1)]

    def test_schedules_are_listed_by_name(self, transport: Transport) -> None:
        transport.save_schedules([new_schedule(name) for name in ("b", "c", "a")])
        assert [record.name for record in transport.schedules()] == ["a", "b", "c"]
        assert [record.name for record in transport.schedules(["c", "nobody", "a"])] == ["a", "c"]
        assert transport.schedules([]) == []

    def test_a_name_is_taken_once(self, transport: Transport, second: Transport) -> None:
        assert transport.save_schedules([new_schedule("a", spec="first")]) == [True]
        assert second.save_schedules([new_schedule("a", spec="second"), new_schedule("b")]) == [False, True]
        assert stored(transport, "a").spec == "first"

    def test_who_has_not_seen_the_last_change_changes_nothing(
        self, transport: Transport, second: Transport
    ) -> None:
        transport.save_schedules([new_schedule("a")])
        seen = stored(transport, "a")
        assert second.save_schedules([replace(seen, spec="theirs")]) == [True]
        assert transport.save_schedules([replace(seen, spec="ours")]) == [False]
        assert stored(transport, "a") == replace(seen, spec="theirs", revision=2)

    def test_every_field_can_be_changed_and_emptied(self, transport: Transport) -> None:
        transport.save_schedules([new_schedule("a", module="m", last_job="j", broken="b", paused=True)])
        changed = replace(
            new_schedule("a", task="mul", spec="s", policy="p", job=None, next_run=None), revision=1
        )
        assert transport.save_schedules([changed]) == [True]
        assert stored(transport, "a") == replace(changed, revision=2)

    def test_removing_tells_what_was_there(self, transport: Transport, second: Transport) -> None:
        transport.save_schedules([new_schedule("a"), new_schedule("b")])
        assert second.remove_schedules(["a", "nobody"]) == [True, False]
        assert [record.name for record in transport.schedules()] == ["b"]

    def test_who_has_not_seen_the_last_change_removes_nothing(
        self, transport: Transport, second: Transport
    ) -> None:
        transport.save_schedules([new_schedule("a"), new_schedule("b"), new_schedule("c")])
        second.save_schedules([replace(stored(second, "b"), spec="theirs")])
        assert transport.remove_schedules(["a", "b", "nobody"], [1, 1, 1]) == [True, False, False]
        assert [record.name for record in transport.schedules()] == ["b", "c"]
        assert transport.remove_schedules(["b", "b"], [2, 2]) == [True, False]

    def test_a_removed_name_can_be_saved_again_and_an_old_view_of_it_cannot(
        self, transport: Transport
    ) -> None:
        transport.save_schedules([new_schedule("a")])
        seen = stored(transport, "a")
        transport.remove_schedules(["a"])
        assert transport.save_schedules([seen]) == [False]
        assert transport.save_schedules([new_schedule("a")]) == [True]

    def test_where_a_task_lives_is_stored_with_its_schedule(
        self, transport: Transport, second: Transport
    ) -> None:
        origins = [TaskOrigin(task, "shop", "/root", "/root/run") for task in ("add", "mul")]
        for origin in origins:
            transport.declare(origin)
        broken = new_schedule("b", task="mul", job=None, broken="why")
        transport.save_schedules([new_schedule("a"), broken])
        assert second.origins() == origins[:1]

    # ---- what is due -----------------------------------------------------------------------------

    def test_the_next_tick_is_the_earliest(self, transport: Transport) -> None:
        assert transport.next_tick() is None
        transport.save_schedules([new_schedule("a", next_run=NOW + 5), new_schedule("b", next_run=NOW + 2)])
        assert transport.next_tick() == NOW + 2

    def test_due_are_those_whose_moment_has_come_the_earliest_first(self, transport: Transport) -> None:
        transport.save_schedules(
            [new_schedule(name, next_run=NOW + shift) for name, shift in (("a", 0), ("b", -5), ("c", 0.001))]
        )
        assert [record.name for record in transport.due_schedules(NOW)] == ["b", "a"]
        assert [record.name for record in transport.due_schedules(NOW, limit=1)] == ["b"]

    @pytest.mark.parametrize("fields", [{"paused": True}, {"broken": "why"}, {"next_run": None}])
    def test_the_paused_the_broken_and_the_finished_are_never_due(
        self, transport: Transport, fields: dict[str, Any]
    ) -> None:
        transport.save_schedules([new_schedule("a", **fields)])
        assert transport.next_tick() is None
        assert transport.due_schedules(NOW + 1e6) == []

    # ---- firing ----------------------------------------------------------------------------------

    def test_a_tick_stores_its_jobs_and_moves_its_schedule_on(
        self, transport: Transport, second: Transport
    ) -> None:
        transport.save_schedules([new_schedule("a")])
        job = TEMPLATE._replace(id="the tick", eta=NOW + 5, expires=NOW + 9)
        firing = tick(
            transport, "a", job, spec="s", next_run=NOW + 10, last_run=NOW, runs=1, last_job="the tick"
        )
        assert transport.fire([firing], NOW) == [True]
        assert second.schedules() == [replace(firing.schedule, revision=2)]
        found = read(second, "the tick")
        assert (found.task, found.queue, found.priority, found.max_crashes) == ("add", "q", 3, 1)
        assert (found.codec, found.payload, found.options) == ("json", b"payload", b"options")
        assert (found.eta, found.due, found.expires, found.ignore_result) == (NOW + 5, NOW + 5, NOW + 9, True)

    def test_a_tick_is_fired_once_whoever_fires_it(self, transport: Transport, second: Transport) -> None:
        transport.save_schedules([new_schedule("a")])
        ours = tick(transport, "a", new_job("ours"), next_run=NOW + 10)
        theirs = tick(second, "a", new_job("theirs"), next_run=NOW + 10)
        assert second.fire([theirs], NOW) == [True]
        assert transport.fire([ours], NOW) == [False]
        assert transport.get(["ours"]) == [None]
        assert transport.fire([theirs, theirs], NOW) == [False, False]

    def test_of_several_firings_each_stands_for_itself(self, transport: Transport) -> None:
        transport.save_schedules([new_schedule("a"), new_schedule("b")])
        stale = tick(transport, "a", new_job("stale"))
        transport.save_schedules([replace(stored(transport, "a"), paused=True)])
        fresh = tick(transport, "b", new_job("fresh-1"), new_job("fresh-2"), next_run=None)
        assert transport.fire([stale, fresh], NOW) == [False, True]
        ids = [job and job.id for job in transport.get(["stale", "fresh-1", "fresh-2"])]
        assert ids == [None, "fresh-1", "fresh-2"]

    def test_firing_changes_nothing_that_people_set(self, transport: Transport) -> None:
        transport.save_schedules([new_schedule("a", module="m", declaration="d", created=5.0)])
        before = stored(transport, "a")
        firing = tick(transport, "a", policy="other", module="other", paused=True, task="other", runs=3)
        assert transport.fire([firing], NOW) == [True]
        assert stored(transport, "a") == replace(before, runs=3, revision=2)

    def test_a_removed_schedule_fires_no_more(self, transport: Transport) -> None:
        transport.save_schedules([new_schedule("a")])
        firing = tick(transport, "a", new_job("late"))
        transport.remove_schedules(["a"])
        assert transport.fire([firing], NOW) == [False]
        assert transport.get(["late"]) == [None]

    def test_an_earlier_run_that_waits_gives_way(self, transport: Transport) -> None:
        transport.save_schedules([new_schedule("a", last_job="old")])
        transport.enqueue([new_job("old"), new_job("delayed", eta=NOW + 60)], NOW)
        firing = tick(transport, "a", new_job("new"))._replace(revoked=("old", "delayed", "nobody"))
        assert transport.fire([firing], NOW) == [True]
        for job_id in ("old", "delayed"):
            job = read(transport, job_id)
            assert (job.state, job.reason, job.finished) == (REVOKED, REPLACED, True)
        assert claim_ids(transport, register(transport)) == ["new"]

    def test_an_earlier_run_that_runs_or_has_ended_is_left_alone(self, transport: Transport) -> None:
        holder = register(transport)
        transport.save_schedules([new_schedule("a")])
        transport.enqueue([new_job("ended"), new_job("runs")], NOW)
        ended = claim_one(transport, holder)
        transport.settle(holder, [succeed(ended)], NOW)
        claim_one(transport, holder)
        firing = tick(transport, "a", new_job("new"))._replace(revoked=("ended", "runs"))
        assert transport.fire([firing], NOW) == [True]
        assert read(transport, "ended").state == "SUCCESS"
        assert read(transport, "runs").state == STARTED
        assert read(transport, "new").state == PENDING

    def test_a_refused_firing_revokes_nothing(self, transport: Transport) -> None:
        transport.save_schedules([new_schedule("a")])
        transport.enqueue([new_job("old")], NOW)
        firing = Firing(new_schedule("a", revision=7), (new_job("new"),), ("old",))
        assert transport.fire([firing], NOW) == [False]
        assert read(transport, "old").state == PENDING

    def test_firing_nothing_is_no_error(self, transport: Transport) -> None:
        assert transport.fire([], NOW) == []
        assert transport.save_schedules([]) == []
        assert transport.remove_schedules([]) == []

    # ---- waking and leading ----------------------------------------------------------------------

    def test_saving_and_removing_wake_the_schedulers(self, transport: Transport, second: Transport) -> None:
        _wakes(transport, lambda: second.save_schedules([new_schedule("a")]))
        _wakes(transport, lambda: second.remove_schedules(["a"]))

    def test_a_tick_wakes_the_workers(self, transport: Transport, second: Transport) -> None:
        transport.save_schedules([new_schedule("a")])
        listener = transport.listen_for_jobs()
        listener.arm()
        second.fire([tick(second, "a", new_job("new"))], NOW)
        assert listener.wait(PATIENCE) is True
        listener.close()

    def test_a_run_that_gives_way_wakes_those_who_wait_for_it(self, transport: Transport) -> None:
        transport.save_schedules([new_schedule("a")])
        transport.enqueue([new_job("old")], NOW)
        listener = transport.listen_for_result("old")
        listener.arm()
        transport.fire([tick(transport, "a")._replace(revoked=("old",))], NOW)
        assert listener.wait(PATIENCE) is True
        listener.close()

    def test_each_office_has_a_holder_of_its_own(self, transport: Transport, second: Transport) -> None:
        with transport.lead("scheduler") as first, second.lead("scheduler") as other, second.lead() as upkeep:
            assert (first, other, upkeep) == (True, False, True)
        with second.lead("scheduler") as later:
            assert later is True


def _wakes(transport: Transport, act: Callable[[], object]) -> None:
    listener = transport.listen_for_schedules()
    listener.arm()
    act()
    assert listener.wait(PATIENCE) is True
    listener.close()
