"""What the store and the processes of the simulation see of the machine that they are on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from chaos.simulation.jobs import Lease
from chaos.simulation.ledger import Ledger
from liteq.job import WorkerRecord
from liteq.testing import ManualClock
from liteq.transport import Transport
from liteq.worker.verdict import Death

__all__ = ["Process", "Publisher", "Supervisor", "Surroundings"]


class Process(Protocol):
    """Something that acts, and may die while it does."""

    alive: bool

    def die(self) -> None:
        """End at once."""


class Supervisor(Process, Protocol):
    """What a worker process knows of its supervisor."""

    burying: Death | None
    """Why the worker died for which it settles just now."""
    is_taking_back: bool
    """Whether it takes back what waits behind a long job of a worker."""
    visibility_timeout: float

    @property
    def heartbeat(self) -> float:
        """Seconds between its renewals."""

    @property
    def is_able(self) -> bool:
        """Whether it can act."""


class Publisher(Process, Protocol):
    """What others see of a worker process."""

    program: Supervisor
    suspended: bool
    died_at: float
    """When it died, on the monotonic clock."""
    shown: list[Lease | None]
    """The lease that it publishes as running; before it, those since somebody began to look."""
    shown_at: float
    """Since when, on the monotonic clock."""

    @property
    def holder(self) -> int | None:
        """The number under which it is registered."""


class Surroundings(Protocol):
    """The machine: its clock, its store, and what may happen on it."""

    chance: random.Random
    clock: ManualClock
    ledger: Ledger
    acts: Sequence[str]
    """What the jobs that are enqueued next are to do."""
    pace: float
    """What durations are multiplied with: leases may last for minutes, or for no longer than a few jobs."""
    awake: float
    """Seconds for which the machine was awake."""
    is_interrupted: bool
    """Whether somebody acts while a supervisor is in the middle of something."""
    signs: dict[int, float]
    """By holder, when it last renewed or tried to, as `awake` was then."""
    by_holder: dict[int, Publisher]

    @property
    def store(self) -> Transport:
        """The store."""

    def name(self) -> int:
        """Return a number that nobody else has."""

    def by(self, actor: Process) -> AbstractContextManager[None]:
        """Return a block in which a process acts; it may die there."""

    def meanwhile(self, holder: int) -> None:
        """Let others go on while a supervisor is busy with a worker, or let it die."""

    def perhaps_die(self) -> None:
        """Let a worker process die when the store has answered and before it knows."""

    def begin(self, lease: Lease) -> None:
        """Let the task that runs next tell the ledger that it does."""

    def seen(self, record: WorkerRecord) -> WorkerRecord:
        """Return a record as the system can tell it."""

    def expelled(self, holder: int) -> None:
        """Demand that whoever renews in time is not taken for dead."""
