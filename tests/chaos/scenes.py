"""Short scenes in which a fault of liteq would show: everything happens in a set order, nothing by luck."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing

from chaos.checker import Violation, check_history
from chaos.crew import Crew, Member, Target
from chaos.ground import drain, ground
from chaos.history import read_history
from chaos.stories import Case
from liteq.job import Job
from liteq.transport import Transport

__all__ = ["SCENES", "play"]

VISIBILITY = 0.3
"""Seconds that a lease lasts, so that nobody has to wait for long until it has run out."""
HELD = 60.0
"""Seconds for which a process is suspended, unless it is resumed earlier."""
JOB, GATE = "job", "gate"


class Stage:
    """What a scene is played on.

    Args:
        crew: the processes.
        store: the queue, open in this process.
    """

    def __init__(self, crew: Crew, store: Transport) -> None:
        self.crew = crew
        self._store = store

    def supervisors(self, count: int) -> list[Member]:
        """Start supervisors of one worker each, and wait until those are ready."""
        members = [self.crew.start("small supervisor") for _ in range(count)]
        for member in members:
            self.until(lambda member=member: self.worker(member), "a worker is not ready")
        return members

    def worker(self, supervisor: Member) -> Target | None:
        """Return a supervisor's worker, if it is ready."""
        ready = [one for one in self.crew.workers(supervisor) if self.crew.has_recorded(one)]
        return ready[0] if ready else None

    def call(self, task: str, *args: object) -> None:
        """Let another process enqueue a job."""
        caller = self.crew.start("caller", [task, *args])
        self.until(lambda: caller.status is not None, "the call does not return")

    def begun(self) -> set[int]:
        """Return the process ids of the workers in which the job has begun."""
        return {int(path.suffix[1:]) for path in self.crew.folder.glob(f"{GATE}.begun.*")}

    def open_gate(self, pid: int | None = None) -> None:
        """Let the job go on, in one process or in all."""
        (self.crew.folder / (GATE if pid is None else f"{GATE}.{pid}")).touch()

    def job(self, tag: str = JOB) -> Job:
        """Read a job, which has its tag as its id in these scenes."""
        [found] = self._store.get([tag])
        assert found is not None
        return found

    def until(self, holds: Callable[[], object], otherwise: str) -> None:
        """Wait until something holds."""
        self.crew.wait_until(holds, otherwise)

    def until_finished(self, tag: str = JOB) -> None:
        """Wait until a job is finished."""
        self.until(lambda: self.job(tag).finished, f"{tag} does not end")

    def paid(self) -> int:
        """Return how many rows tasks have written in transactions of their own."""
        with closing(sqlite3.connect(self.crew.folder / "queue.db")) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM paid").fetchone()
        return int(rows)

    def kill_worker(self, supervisor: Member) -> None:
        """Kill a supervisor's worker."""
        worker = self.worker(supervisor)
        assert worker is not None
        assert self.crew.kill(worker)


def overtaken(stage: Stage, task: str = "waits") -> None:
    """A worker wakes up when the job that it runs has been finished by another one."""
    _overtake(stage, task)
    stage.open_gate()
    stage.until_finished()
    stage.crew.resume_due(everybody=True)


def overtaken_before_completion(stage: Stage) -> None:
    """A worker wakes up before its own transaction, when another one has committed the same."""
    overtaken(stage, "waits and pays")


def overtaken_halfway(stage: Stage) -> None:
    """A worker wakes up, and ends the job that it runs, while another one runs it too."""
    sleeper = _overtake(stage, "waits")
    stage.open_gate(sleeper.pid)
    stage.crew.resume_due(everybody=True)
    # The other worker is busy; so when this is done, the one that woke up has settled what it ran.
    stage.call("quick", "next")
    stage.until_finished("next")
    stage.open_gate()
    stage.until_finished()


def _overtake(stage: Stage, task: str) -> Target:
    """Suspend the worker that runs the job until another one has begun it; return the suspended one."""
    supervisors = stage.supervisors(2)
    stage.call(task, JOB, GATE)
    stage.until(stage.begun, "the job does not begin")
    workers = [worker for member in supervisors if (worker := stage.worker(member)) is not None]
    [sleeper] = [worker for worker in workers if worker.pid in stage.begun()]
    assert stage.crew.stop(sleeper, HELD)
    stage.until(lambda: len(stage.begun()) > 1, "nobody takes the job over")
    return sleeper


def killed_while_running(stage: Stage) -> None:
    """A worker is killed in the middle of a job, and another one runs it."""
    [supervisor] = stage.supervisors(1)
    stage.call("waits", JOB, GATE)
    stage.until(stage.begun, "the job does not begin")
    stage.kill_worker(supervisor)
    stage.open_gate()
    stage.until_finished()


def killed_when_done(stage: Stage) -> None:
    """A worker is killed as soon as the file says that its job has succeeded."""
    [supervisor] = stage.supervisors(1)
    stage.call("quick", JOB)
    stage.until_finished()
    stage.kill_worker(supervisor)


def killed_when_paid(stage: Stage) -> None:
    """A worker is killed as soon as the file shows what its task has written there."""
    [supervisor] = stage.supervisors(1)
    stage.call("pays", JOB, 0.0, "return")
    stage.until(stage.paid, "the task does not write its row")
    stage.kill_worker(supervisor)
    stage.until_finished()


def written_meanwhile(stage: Stage) -> None:
    """Another program tries to write while a caller's transaction has read and not yet written."""
    caller = stage.crew.start("caller", ["crosses", JOB])
    stage.until((stage.crew.folder / "reading").exists, "the caller does not read")
    own = sqlite3.connect(stage.crew.folder / "queue.db", timeout=0.1, isolation_level=None)
    with closing(own):
        try:
            own.execute("BEGIN IMMEDIATE")
            own.execute("CREATE TABLE notes (text)")
            own.execute("COMMIT")
        except sqlite3.OperationalError:
            # Which is as it should be.
            pass
    (stage.crew.folder / "tried").touch()
    stage.until(lambda: caller.status is not None, "the call does not return")
    stage.supervisors(1)


SCENES: Mapping[str, Callable[[Stage], None]] = {
    scene.__name__: scene
    for scene in (
        *(overtaken, overtaken_halfway, overtaken_before_completion, killed_while_running),
        *(killed_when_done, killed_when_paid, written_meanwhile),
    )
}
"""Each by its name."""


def play(scene: str, fault: str = "") -> list[Violation]:
    """Play a scene with a fault, or without one, and return what the checker finds."""
    with ground(CHAOS_VISIBILITY=str(VISIBILITY), CHAOS_FAULT=fault) as crew:
        with crew.store.open() as store:
            SCENES[scene](Stage(crew, store))
        drain(crew)
        for member in list(crew.members):
            crew.dismiss(member)
        crew.end()
        history, contents = read_history(crew.folder), crew.store.contents()
        return check_history(Case(history, contents, visibility_timeout=VISIBILITY))
