"""The worker registry: who may hold leases, until when, and whether they are alive."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from liteq.job import Running, WorkerInfo, WorkerRecord
from liteq.transports.local.machine import boot_id
from liteq.transports.local.oslock import is_free
from liteq.transports.local.slot import read_slot
from liteq.transports.sqlite.place import SideFolder
from liteq.transports.sqlite.soundness import DAMAGED, LATEST, Columns, read_rows

__all__ = [
    "add",
    "expel",
    "is_registered",
    "life_names",
    "list_workers",
    "renew",
    "renew_if_needed",
    "with_leases",
]

ADD = (
    "INSERT INTO liteq_workers (name, hostname, pid, supervisor, queues, started, expires, "
    "visibility_timeout, boot, life) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# A worker whose times are none is as good as not registered: it registers anew, and others recover its jobs.
LEASE_OF = (
    "SELECT expires, visibility_timeout FROM liteq_workers WHERE holder = ? "
    f"AND expires < {LATEST} AND visibility_timeout BETWEEN 0 AND {LATEST}"
)
RENEW = "UPDATE liteq_workers SET expires = ? WHERE holder = ?"
EXPEL = "DELETE FROM liteq_workers WHERE holder = ?1 AND (?2 IS NULL OR expires = ?2)"
HAS_LEASES = "SELECT 1 FROM liteq_jobs WHERE stage = 2 AND holder = ? LIMIT 1"
WORKERS = """
    SELECT w.holder, name, hostname, pid, supervisor, queues, started, expires, visibility_timeout,
        boot, life,
        (SELECT count(*) FROM liteq_jobs j WHERE j.stage = 2 AND j.holder = w.holder)
    FROM liteq_workers w ORDER BY w.holder"""
ORPHANS = """
    SELECT holder, count(*) FROM liteq_jobs
    WHERE stage = 2 AND typeof(holder) = 'integer' AND holder NOT IN (SELECT holder FROM liteq_workers)
    GROUP BY holder"""

_TEXT = ((str,), DAMAGED)
_NUMBER = ((int,), 0)
_TIME = ((float, int), 0.0)
# In the order of `WORKERS`.
_COLUMNS = Columns(
    *(_NUMBER, _TEXT, _TEXT, _NUMBER, _NUMBER, ((str, type(None)), None), _TIME, _TIME, _TIME),
    *(_TEXT, _TEXT, _NUMBER),
)
_LIFE = re.compile(r"[0-9]+-[0-9a-f]+")
"""What `Lives` calls a life; anything else could name a file outside of the side folder."""
_MOST_PROCESSES = 2**31


class _Row(NamedTuple):
    """A row of `WORKERS`."""

    holder: int
    name: str
    hostname: str
    pid: int
    supervisor: int
    queues: str | None
    started: float
    expires: float
    visibility_timeout: float
    boot: str
    life: str
    leases: int


def add(cursor: sqlite3.Cursor, worker: WorkerInfo, life: str, visibility_timeout: float, now: float) -> int:
    """Add a worker; AUTOINCREMENT sees to it that its number is never used again."""
    queues = None if worker.queues is None else json.dumps(worker.queues)
    facts = (worker.name, worker.hostname, worker.pid, worker.supervisor, queues)
    times = (now, now + visibility_timeout, visibility_timeout)
    cursor.execute(ADD, (*facts, *times, boot_id(), life))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def is_registered(connection: sqlite3.Connection | sqlite3.Cursor, holder: int) -> bool:
    """Tell whether the holder may claim and renew."""
    return connection.execute(LEASE_OF, (holder,)).fetchone() is not None


def renew_if_needed(cursor: sqlite3.Cursor, holder: int, now: float) -> bool:
    """Renew a holder's leases if a third of their time has passed; False if it is not registered."""
    row = cursor.execute(LEASE_OF, (holder,)).fetchone()
    if row is None:
        return False
    expires, visibility_timeout = row
    # A clock set back leaves an expiry far ahead, which must not keep a dead holder's leases alive.
    if not 0 <= expires - now - visibility_timeout * 2 / 3 <= visibility_timeout / 3:
        cursor.execute(RENEW, (now + visibility_timeout, holder))
    return True


