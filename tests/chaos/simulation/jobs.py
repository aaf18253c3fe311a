"""A job and its leases as the ledger knows them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from chaos.simulation.tasks import Kind
from liteq.job import Claim, NewJob, Transition
from liteq.states import PENDING

__all__ = ["FINISHED", "GONE", "LEASED", "WAITING", "Entry", "How", "Lease"]

WAITING, LEASED, FINISHED, GONE = "waiting", "leased", "finished", "gone"
REMEMBERED = 30
"""The last events of each job that a report shows."""


class How(StrEnum):
    """By which right a lease is ended."""

    OUTCOME = "its worker ran it"
    RETURNED = "handed back"
    TAKEN = "taken back from behind a long job"
    CHARGED = "its worker died under it"
    LATE = "killed at its time limit"
    INTERRUPTED = "killed by a stop"
    LOST_BEGUN = "lost when it had begun"
    LOST_UNBEGUN = "lost before it began"


@dataclass(slots=True, eq=False)
class Entry:
    """One job, from its storing on."""

    new: NewJob
    kind: Kind
    acts: Sequence[str]
    order: int
    due: float
    ready: bool
    expires: float | None
    ignored: bool
    enqueued: float
    station: str = WAITING
    state: str = PENDING
    attempts: int = 0
    retries: int = 0
    crashes: int = 0
    lease: Lease | None = None
    unsettled: bool = False
    """It has begun to run, and what came of it was never stored."""
    requeued: int = 0
    result: bytes | None = None
    reason: str | None = None
    done: float | None = None
    history: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    @property
    def id(self) -> str:
        return self.new.id


@dataclass(slots=True, eq=False)
class Lease:
    """One lease of a job, which may have ended long ago."""

    entry: Entry
    claim: Claim
    holder: int
    requeued: int
    """How often somebody had put the job back before."""
    run: int = 0
    """The number of its run; 0 before it."""
    asked: float = 0.0
    """When the task asked to be run again."""
    outcome: Transition | None = None
    ended: How | None = None
