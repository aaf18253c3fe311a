"""What the groups of the contract share: the fixtures to override, and short ways to say common things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from liteq.errors import NotSupportedError
from liteq.job import Claim, ClaimRequest, Job, NewJob, Transition, WorkerInfo
from liteq.lifecycle import Outcome, Raised, Returned, Succeeded, decide
from liteq.retry import RetryPolicy
from liteq.transport import Transport

__all__ = [
    "ANY",
    "ERROR",
    "NOW",
    "PATIENCE",
    "VISIBILITY",
    "Contract",
    "after",
    "claim_ids",
    "claim_one",
    "fail",
    "new_job",
    "read",
    "register",
    "retry",
    "returned",
    "succeed",
]

NOW = 1_700_000_000.0
VISIBILITY = 60.0
PATIENCE = 10.0
"""How long a test waits for a ring that must come; one that passes never waits that long."""

ANY = ClaimRequest({"add": 1, "mul": 1})
ERROR = b"the error"


class Contract:
    """The fixtures that a transport's own test class overrides."""

    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        """Yield a transport on a fresh, empty store, and close it afterwards."""
        raise NotSupportedError(f"{type(self).__name__} has to override the `transport` fixture.")

    def reopen(self, transport: Transport) -> Transport:
        """Return a second handle on the same store; the same one where there can be no other."""
        return transport

    @pytest.fixture
    def second(self, transport: Transport) -> Iterator[Transport]:
        """Yield what `reopen` returns, and close it afterwards."""
        second = self.reopen(transport)
        yield second
        if second is not transport:
            second.close()


def new_job(job_id: str, task: str = "add", **fields: Any) -> NewJob:
    """Return a job with a payload of its own."""
    return NewJob(job_id, task, b"payload of " + job_id.encode(), **fields)


def register(transport: Transport, now: float = NOW, visibility_timeout: float = VISIBILITY) -> int:
    """Register a worker and return its holder number."""
    return transport.register(WorkerInfo("worker", "host", pid=100, supervisor=99), visibility_timeout, now)


def claim_ids(transport: Transport, holder: int, now: float = NOW, request: ClaimRequest = ANY) -> list[str]:
    """Claim, and return the ids of what came."""
    return [claim.id for claim in transport.claim(holder, request, now)]


def claim_one(transport: Transport, holder: int, now: float = NOW) -> Claim:
    """Claim one job, which has to be there."""
    claims = transport.claim(holder, ANY._replace(limit=1), now)
    assert len(claims) == 1, "a job was expected to be claimable"
    return claims[0]


def read(transport: Transport, job_id: str) -> Job:
    """Read a job, which has to be there."""
    (job,) = transport.get([job_id])
    assert job is not None, f"job {job_id} was expected to be there"
    return job


def after(claim: Claim, outcome: Outcome, now: float) -> Transition:
    """Return what the lifecycle makes of an outcome."""
    return decide(claim, outcome, now, random=lambda: 0.5)


def succeed(claim: Claim, now: float = NOW, result: bytes | None = b"the result") -> Transition:
    """Return the settlement of a job whose task returned."""
    return after(claim, Succeeded(result), now)


def fail(claim: Claim, now: float = NOW) -> Transition:
    """Return the settlement of a job that failed for good."""
    return after(claim, Raised(ERROR, "it failed", RetryPolicy()), now)


def retry(claim: Claim, now: float = NOW, delay: float = 5.0) -> Transition:
    """Return the settlement of a job that is tried again after `delay` seconds."""
    policy = RetryPolicy(default_retry_delay=delay)
    return after(claim, Raised(ERROR, "it failed", policy, automatic=True), now)


def returned(claim: Claim, now: float = NOW) -> Transition:
    """Return the settlement of a job that was handed back unharmed."""
    return after(claim, Returned(), now)
