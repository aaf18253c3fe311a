"""What `liteq doctor` looks at in a queue's file."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from liteq.job import Finding, WorkerRecord
from liteq.move_store import findings
from liteq.transports.local.room import free_space
from liteq.transports.sqlite.checkpoint import WAL_LIMIT
from liteq.transports.sqlite.file_system import NETWORK_FILE_SYSTEMS, file_system_of
from liteq.transports.sqlite.marks import read_mark
from liteq.transports.sqlite.place import is_private, is_shared
from liteq.transports.sqlite.reserve import LOW_SPACE, RESERVE
from liteq.transports.sqlite.schedules import count_broken
from liteq.transports.sqlite.schema import VERSION, read_version
from liteq.transports.sqlite.soundness import LATEST, UNSOUND

__all__ = ["examine", "has_wal_fix", "sqlite_version"]


def has_wal_fix(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Tell whether this SQLite has the fix for checkpoints that race a writer (3.51.3, and two backports)."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def sqlite_version() -> str:
    """Return SQLite's version and whether it has the WAL fix, for people."""
    note = (
        "with the WAL fix"
        if has_wal_fix()
        else "without the WAL fix; liteq keeps checkpoints and writers apart"
    )
    return f"{sqlite3.sqlite_version} ({note})"


def examine(
    connection: sqlite3.Connection,
    path: Path,
    workers: Sequence[WorkerRecord],
    wal_size: int,
    reserve_size: int,
    now: float,
) -> list[Finding]:
    """Look at everything that could bite."""
    return [
        _integrity(connection),
        Finding("format", read_version(connection) == VERSION, f"version {read_version(connection)}"),
        *findings(read_mark(connection)),
        Finding("SQLite", True, sqlite_version()),
        _file_system(path),
        *_permissions(path),
        _wal(wal_size),
        _free_space(path),
        _reserve(reserve_size, bool(workers)),
        _rows(connection),
        _schedules(connection),
        *_workers(workers, now),
        _clock(connection, now),
    ]


def _integrity(connection: sqlite3.Connection) -> Finding:
    problems = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
    ok = problems == ["ok"]
    advice = None if ok else "Stop all workers, keep a copy of the file, and restore a backup."
    return Finding("integrity", ok, "; ".join(problems), advice)


def _file_system(path: Path) -> Finding:
    kind = file_system_of(path.parent)
    ok = kind not in NETWORK_FILE_SYSTEMS
    return Finding("file system", ok, kind or "unknown", None if ok else "Move the queue to a local disk.")


def _permissions(path: Path) -> Iterator[Finding]:
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    advice = None if writable else "Make the file and its folder writable for this user."
    yield Finding("writable", writable, "file and folder" if writable else "not by this user", advice)
    mode = "" if sys.platform == "win32" else f"mode {stat.S_IMODE(path.stat().st_mode):04o}"
    private = is_private(path)
    if not private and is_shared(path):
        yield Finding("private", True, f"{mode}, shared with its group; workers need -A")
        return
    advice = None if private else "A worker given only this file will ask for -A; chmod 600 the file."
    yield Finding("private", private, mode or "by its folder", advice)


def _wal(size: int) -> Finding:
    ok = size <= 2 * WAL_LIMIT
    advice = (
        None
        if ok
        else "A program reads for a long time and keeps checkpoints from finishing; find and end it."
    )
    return Finding("WAL size", ok, f"{size / 1e6:.1f} MB", advice)


def _rows(connection: sqlite3.Connection) -> Finding:
    (count,) = connection.execute(f"SELECT count(*) FROM liteq_jobs WHERE {UNSOUND}").fetchone()
    if not count:
        return Finding("rows", True, "no unfinished job is damaged")
    advice = (
        "Somebody else has written to this file, or it was damaged. A worker ends such jobs as FAILURE when "
        "it meets them. Those whose stage is none of 0 to 3 it never meets: delete them by hand."
    )
    return Finding(
        "rows", False, f"{count} unfinished {'job is' if count == 1 else 'jobs are'} damaged", advice
    )


def _schedules(connection: sqlite3.Connection) -> Finding:
    broken = count_broken(connection)
    if not broken:
        return Finding("schedules", True, "none is broken")
    advice = "`liteq schedules` says why; mend or remove them. The others go on."
    return Finding("schedules", False, f"{broken} {'is' if broken == 1 else 'are'} broken", advice)


def _free_space(path: Path) -> Finding:
    free = free_space(path.parent)
    ok = free >= LOW_SPACE
    advice = "A burst of jobs may fill the disk, and then jobs are refused; free some space."
    return Finding("free space", ok, f"{free / 1e6:,.0f} MB", None if ok else advice)


def _reserve(size: int, has_workers: bool) -> Finding:
    if size >= RESERVE:
        return Finding("reserve", True, f"{size / 1e6:.1f} MB for what workers settle on a full disk")
    if not size and not has_workers:
        return Finding("reserve", True, "made when a worker runs")
    found = f"{size / 1e6:.1f} of {RESERVE / 1e6:.1f} MB"
    advice = "Workers make it whole when there is room; until then they may have to wait with their results."
    return Finding("reserve", False, found, advice)


def _workers(workers: Sequence[WorkerRecord], now: float) -> Iterator[Finding]:
    if not workers:
        yield Finding("workers", True, "none registered")
    for worker in workers:
        name = f"worker {worker.info.name}"
        if worker.alive is False:
            detail = f"dead, holds {worker.leases} jobs"
            yield Finding(name, False, detail, "The next worker to start, or one that runs, takes them over.")
        elif worker.leases and worker.expires < now:
            detail = f"silent for {now - worker.expires:.0f} s past its lease, holds {worker.leases} jobs"
            yield Finding(name, False, detail, "Its process is stopped or hangs; resume or end it.")
        else:
            state = "alive" if worker.alive else "unknown whether alive (its side file cannot be seen)"
            yield Finding(name, True, f"{state}, pid {worker.info.pid}, holds {worker.leases} jobs")


def _clock(connection: sqlite3.Connection, now: float) -> Finding:
    newest = connection.execute(
        f"SELECT enqueued FROM liteq_jobs WHERE enqueued < {LATEST} ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    ahead = 0.0 if newest is None else newest[0] - now
    ok = ahead < 60
    advice = None if ok else "The clock was set back; jobs will seem to come from the future for that long."
    return Finding("clock", ok, "in step" if ok else f"the newest job is {ahead:.0f} s ahead of it", advice)
