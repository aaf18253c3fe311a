"""The states a job can be in, with Celery's names and meanings.

They are `str` values, so that they compare with plain strings and with states of a user's own
(such as `"PROGRESS"`), which `Task.update_state` sets and which count as unready.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "EXCEPTION_STATES",
    "FAILURE",
    "PENDING",
    "READY_STATES",
    "RETRY",
    "REVOKED",
    "STARTED",
    "SUCCESS",
    "UNREADY_STATES",
    "State",
]


class State(StrEnum):
    """One of the six states that liteq itself sets."""

    PENDING = "PENDING"
    """Waiting to run, or delayed; also what an unknown id reads."""
    STARTED = "STARTED"
    """A worker holds it under a lease."""
    RETRY = "RETRY"
    """An attempt failed; it waits for its next one."""
    SUCCESS = "SUCCESS"
    """Done; the result is the return value."""
    FAILURE = "FAILURE"
    """Failed for good; the result is the exception."""
    REVOKED = "REVOKED"
    """Revoked, expired or purged before it ran."""


PENDING = State.PENDING
STARTED = State.STARTED
RETRY = State.RETRY
SUCCESS = State.SUCCESS
FAILURE = State.FAILURE
REVOKED = State.REVOKED

READY_STATES = frozenset({SUCCESS, FAILURE, REVOKED})
UNREADY_STATES = frozenset({PENDING, STARTED, RETRY})
EXCEPTION_STATES = frozenset({RETRY, FAILURE, REVOKED})
