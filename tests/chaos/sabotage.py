"""Faults that a tool must find: each breaks liteq in its process, as somebody could by mistake."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence

from liteq.job import NewJob, Transition
from liteq.timetable import ScheduleRecord
from liteq.transports.sqlite import (
    connection,
    opening,
    producing,
    schedules,
    schema,
    settling,
    transport,
    turns,
)
from liteq.transports.sqlite.connection import Database, Unit
from liteq.transports.sqlite.lanes import Lanes

__all__ = ["FAULTS"]

FAULTS: dict[str, Callable[[], None]] = {}


def fault(function: Callable[[], None]) -> Callable[[], None]:
    FAULTS[function.__name__.replace("_", " ")] = function
    return function


@fault
def a_settle_in_two_transactions() -> None:
    def settle(cursor: sqlite3.Cursor, settlements: Sequence[Transition], now: float) -> list[Transition]:
        refused = []
        for settlement in settlements:
            refused += settling.settle(cursor, [settlement], now)
            cursor.execute("COMMIT")
            cursor.execute("BEGIN IMMEDIATE")
        return refused

    turns.settle = settle


@fault
def a_body_stored_after_its_job_was_committed() -> None:
    def insert_jobs(unit: Unit, lanes: Lanes, jobs: Sequence[NewJob], now: float) -> list[bool]:
        bodies, producing.ADD_BODY = (
            producing.ADD_BODY,
            "DELETE FROM liteq_bodies WHERE ? IS NULL AND ? IS NULL",
        )
        stored = producing.insert_jobs(unit, lanes, jobs, now)
        producing.ADD_BODY = bodies
        unit.connection.execute("COMMIT")
        unit.connection.execute("BEGIN IMMEDIATE")
        producing._add_bodies(unit.connection.cursor(), jobs)
        return stored

    transport.insert_jobs = insert_jobs


@fault
def an_answer_before_the_commit() -> None:
    def leave(self: Database, unit: Unit, error: BaseException | None) -> None:
        # It is stored with the next write, or when the file is closed.
        kept.append(unit)

    kept: list[Unit] = []
    Database.leave = leave


@fault
def an_error_of_the_commit_that_is_swallowed() -> None:
    def commit(self: Database, unit: Unit) -> None:
        with contextlib.suppress(sqlite3.Error):
            unit.connection.execute("COMMIT")
        unit.committed = True

    Database._commit = commit


@fault
def an_error_that_is_not_translated() -> None:
    connection.translate = lambda error, path: error


@fault
def a_migration_in_two_transactions() -> None:
    def run_migrations(connection: sqlite3.Connection) -> None:
        schema.run_migrations(connection, [schema.SCHEMA[:3]])
        connection.execute("DELETE FROM liteq_meta")
        schema.run_migrations(connection, [schema.SCHEMA[3:]])

    opening.run_migrations = run_migrations


@fault
def a_tick_in_two_transactions() -> None:
    def advance_and_commit(cursor: sqlite3.Cursor, to: ScheduleRecord) -> bool:
        advanced = advance(cursor, to)
        cursor.execute("COMMIT")
        cursor.execute("BEGIN IMMEDIATE")
        return advanced

    advance, schedules._advance = schedules._advance, advance_and_commit


@fault
def a_tick_that_asks_for_no_revision() -> None:
    schedules.ADVANCE = schedules.ADVANCE.replace("revision = ?", "? IS NOT NULL")


@fault
def a_full_durability_that_is_normal() -> None:
    def bound_wal(connection: sqlite3.Connection) -> None:
        bound(connection)
        connection.execute("PRAGMA synchronous = NORMAL")

    bound, opening.bound_wal = opening.bound_wal, bound_wal


@fault
def a_maintainer_that_does_not_checkpoint() -> None:
    Database.checkpoint = lambda self: 0
