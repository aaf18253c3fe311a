"""The worker registry: who may hold leases, until when, and whether they are alive."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from pathlib import Path

from liteq.job import Running, WorkerInfo, WorkerRecord
from liteq.transports.sqlite.oslock import is_free
from liteq.transports.sqlite.place import SideFolder, boot_id
from liteq.transports.sqlite.slot import read_slot

__all__ = ["add", "expel", "is_registered", "list_workers", "renew", "renew_if_needed", "with_leases"]

ADD = (
    "INSERT INTO liteq_workers (name, hostname, pid, supervisor, queues, started, expires, "
    "visibility_timeout, boot, life) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
LEASE_OF = "SELECT expires, visibility_timeout FROM liteq_workers WHERE holder = ?"
RENEW = "UPDATE liteq_workers SET expires = ? WHERE holder = ?"
HAS_LEASES = "SELECT 1 FROM liteq_jobs WHERE stage = 2 AND holder = ? LIMIT 1"
WORKERS = """
    SELECT w.holder, name, hostname, pid, supervisor, queues, started, expires, visibility_timeout,
        boot, life,
        (SELECT count(*) FROM liteq_jobs j WHERE j.stage = 2 AND j.holder = w.holder)
    FROM liteq_workers w ORDER BY w.holder"""
ORPHANS = """
    SELECT holder, count(*) FROM liteq_jobs
    WHERE stage = 2 AND holder NOT IN (SELECT holder FROM liteq_workers) GROUP BY holder"""


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
    cursor.execute(
        "DELETE FROM liteq_workers WHERE holder = ?1 AND (?2 IS NULL OR expires = ?2)", (holder, seen_expires)
    )
    return not is_registered(cursor, holder)


def list_workers(connection: sqlite3.Connection, side: SideFolder) -> list[WorkerRecord]:
    """List the registered workers, and as dead those that hold leases without being registered."""
    this_boot = boot_id()
    records = []
    for row in connection.execute(WORKERS).fetchall():
        holder, name, hostname, pid, supervisor, queues, started, expires, timeout, boot, life, leases = row
        served = None if queues is None else tuple(json.loads(queues))
        # A worker without a lease runs nothing, and looking at its slot would cost each idle second 20 µs.
        slot = side.slot(holder) if leases else None
        records.append(
            WorkerRecord(
                holder=holder,
                info=WorkerInfo(name, hostname, pid, supervisor, served),
                started=started,
                expires=expires,
                visibility_timeout=timeout,
                alive=boot == this_boot and _is_alive(side.life(life)),
                running=None if slot is None else read_slot(slot),
                trusted=boot == this_boot and (slot is None or slot.exists()),
                leases=leases,
            )
        )
    for holder, leases in connection.execute(ORPHANS).fetchall():
        slot = side.slot(holder)
        records.append(_orphan(holder, leases, read_slot(slot), slot))
    return records


def _is_alive(life: Path) -> bool:
    return not is_free(life)


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
