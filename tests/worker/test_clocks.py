"""What a clock that is set, or a machine that sleeps, does to leases and to times: as little as can be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scene import ANY, Scene

from liteq import Queue
from liteq.errors import ResultExpired
from liteq.job import ClaimRequest, NewJob, WorkerInfo
from liteq.states import PENDING, RETRY, REVOKED, STARTED, SUCCESS
from liteq.testing import ManualClock
from liteq.testing.overriding import override_queue
from liteq.transports.sqlite.transport import SqliteTransport
from liteq.worker.desk import Desk
from liteq.worker.executor import Executor
from liteq.worker.log import JobLog
from liteq.worker.upkeep import Upkeep

HOUR, YEAR = 3600.0, 365 * 86400.0
STEPS = [HOUR, -HOUR, YEAR, -YEAR]
HEARTBEAT = 20.0


# ---- leases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_renews_keeps_its_jobs_whatever_the_clock_says(scene: Scene, step: float) -> None:
    holder = scene.worker()
    scene.holds(holder)
    for seconds in (step, -step, step, step, -step):
        scene.clock.step(seconds)
        assert scene.look_for(70, lambda: scene.transport.renew([holder], 60.0, scene.clock.wall())) == 0
    assert scene.state() == (STARTED, 1)


def never_lost(error: Exception, has_others: bool) -> None:
    raise AssertionError("nobody has taken its descriptors") from error


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_claims_now_and_then_keeps_its_jobs_without_anybody_who_renews(
    scene: Scene, step: float
) -> None:
    info = WorkerInfo("worker", "host", 1, 1)
    desk = Desk(scene.transport, info, 60.0, scene.clock, lambda: 0.5, JobLog(), never_lost)
    desk.register()
    scene.transport.enqueue([NewJob("job", "task", b"")], scene.clock.wall())
    assert desk.claim(ANY) == 1
    for seconds in (step, -step, step, step, -step):
        scene.clock.step(seconds)
        assert scene.look_for(70, lambda: desk.claim(ANY)) == 0
    assert scene.state() == (STARTED, 1)
    # And the renewals that follow a step are right by the new time.
    [record] = scene.transport.workers()
    assert 0 < record.expires - scene.clock.wall() <= 60


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_hangs_loses_its_jobs_in_spite_of_a_step(scene: Scene, step: float) -> None:
    scene.holds(scene.worker())
    scene.clock.step(step)
    # At most its lease, and two heartbeats from the look that finds it run out; then others take over.
    assert scene.look_for(60 + 2 * HEARTBEAT + 2) == 1
    assert scene.state() == (PENDING, 0)


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_is_dead_loses_its_jobs_at_once_in_spite_of_a_step(step: float, tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with SqliteTransport(path, durability="normal") as transport:
        scene = Scene(transport)
        with SqliteTransport(path, durability="normal") as other:
            holder = other.register(WorkerInfo("worker", "host", 1, 1), 60.0, scene.clock.wall())
            scene.holds(holder)
            scene.clock.step(step)
        assert scene.look_for(1) == 1


@pytest.mark.parametrize("counts", [False, True], ids=["monotonic stands", "monotonic goes on"])
@pytest.mark.parametrize("look_first", [False, True])
def test_a_machine_that_slept_takes_nothing_from_its_workers(
    scene: Scene, counts: bool, look_first: bool
) -> None:
    holder = scene.worker()
    scene.holds(holder)

    def renew() -> None:
        scene.transport.renew([holder], 60.0, scene.clock.wall())

    for slept in (HOUR, 8 * HOUR, 70.0, HOUR):
        (scene.clock.advance if counts else scene.clock.step)(slept)
        if look_first:
            assert scene.recovery.look() == []
        if counts:
            # By the monotonic clock a heartbeat is overdue, so it comes as soon as the machine is awake.
            renew()
        assert scene.look_for(100, renew) == 0
    assert scene.state() == (STARTED, 1)


# ---- times -----------------------------------------------------------------------------------------


def claimed(scene: Scene, holder: int) -> list[str]:
    return [claim.id for claim in scene.transport.claim(holder, ANY, scene.clock.wall())]


def test_an_eta_has_come_when_the_wall_clock_says_so(scene: Scene) -> None:
    holder = scene.worker()
    now = scene.clock.wall()
    scene.transport.enqueue([NewJob("soon", "task", b"", eta=now + 100)], now)
    scene.transport.enqueue([NewJob("late", "task", b"", eta=now + 5000)], now)

    assert claimed(scene, holder) == []
    scene.clock.step(HOUR)
    assert claimed(scene, holder) == ["soon"]
    scene.clock.step(-2 * HOUR)
    scene.clock.advance(5000)
    assert claimed(scene, holder) == []
    scene.clock.advance(HOUR - 0.001)
    assert claimed(scene, holder) == []
    scene.clock.advance(0.002)
    assert claimed(scene, holder) == ["late"]


@pytest.mark.parametrize("step", [-HOUR, -YEAR])
def test_a_job_that_was_ready_stays_so_when_the_clock_is_set_back(scene: Scene, step: float) -> None:
    holder = scene.worker()
    now = scene.clock.wall()
    scene.transport.enqueue([NewJob("new", "task", b""), NewJob("due", "task", b"", eta=now + 1)], now)
    scene.clock.advance(1)
    # What looks at the store makes ready what is due.
    scene.transport.turn(holder, scene.clock.wall(), (), ClaimRequest({}))
    scene.clock.step(step)
    assert claimed(scene, holder) == ["new", "due"]


def test_a_job_expires_when_the_wall_clock_says_so(scene: Scene) -> None:
    holder = scene.worker()
    now = scene.clock.wall()
    jobs = [NewJob(name, "task", b"", expires=now + 100) for name in ("stepped", "stays")]
    scene.transport.enqueue(jobs[:1], now)
    scene.clock.step(HOUR)
    assert claimed(scene, holder) == []
    assert scene.state("stepped") == (REVOKED, 0)

    scene.clock.step(-2 * HOUR)
    scene.transport.enqueue(jobs[1:], scene.clock.wall())
    scene.clock.advance(200)
    assert claimed(scene, holder) == ["stays"]


@pytest.mark.parametrize("step", STEPS)
def test_the_maintainer_looks_again_within_a_second_and_sweeps_by_the_wall_clock(
    scene: Scene, step: float
) -> None:
    now = scene.clock.wall()
    jobs = [
        NewJob("expiring", "task", b"", expires=now + 100),
        NewJob("kept", "task", b"", result_expires=0.0),
        NewJob("dropped", "task", b"", result_expires=100.0),
    ]
    scene.transport.enqueue(jobs, now)
    scene.transport.revoke(["kept", "dropped"], now, "not wanted")
    upkeep = Upkeep(scene.transport, scene.clock)
    assert 0 < upkeep.look() <= 1
    scene.clock.step(step)
    assert 0 < upkeep.look() <= 1
    expiring, kept, dropped = scene.transport.get(["expiring", "kept", "dropped"])
    assert kept is not None
    assert expiring is not None
    assert (expiring.state, dropped is None) == ((REVOKED, True) if step > 0 else (PENDING, False))
    upkeep.close()


class Facade:
    """A queue whose program and worker go by one clock turned by hand."""

    def __init__(self, q: Queue, clock: ManualClock) -> None:
        self.q = q
        self.clock = clock
        self.holder = q.transport.register(WorkerInfo("w", "host", 1, 1), 60.0, clock.wall())

    def run(self) -> list[str]:
        """Run what is ready; return the ids."""
        executor = Executor(self.q.tasks, self.q.transport, self.clock, lambda: 0.5)
        request = ClaimRequest(dict.fromkeys(self.q.tasks, 1))
        claims = self.q.transport.claim(self.holder, request, self.clock.wall())
        for claim in claims:
            decided = executor.run(claim)
            assert decided is not None
            assert self.q.transport.settle(self.holder, [decided], self.clock.wall()) == []
        return [claim.id for claim in claims]


@pytest.fixture(params=["memory", "sqlite"])
def facade(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Facade]:
    clock = ManualClock()
    url = "memory://" if request.param == "memory" else str(tmp_path / "queue.db")
    with Queue(url, durability="normal") as q, override_queue(q, None, clock=clock):
        yield Facade(q, clock)


def test_a_countdown_is_counted_from_the_call_by_the_wall_clock(facade: Facade) -> None:
    @facade.q.task(name="task")
    def task() -> int:
        return 1

    result = task.options(countdown=10).delay()
    facade.clock.step(-HOUR)
    facade.clock.advance(10)
    assert facade.run() == []
    facade.clock.step(HOUR)
    assert facade.run() == [result.id]
    assert result.get(timeout=0) == 1


def test_a_retry_is_counted_from_its_failure_by_the_wall_clock(facade: Facade) -> None:
    @facade.q.task(name="task", bind=True, max_retries=1)
    def task(self) -> int:
        if not self.request.retries:
            raise self.retry(countdown=10)
        return 1

    facade.clock.step(-YEAR)
    result = task.delay()
    facade.run()
    assert result.status == RETRY
    facade.clock.advance(9.9)
    assert facade.run() == []
    facade.clock.advance(0.2)
    assert facade.run() == [result.id]
    assert result.get(timeout=0) == 1


def test_a_result_is_there_until_the_wall_clock_says_that_it_has_expired(facade: Facade) -> None:
    @facade.q.task(name="task", result_expires=600)
    def task() -> int:
        return 1

    result = task.delay()
    facade.run()
    facade.clock.step(-YEAR)
    facade.q.transport.sweep(facade.clock.wall())
    assert result.status == SUCCESS
    facade.clock.step(YEAR + 599)
    facade.q.transport.sweep(facade.clock.wall())
    assert result.get(timeout=0) == 1
    facade.clock.step(2)
    facade.q.transport.sweep(facade.clock.wall())
    with pytest.raises(ResultExpired):
        result.get(timeout=0)


def test_a_waiting_job_reads_as_revoked_once_the_wall_clock_has_passed_its_expiry(facade: Facade) -> None:
    @facade.q.task(name="task")
    def task() -> None: ...

    result = task.options(expires=100).delay()
    assert result.status == PENDING
    facade.clock.step(HOUR)
    assert result.status == REVOKED
    assert facade.run() == []
    facade.clock.step(-HOUR)
    # It was looked at meanwhile, and what has ended stays so.
    assert result.status == REVOKED


def test_ids_keep_their_order_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    monkeypatch.setattr(time, "time_ns", lambda: int(clock.wall() * 1e9))
    q = Queue("memory://")

    @q.task(name="task")
    def task() -> None: ...

    made = []
    for step in (0.0, -HOUR, HOUR, -YEAR, 2 * YEAR, -YEAR):
        clock.step(step)
        made += [task.delay().id for _ in range(50)]
    monkeypatch.undo()
    assert made == sorted(set(made))
    q.close()
