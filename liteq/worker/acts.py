"""What the task of one attempt can do to its own job while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast

from liteq.calls import connection as user_connection
from liteq.errors import ConfigurationError, NotSupportedError
from liteq.job import Claim, Transition
from liteq.transport import Transport

__all__ = ["AttemptActs"]


class Engine(Protocol):
    """What runs the attempt, as its acts see it."""

    url: str
    """The store that its jobs come from."""

    def encode_result(self, job: Claim, value: object) -> bytes | None:
        """Encode what a job is to give; None for nothing."""

    def report(self, job: Claim, state: str, meta: object) -> bytes | None:
        """Store a state of the task's own; return its meta as it is stored."""

    def succeed(self, job: Claim, result: bytes | None) -> Transition:
        """Decide about a job that has succeeded."""


class AttemptActs:
    """The acts of one attempt; made for every job, so that its making must cost next to nothing.

    Args:
        engine: what runs the attempt.
        job: the claim.

    Attributes:
        completed: the job has ended in a transaction of its own, and nothing is left to settle.
        value: the result that it was given there.
        reported: the state that the task has set itself, with its meta; None for none.
    """

    completed = False
    value: object = None
    reported: tuple[str, bytes | None] | None = None
    _result: bytes | None = None
    _in_block = False

    def __init__(self, engine: Engine, job: Claim) -> None:
        self._engine = engine
        self._job = job

    def update_state(self, state: str, meta: object) -> None:
        """Store a state and its meta."""
        self.reported = state, self._engine.report(self._job, state, meta)

    @contextmanager
    def transaction(self, transport: Transport) -> Iterator[user_connection.Connection]:
        """Open a transaction that ends the job as it commits; see `Task.transaction`."""
        if self.completed:
            raise NotSupportedError(f"Job {self._job.id} has completed in a transaction already.")
        if transport.url != self._engine.url:
            raise ConfigurationError(
                f"Task {self._job.task} belongs to the queue {transport.url}, and this job came from "
                f"{self._engine.url}. A transaction covers one file; start workers on the task's own queue."
            )
        self._result = self.value = None
        with transport.completion(self._job.seq, self._job.token, self._settlement) as connection:
            self._in_block = True
            try:
                yield cast("user_connection.Connection", connection)
            finally:
                self._in_block = False
        self.completed = True

    def complete(self, value: object) -> None:
        """Encode the result that the block is to store."""
        if not self._in_block:
            raise NotSupportedError(
                f"Task {self._job.task}: complete() says what the result of `with self.transaction()` is, "
                "and belongs inside that block; elsewhere, return the result."
            )
        self._result = self._engine.encode_result(self._job, value)
        self.value = value

    def _settlement(self) -> Transition:
        return self._engine.succeed(self._job, self._result)
