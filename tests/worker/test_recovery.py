"""Whose jobs are taken over, when, and what becomes of them; a clock turned by hand, on every transport."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from scene import Scene

from liteq.job import WorkerInfo, WorkerRecord
from liteq.states import FAILURE, PENDING, STARTED
from liteq.transports.memory import MemoryTransport


def test_a_worker_that_does_not_renew_loses_its_jobs_two_heartbeats_after_its_lease_ran_out(
    scene: Scene,
) -> None:
    scene.holds(scene.worker())
    assert scene.look_for(100) == 0
    assert scene.look_for(1) == 1
    assert scene.state() == (PENDING, 0)


def test_a_worker_with_a_longer_visibility_timeout_than_the_lookers_own_gets_its_own_time(
    scene: Scene,
) -> None:
    holder = scene.worker(visibility_timeout=600)
    scene.holds(holder)

    def renew() -> None:
        scene.transport.renew([holder], 600, scene.clock.wall())

    scene.clock.step(3600)
    assert scene.look_for(1200, renew, every=200) == 0
    assert scene.state() == (STARTED, 1)
    assert scene.look_for(600 + 400 + 2) == 1


def test_time_in_which_the_looker_slept_with_the_machine_does_not_count(scene: Scene) -> None:
    scene.holds(scene.worker())
    scene.clock.step(3600)
    assert scene.look_for(1) == 0
    # Some systems count such time on the monotonic clock, others do not.
    scene.clock.advance(3600)
    assert scene.recovery.look() == []
    assert scene.look_for(39) == 0
    assert scene.look_for(1) == 1


class LateTransport(MemoryTransport):
    """Lets a suspended worker go on and begin a job just before it is expelled."""

    def __init__(self) -> None:
        super().__init__()
        self.begin: Callable[[], None] = lambda: None

    def expel(self, holder: int, seen_expires: float | None) -> bool:
        self.begin()
        return super().expel(holder, seen_expires)


def test_a_job_that_began_at_the_last_moment_counts_as_begun() -> None:
    transport = LateTransport()
    scene = Scene(transport)
    holder = scene.worker()
    claim = scene.holds(holder, max_crashes=0)
    transport.begin = lambda: transport.slot(holder).begin(claim.seq, claim.token, None)
    assert scene.look_for(101) == 1
    assert scene.state() == (FAILURE, 1)


def test_a_worker_that_renews_at_the_last_moment_keeps_its_jobs() -> None:
    transport = LateTransport()
    scene = Scene(transport)
    holder = scene.worker()
    scene.holds(holder)
    transport.begin = lambda: transport.renew([holder], 60.0, scene.clock.wall())
    assert scene.look_for(130) == 0
    assert scene.state() == (STARTED, 1)


class KilledTransport(MemoryTransport):
    """Can tell that a worker is dead; the supervisor lives, for it is this very process."""

    killed = False

    def workers(self) -> list[WorkerRecord]:
        info = WorkerInfo("worker", "host", 1, os.getpid())
        return [
            replace(record, info=info, alive=False) if self.killed else record for record in super().workers()
        ]


@pytest.mark.parametrize("was_silent", [False, True])
def test_the_supervisor_of_a_dead_worker_gets_a_moment_to_say_whether_the_job_was_to_blame(
    was_silent: bool,
) -> None:
    transport = KilledTransport()
    scene = Scene(transport)
    scene.holds(scene.worker())
    if was_silent:
        assert scene.look_for(65) == 0
    transport.killed = True
    assert [scene.recovery.look(), scene.recovery.look()] == [[], []]
    scene.clock.advance(0.2)
    assert len(scene.recovery.look()) == 1


class UnsureTransport(MemoryTransport):
    """Cannot tell whether a worker lives."""

    def workers(self) -> list[WorkerRecord]:
        return [replace(record, alive=None) for record in super().workers()]


def test_a_worker_of_which_nobody_can_tell_whether_it_lives_is_watched_like_a_living_one() -> None:
    scene = Scene(UnsureTransport())
    scene.holds(scene.worker())
    assert scene.look_for(100) == 0
    assert scene.look_for(1) == 1
