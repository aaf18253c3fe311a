"""What the loops need of a peer, and what an adapter may know of the run that it is part of."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "OPTIONS", "REDIS", "Adapter", "folder", "option", "redis_socket"]

FOLDER = "PEERS_FOLDER"
REDIS = "PEERS_REDIS"
OPTIONS = "PEERS_OPTIONS"
PATIENCE = 60.0
"""Seconds to wait for a result that must come."""

Handle = Any


def folder() -> Path:
    """Return the folder of this turn's store."""
    return Path(os.environ[FOLDER])


def redis_socket() -> str:
    """Return the path of the socket at which this turn's Redis server listens."""
    return os.environ[REDIS]


def option(name: str, default: Any) -> Any:
    """Return an option of this peer from the catalogue."""
    return json.loads(os.environ.get(OPTIONS, "{}")).get(name, default)


class Adapter(ABC):
    """How one peer is called.

    Attributes:
        slots: how many jobs its two worker processes run at the same time.
        in_flight: how many jobs they may have in hand together; once every job has run, only of the last so
            many can the result be missing.
        keeps_results: whether it has results at all.
        has_bulk: whether it documents a way to store many calls at once.
        has_floor: whether it knows how to make bare calls of its store, to be compared with.
        packages: the distributions whose versions are to be told.
    """

    slots = 2
    in_flight = 2
    keeps_results = True
    has_bulk = False
    has_floor = False
    packages: Sequence[str] = ()

    @abstractmethod
    def worker_commands(self) -> list[list[str]]:
        """Return the commands that start two worker processes together."""

    @abstractmethod
    def delay(self, job: int, keep: bool) -> Handle:
        """Call the task with a job's number; `keep` says whether its result, the same number, is stored."""

    @abstractmethod
    def delay_hold(self, place: int) -> None:
        """Call the task that holds a worker."""

    @abstractmethod
    def outstanding(self) -> int:
        """Count the jobs that are stored, and not finished."""

    def delay_many(self, jobs: Sequence[int], keep: bool) -> list[Handle]:
        """Call the task for all these jobs, by the documented way for many calls if there is one."""
        return [self.delay(job, keep) for job in jobs]

    def bare_calls(self, count: int) -> None:
        """Store so many jobs as the driver of the store alone would, a call for each; a floor for `delay`."""
        raise NotImplementedError

    def value(self, handle: Handle) -> int:
        """Wait for a result and return it."""
        raise NotImplementedError

    def values(self, handles: Sequence[Handle]) -> list[int]:
        """Wait for results and return them."""
        return [self.value(handle) for handle in handles]

    def close(self) -> None:  # noqa: B027 (some have nothing to let go of)
        """Let go of the store."""
