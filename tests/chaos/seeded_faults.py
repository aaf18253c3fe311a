"""Faults that liteq does not have, to show that the checker would find them.

Each changes liteq's own code in the process that asks for it, the way a careless hand might have written it.
Only `chaos.shop` asks, and only where the environment tells it to.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from liteq.job import Claim, ClaimRequest, Transition, Turn
from liteq.lifecycle import Succeeded, decide
from liteq.transports.sqlite import claiming, settling
from liteq.transports.sqlite.transport import SqliteTransport
from liteq.transports.sqlite.user_connection import UserConnection
from liteq.worker.executor import Executor

__all__ = ["FAULTS", "install"]

BETWEEN = 0.5
"""Seconds between two transactions that ought to be one; long enough to be killed in between for certain."""


def fence(condition: str) -> None:
    """Settle whatever has the job's number and fulfils a condition, whoever holds its lease."""
    for name in ("FINISH", "WAIT", "DROP"):
        statement = getattr(settling, name)
        for parameter in ("?9", "?"):
            statement = statement.replace(
                f"AND token = {parameter}", f"AND {parameter} IS NOT NULL{condition}"
            )
        setattr(settling, name, statement)


def lost_attempt() -> None:
    """Tell the worker which attempt it is, and do not write it down before it has ended."""
    for name in ("TAKE", "TAKE_FROM_LANE"):
        statement = getattr(claiming, name)
        assert "attempts = attempts + 1, " in statement
        statement = statement.replace("attempts = attempts + 1, ", "")
        setattr(claiming, name, statement.replace("attempts, retries", "attempts + 1, retries"))


def deferred_begin() -> None:
    """Begin a user's transaction without the write lock."""
    original = UserConnection.execute

    def execute(self: UserConnection, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return original(self, "BEGIN" if sql == "BEGIN IMMEDIATE" else sql, parameters)

    UserConnection.execute = execute  # type: ignore[method-assign]


def split_settle() -> None:
    """Store that a job is over in one transaction, and its result in another."""
    original = SqliteTransport.turn

    def turn(
        self: SqliteTransport,
        holder: int,
        now: float,
        settlements: Sequence[Transition] = (),
        request: ClaimRequest | None = None,
    ) -> Turn:
        brought = original(self, holder, now, [to._replace(result=None) for to in settlements], request)
        if settlements:
            time.sleep(BETWEEN)
            with self._database.write() as unit:
                unit.connection.executemany(
                    "UPDATE liteq_jobs SET result = ? WHERE seq = ?",
                    [(to.result, to.seq) for to in settlements],
                )
        return brought

    SqliteTransport.turn = turn  # type: ignore[method-assign]


def ack_before_run() -> None:
    """Say that a job is done before it is begun."""
    original = Executor.run

    def run(self: Executor, job: Claim) -> Transition | None:
        self._transport.settle(0, [decide(job, Succeeded(), time.time(), lambda: 0.5)], time.time())
        original(self, job)
        return None

    Executor.run = run  # type: ignore[method-assign]


def split_completion() -> None:
    """Commit what a task has written in its own transaction, and that it has succeeded in another."""

    @contextmanager
    def completion(
        self: SqliteTransport, seq: int, token: int, settle: Callable[[], Transition]
    ) -> Iterator[sqlite3.Connection]:
        with self._database.user_transaction() as open_connection:
            settling.check_lease(open_connection, seq, token)
            yield open_connection
        time.sleep(BETWEEN)
        self.settle(0, [settle()], time.time())

    SqliteTransport.completion = completion  # type: ignore[method-assign]


def unfenced_completion() -> None:
    """Let a task write in its own transaction, whoever holds the lease by then."""

    @contextmanager
    def completion(
        self: SqliteTransport, seq: int, token: int, settle: Callable[[], Transition]
    ) -> Iterator[sqlite3.Connection]:
        with self._database.user_transaction() as open_connection:
            yield open_connection
            settling.settle(open_connection.cursor(), [settle()], time.time())

    SqliteTransport.completion = completion  # type: ignore[method-assign]


FAULTS: Mapping[str, Callable[[], None]] = {
    "id-only fence": partial(fence, ""),
    "id+state fence": partial(fence, " AND state = 'STARTED'"),
    "lost attempt": lost_attempt,
    "deferred BEGIN": deferred_begin,
    "settle split in two": split_settle,
    "ack before the run": ack_before_run,
    "completion split in two": split_completion,
    "completion without a fence": unfenced_completion,
}
"""Each by its name."""


def install(name: str) -> None:
    """Break liteq in this process."""
    FAULTS[name]()
