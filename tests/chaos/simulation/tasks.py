"""The tasks of the simulation: each job carries what it is to do at each of its attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from liteq import Ignore, Queue, Reject, Retry, Task
from liteq.calls.request import Request

__all__ = ["ENDINGS", "KINDS", "REPEATS", "STAGE", "Act", "Busy", "Kind", "queue"]


class Act(StrEnum):
    """What a job does when it runs."""

    RETURN = "return"
    RETURN_NOTHING = "return nothing"
    REPORT = "report progress and return"
    RAISE = "raise"
    EXIT = "exit"
    UNENCODABLE = "return what cannot be encoded"
    REJECT = "reject"
    IGNORE = "ignore"
    REPORT_AND_IGNORE = "report progress and ignore"
    BUSY = "raise what is retried automatically"
    AGAIN = "ask for a retry"
    BY_HAND = "raise Retry by hand"
    REQUEUE = "reject and requeue"


ENDINGS = (
    *[Act.RETURN] * 8,
    Act.RETURN_NOTHING,
    Act.REPORT,
    Act.RAISE,
    Act.EXIT,
    Act.UNENCODABLE,
    Act.REJECT,
    Act.IGNORE,
    Act.REPORT_AND_IGNORE,
)
"""What a job may do at last, as often as it shall."""
REPEATS = (Act.BUSY, Act.AGAIN, Act.BY_HAND, Act.REQUEUE)
"""What lets it run again, if it may."""


class Kind(NamedTuple):
    """What a task promises, written down apart from what it is registered with."""

    max_crashes: int
    max_retries: int | None
    delays: Callable[[int], tuple[float, float]]
    """From the retries so far to the least and the most seconds before the next attempt."""
    kept: float
    """Seconds that a finished job is kept; 0 for ever."""
    retries_late: bool
    """Whether a job that ran into its time limit is tried again."""


KINDS: Mapping[str, Kind] = {
    "careful": Kind(0, 3, lambda retries: (20.0, 20.0), 86400.0, True),
    "brittle": Kind(1, 2, lambda retries: (0.0, min(600.0, 1.0 * 2**retries)), 50.0, False),
    "sturdy": Kind(2, 1, lambda retries: (0.0, 0.0), 0.0, True),
    "stubborn": Kind(3, None, lambda retries: (min(90.0, 2.0 * 2**retries),) * 2, 1000.0, False),
}


class Busy(TimeoutError):
    """Worth another attempt."""


class Unencodable:
    """What no codec knows."""


class Stage:
    """What a task sees of the simulation in which it runs."""

    def __init__(self) -> None:
        self.begin: Callable[[Request], int] = lambda request: 0
        """Told that a task begins; returns the number of this run."""
        self.ask: Callable[[], float] = lambda: 0.0
        """Returns the time for which a task asks as that of its next attempt."""


STAGE = Stage()
"""Set by whoever runs a simulation; there is one at a time."""

queue = Queue("memory://")
"""Encodes and decodes; nothing is stored in it."""


def play(task: Task[..., Any], acts: list[str]) -> object:
    """Do what the job is to do at this attempt."""
    request = task.request
    number = STAGE.begin(request)
    act = acts[min(request.attempt, len(acts)) - 1]
    match act:
        case Act.RETURN:
            return [request.id, number]
        case Act.RETURN_NOTHING:
            return None
        case Act.UNENCODABLE:
            return Unencodable()
        case Act.REPORT | Act.REPORT_AND_IGNORE:
            task.update_state("PROGRESS", number)
            if act == Act.REPORT_AND_IGNORE:
                raise Ignore
            return [request.id, number]
        case Act.IGNORE:
            raise Ignore
        case Act.REJECT | Act.REQUEUE:
            raise Reject(f"run {number}", requeue=act == Act.REQUEUE)
        case Act.AGAIN:
            raise task.retry(eta=datetime.fromtimestamp(STAGE.ask(), UTC))
        case Act.BY_HAND:
            raise Retry(f"run {number}")
        case Act.BUSY:
            raise Busy(number)
        case Act.EXIT:
            raise SystemExit(number)
        case _:
            raise ValueError(number)


queue.task(
    bind=True,
    name="careful",
    max_crashes=0,
    max_retries=3,
    default_retry_delay=20,
    autoretry_for=(TimeoutError,),
)(play)
queue.task(
    bind=True,
    name="brittle",
    max_crashes=1,
    max_retries=2,
    retry_backoff=True,
    autoretry_for=(Busy,),
    result_expires=50,
)(play)
queue.task(
    bind=True,
    name="sturdy",
    max_crashes=2,
    max_retries=1,
    default_retry_delay=0,
    autoretry_for=(TimeoutError,),
    result_expires=0,
)(play)
queue.task(
    bind=True,
    name="stubborn",
    max_crashes=3,
    max_retries=None,
    retry_backoff=2,
    retry_backoff_max=90,
    retry_jitter=False,
    autoretry_for=(Busy,),
    result_expires=1000,
)(play)