def with_leases(connection: sqlite3.Connection, holders: Collection[int]) -> list[int]:
    """Return those of the holders that have any lease."""
    return [holder for holder in holders if connection.execute(HAS_LEASES, (holder,)).fetchone()]


def renew(cursor: sqlite3.Cursor, holders: Collection[int], expires: float) -> None:
    """Set the expiry of registered holders."""
    cursor.executemany(RENEW, [(expires, holder) for holder in holders])


def expel(cursor: sqlite3.Cursor, holder: int, seen_expires: float | None) -> bool:
    """Unregister a holder, if it has not renewed since `seen_expires`; tell whether it is out."""
    cursor.execute(EXPEL, (holder, seen_expires))
    return not is_registered(cursor, holder)


def life_names(connection: sqlite3.Connection) -> set[str]:
    """Return the names of the lives of all registered workers."""
    return {row[0] for row in read_rows(connection, "SELECT life FROM liteq_workers")}


def list_workers(connection: sqlite3.Connection, side: SideFolder) -> list[WorkerRecord]:
    """List the registered workers, and as dead those that hold leases without being registered."""
    this_boot = boot_id()
    records = []
    for found in read_rows(connection, WORKERS):
        row = _Row._make(_COLUMNS.mend(found))
        try:
            if not (_COLUMNS.are_sound(found) and _is_sound(row)):
                raise ValueError("no row of a worker")
            served = None if row.queues is None else _queue_names(row.queues)
        except ValueError:
            records.append(_damaged(row))
        else:
            records.append(_record(row, served, side, this_boot))
    for holder, leases in read_rows(connection, ORPHANS):
        slot = side.slot(holder)
        records.append(_orphan(holder, leases, read_slot(slot), slot))
    return records


def _queue_names(written: str) -> tuple[str, ...]:
    try:
        names = json.loads(written)
    except RecursionError as error:
        raise ValueError("no list of queue names") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("no list of queue names")
    return tuple(names)


def _is_sound(row: _Row) -> bool:
    """Tell whether a row with values of the right types can be what a worker has written."""
    return (
        0 <= row.pid < _MOST_PROCESSES
        and 0 <= row.supervisor < _MOST_PROCESSES
        and max(row.started, row.expires, row.visibility_timeout) < LATEST
        and row.visibility_timeout >= 0
        and _LIFE.fullmatch(row.life) is not None
    )


def _is_alive(life: Path) -> bool | None:
    try:
        # Only somebody who deletes what is not his makes the file of a registered worker go away.
        return not is_free(life) if life.exists() else None
    except OSError:
        # A lock that cannot be looked at proves nothing; then the expiry of its leases decides.
        return None


def _record(row: _Row, served: tuple[str, ...] | None, side: SideFolder, this_boot: str) -> WorkerRecord:
    # A worker without a lease runs nothing, and looking at its slot would cost each idle second 20 µs.
    slot = side.slot(row.holder) if row.leases else None
    return WorkerRecord(
        holder=row.holder,
        info=WorkerInfo(row.name, row.hostname, row.pid, row.supervisor, served),
        started=row.started,
        expires=row.expires,
        visibility_timeout=row.visibility_timeout,
        alive=row.boot == this_boot and _is_alive(side.life(row.life)),
        running=None if slot is None else read_slot(slot),
        trusted=row.boot == this_boot and (slot is None or slot.exists()),
        leases=row.leases,
    )


def _damaged(row: _Row) -> WorkerRecord:
    """Describe a worker whose row is not what it wrote: it counts as dead, and starts anew if it is not."""
    return WorkerRecord(
        holder=row.holder,
        info=WorkerInfo(row.name, row.hostname, 0, 0),
        started=0.0,
        expires=0.0,
        visibility_timeout=0.0,
        alive=False,
        trusted=False,
        leases=row.leases,
    )


def _orphan(holder: int, leases: int, running: Running | None, slot: Path) -> WorkerRecord:
    """Describe one that was expelled, or that unregistered while it still held jobs."""
    return WorkerRecord(
        holder=holder,
        info=WorkerInfo("(unregistered)", "", 0, 0),
        started=0.0,
        expires=0.0,
        visibility_timeout=0.0,
        alive=False,
        running=running,
        trusted=slot.exists(),
        leases=leases,
    )
