"""The records of recurring work that travel between the facade, the scheduler and a transport.

Times are UTC, in seconds since the epoch. What a schedule and its policy say is opaque to a transport:
`liteq.schedule` and `liteq.firing` write and read those texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from liteq.job import NewJob

__all__ = ["Firing", "ScheduleRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """A stored schedule: when it runs, what it enqueues, and how far it has come.

    Attributes:
        name: its name, unique in the store.
        task: the name of the task that it calls.
        spec: when it runs, as `liteq.schedule` writes it.
        policy: what becomes of late ticks, overlapping runs and so on, as `liteq.firing` writes it.
        job: what each tick enqueues, with an empty id and no times; None where that is not known.
        next_run: the next tick; None if there is none, or none that can be told.
        last_run: the last tick that was fired.
        runs: how many ticks were fired.
        last_job: the id of the job that was enqueued last.
        paused: whether it is left alone until it is resumed.
        broken: why it cannot run, as a sentence; None if it can.
        module: the module that declares it; None if it was made at run time.
        declaration: a digest of what that module declares, by which a changed declaration is known.
        created: when it was first stored.
        revision: how often it has been stored; a change counts only if nobody else was faster.
    """

    name: str
    task: str
    spec: str
    policy: str
    job: NewJob | None
    next_run: float | None
    last_run: float | None = None
    runs: int = 0
    last_job: str | None = None
    paused: bool = False
    broken: str | None = None
    module: str | None = None
    declaration: str | None = None
    created: float = 0.0
    revision: int = 0


class Firing(NamedTuple):
    """One schedule's ticks, to be fired in one transaction."""

    schedule: ScheduleRecord
    """The schedule as it is to be stored; its `revision` is the one that the firing was decided on."""
    jobs: tuple[NewJob, ...] = ()
    """What the ticks enqueue."""
    revoked: tuple[str, ...] = ()
    """Ids of jobs of earlier runs that give way if they still wait."""
