"""Ending leases: every settlement matches `seq` and `token`, or changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from liteq.errors import LeaseLostError
from liteq.job import DEFAULT_RESULT_EXPIRES, Transition

__all__ = ["check_lease", "settle", "settle_own"]

# A success that nobody wants any more because `forget` came while the job ran is marked with -1.
FINISH = f"""
    UPDATE liteq_jobs SET stage = 3, state = ?1, holder = NULL, token = NULL, done = ?2,
        discard = CASE
            WHEN ignore_result AND ?1 = 'SUCCESS' THEN -1
            WHEN result_expires = 0 THEN NULL
            ELSE ?2 + coalesce(result_expires, {DEFAULT_RESULT_EXPIRES}) END,
        attempts = ?3, retries = ?4, crashes = ?5, result = ?6, reason = ?7
    WHERE seq = ?8 AND token = ?9"""
DROP = "DELETE FROM liteq_jobs WHERE seq = ? AND token = ?"
DROP_FORGOTTEN = "DELETE FROM liteq_jobs WHERE stage = 3 AND discard = -1"
WAIT = """
    UPDATE liteq_jobs SET stage = ?, state = ?, due = ?, holder = NULL, token = NULL,
        attempts = ?, retries = ?, crashes = ?, result = ?, reason = ?
    WHERE seq = ? AND token = ?"""

UNDER_LEASE = "SELECT 1 FROM liteq_jobs WHERE seq = ? AND token = ?"

Row = tuple[object, ...]


def check_lease(connection: sqlite3.Connection, seq: int, token: int) -> None:
    """Look whether a lease still stands, inside a write transaction.

    Raises:
        LeaseLostError: it does not.
    """
    if connection.execute(UNDER_LEASE, (seq, token)).fetchone() is None:
        raise LeaseLostError(
            "This job's lease has passed to another worker, so this attempt must write nothing; "
            "let the error end it."
        )


def settle_own(connection: sqlite3.Connection, settlement: Transition) -> None:
    """Settle a job in a transaction of the user's.

    Raises:
        LeaseLostError: the user's SQL has ended the lease.
    """
    if settle(connection.cursor(), (settlement,), settlement.at):
        raise LeaseLostError(
            f"Job {settlement.id}: what was written in its transaction has ended its own lease; leave the "
            "tables whose names begin with liteq_ alone."
        )


def settle(cursor: sqlite3.Cursor, settlements: Sequence[Transition], now: float) -> list[Transition]:
    """Write settlements down; return those that their lease refused."""
    statements: dict[str, tuple[list[Row], list[Transition]]] = {}
    for settlement in settlements:
        statement, row = _statement(settlement, now)
        rows, settled = statements.setdefault(statement, ([], []))
        rows.append(row)
        settled.append(settlement)
    refused: list[Transition] = []
    for statement, (rows, settled) in statements.items():
        if len(rows) == 1:
            if cursor.execute(statement, rows[0]).rowcount != 1:
                refused.append(settled[0])
        else:
            refused += _settle_many(cursor, statement, rows, settled)
    if FINISH in statements:
        cursor.execute(DROP_FORGOTTEN)
    return refused


def _statement(to: Transition, now: float) -> tuple[str, Row]:
    if to.due is not None:
        stage = 0 if to.due <= now else 1
        facts = (to.attempts, to.retries, to.crashes, to.result, to.reason, to.seq, to.token)
        return WAIT, (stage, to.state, to.due, *facts)
    if not to.keep:
        return DROP, (to.seq, to.token)
    facts = (to.attempts, to.retries, to.crashes, to.result, to.reason, to.seq, to.token)
    return FINISH, (to.state, to.at, *facts)


def _settle_many(
    cursor: sqlite3.Cursor, statement: str, rows: list[Row], settled: list[Transition]
) -> list[Transition]:
    """Write all at once; one by one only if the count shows that some were refused."""
    cursor.execute("SAVEPOINT liteq_settle")
    cursor.executemany(statement, rows)
    refused: list[Transition] = []
    if cursor.rowcount != len(rows):
        cursor.execute("ROLLBACK TO liteq_settle")
        for row, settlement in zip(rows, settled, strict=True):
            if cursor.execute(statement, row).rowcount != 1:
                refused.append(settlement)
    cursor.execute("RELEASE liteq_settle")
    return refused
