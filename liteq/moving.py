"""The records of a move from one store to another.

Times are UTC, in seconds since the epoch.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MoveMark", "StoredJob"]


class StoredJob(NamedTuple):
    """Everything that a store knows of a job that nobody holds: what goes with it into another store."""

    seq: int
    """Its number in the store it comes from, which says where it stands among the others there."""
    id: str
    task: str
    queue: str
    station: str
    """`ready`, `delayed` or `finished`."""
    state: str
    priority: int
    enqueued: float
    due: float
    eta: float | None
    expires: float | None
    started: float | None
    done: float | None
    discard: float | None
    """When its record is dropped; None while it is not finished, or if it is kept for ever."""
    attempts: int
    retries: int
    crashes: int
    max_crashes: int
    ignore_result: bool
    result_expires: float | None
    """As in `NewJob`."""
    codec: str
    payload: bytes
    options: bytes | None
    result: bytes | None
    reason: str | None


class MoveMark(NamedTuple):
    """What a store that is moved away says of that: it is closed, and where its jobs are to be found."""

    id: str
    """The move's own id."""
    target: str
    """The URL of the store that it is moved to, without a password."""
    began: float
    ended: float | None = None
    """When the target had everything; None until then."""
