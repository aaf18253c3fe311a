"""The tables, and how a file of an older version becomes one of this version.

One row of `liteq_jobs` tells the whole story of a job. Its `stage` says where it stands (0 ready,
1 delayed, 2 leased, 3 finished), and each stage has a small partial index of its own: with one index
for ready and delayed jobs together, 50,000 delayed jobs made a claim 185 times slower. A *lane* is one
pair of queue name and task, interned to an integer: a worker claims from the lanes that it serves and
knows, so that jobs of tasks it does not know cost it nothing. Payloads above `INLINE_PAYLOAD` bytes live in
`liteq_bodies`, because SQLite writes a row anew with every change of it (ADR 2).

The version is a row of `liteq_meta` and not `PRAGMA user_version`, which may be in use by the
application whose database this is. All names start with `liteq_` for the same reason. In a file
that a move has closed it is a text, such as `2 moved` (`liteq.transports.sqlite.marks`).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

__all__ = [
    "CLOSED",
    "INLINE_PAYLOAD",
    "MIGRATIONS",
    "READ_VERSION",
    "SCHEMA",
    "VERSION",
    "read_version",
    "run_migrations",
    "version_in",
]

INLINE_PAYLOAD = 1024
"""Bytes; larger payloads are kept apart from the job's row."""

VERSION_1: tuple[str, ...] = (
    "CREATE TABLE liteq_meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE liteq_queues (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    """CREATE TABLE liteq_tasks (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        module TEXT,
        root TEXT,
        directory TEXT
    )""",
    """CREATE TABLE liteq_lanes (
        id INTEGER PRIMARY KEY,
        queue INTEGER NOT NULL REFERENCES liteq_queues (id),
        task INTEGER NOT NULL REFERENCES liteq_tasks (id),
        UNIQUE (queue, task)
    )""",
    """CREATE TABLE liteq_workers (
        holder INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        hostname TEXT NOT NULL,
        pid INTEGER NOT NULL,
        supervisor INTEGER NOT NULL,
        queues TEXT,
        started REAL NOT NULL,
        expires REAL NOT NULL,
        visibility_timeout REAL NOT NULL,
        boot TEXT NOT NULL,
        life TEXT NOT NULL
    )""",
    """CREATE TABLE liteq_jobs (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        lane INTEGER NOT NULL,
        stage INTEGER NOT NULL,
        state TEXT NOT NULL,
        priority INTEGER NOT NULL,
        due REAL NOT NULL,
        eta REAL,
        expires REAL,
        holder INTEGER,
        token INTEGER,
        attempts INTEGER NOT NULL,
        retries INTEGER NOT NULL,
        crashes INTEGER NOT NULL,
        max_crashes INTEGER NOT NULL,
        ignore_result INTEGER NOT NULL,
        result_expires REAL,
        enqueued REAL NOT NULL,
        started REAL,
        done REAL,
        discard REAL,
        codec TEXT,
        options BLOB,
        reason TEXT,
        result BLOB,
        payload BLOB
    )""",
    "CREATE TABLE liteq_bodies (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL)",
    """CREATE TRIGGER liteq_drop_body AFTER DELETE ON liteq_jobs WHEN old.payload IS NULL
        BEGIN DELETE FROM liteq_bodies WHERE seq = old.seq; END""",
    "CREATE UNIQUE INDEX liteq_ids ON liteq_jobs (id)",
    "CREATE INDEX liteq_ready ON liteq_jobs (lane, priority DESC, due) WHERE stage = 0",
    "CREATE INDEX liteq_delayed ON liteq_jobs (due) WHERE stage = 1",
    "CREATE INDEX liteq_leased ON liteq_jobs (holder) WHERE stage = 2",
    "CREATE INDEX liteq_finished ON liteq_jobs (discard) WHERE stage = 3",
    "CREATE INDEX liteq_expiring ON liteq_jobs (expires) WHERE expires IS NOT NULL AND stage < 2",
)

VERSION_2: tuple[str, ...] = (
    """CREATE TABLE liteq_schedules (
        name TEXT NOT NULL PRIMARY KEY,
        task TEXT NOT NULL,
        spec TEXT NOT NULL,
        policy TEXT NOT NULL,
        next_run REAL,
        last_run REAL,
        runs INTEGER NOT NULL,
        last_job TEXT,
        paused INTEGER NOT NULL,
        broken TEXT,
        module TEXT,
        declaration TEXT,
        created REAL NOT NULL,
        revision INTEGER NOT NULL,
        queue TEXT,
        priority INTEGER,
        max_crashes INTEGER,
        ignore_result INTEGER,
        result_expires REAL,
        codec TEXT,
        options BLOB,
        payload BLOB
    )""",
    """CREATE INDEX liteq_ticks ON liteq_schedules (next_run)
        WHERE next_run IS NOT NULL AND paused = 0 AND broken IS NULL""",
)

SCHEMA = (*VERSION_1, *VERSION_2)
"""All that is in a file of this version."""

MIGRATIONS: tuple[Sequence[str], ...] = (VERSION_1, VERSION_2)
"""The statements that lead from version n to version n + 1; those of published versions never change."""

VERSION = len(MIGRATIONS)

CLOSED = " moved"
"""Behind the number, in a file that is closed because it was moved, or is being moved."""

READ_VERSION = "SELECT value FROM liteq_meta WHERE key = 'version'"


def read_version(connection: sqlite3.Connection) -> int | None:
    """Return the version of the liteq tables in this database: 0 if it has none, None if it is damaged."""
    found = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'liteq_meta'"
    ).fetchone()
    return 0 if found is None else version_in(connection.execute(READ_VERSION).fetchone())


def version_in(row: tuple[object] | None) -> int | None:
    """Return the version that a row of `READ_VERSION` says; None if it says none."""
    version = None if row is None else row[0]
    if isinstance(version, str) and re.fullmatch(f"[0-9]{{1,6}}{CLOSED}", version):
        version = int(version.removesuffix(CLOSED))
    return version if isinstance(version, int) and version > 0 else None


def run_migrations(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the tables to the newest version in one transaction; the caller keeps others out."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in migrations[read_version(connection) or 0 :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(
            "INSERT INTO liteq_meta (key, value) VALUES ('version', ?) "
            f"ON CONFLICT (key) DO UPDATE SET value = iif(value LIKE '%{CLOSED}', "
            f"excluded.value || '{CLOSED}', excluded.value)",
            (len(migrations),),
        )
        connection.execute("COMMIT")
    except BaseException:
        # After some errors, such as a full disk, SQLite has done so by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
