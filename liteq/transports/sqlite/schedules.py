"""Schedules in the file: one row each, changed only by whoever has seen its last revision."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from liteq.job import NewJob
from liteq.schedule_store import REPLACED, ScheduleStore
from liteq.timetable import Firing, ScheduleRecord
from liteq.transports.sqlite import managing
from liteq.transports.sqlite.connection import Database, Unit
from liteq.transports.sqlite.doorbell import Doorbells
from liteq.transports.sqlite.lanes import Lanes
from liteq.transports.sqlite.marks import check_answers
from liteq.transports.sqlite.soundness import DAMAGED, LATEST, Columns, read_rows
from liteq.transports.sqlite.trouble import translated

__all__ = ["StoredSchedules", "count_broken", "put"]

_FIELDS = (
    *("name", "task", "spec", "policy", "next_run", "last_run", "runs", "last_job", "paused", "broken"),
    *("module", "declaration", "created", "revision"),
)
_JOB_FIELDS = (
    *("queue", "priority", "max_crashes", "ignore_result", "result_expires", "codec", "options", "payload"),
)
COLUMNS = ", ".join((*_FIELDS, *_JOB_FIELDS))
READ = f"SELECT {COLUMNS} FROM liteq_schedules"
_TICKING = "next_run IS NOT NULL AND paused = 0 AND broken IS NULL"
DUE = (
    f"SELECT rowid, CAST(name AS BLOB), {COLUMNS} FROM liteq_schedules WHERE {_TICKING} AND next_run <= ? "
    "ORDER BY next_run LIMIT ?"
)
NEXT = (
    f"SELECT next_run FROM liteq_schedules WHERE {_TICKING} AND next_run < {LATEST} ORDER BY next_run LIMIT 1"
)
MOST = 1 << 53
"""Below this a count can be raised again and again; more than that nobody has counted."""
DAMAGE = "Its row in the file is damaged; remove it and add it anew."
_UNREVISED = f"typeof(revision) <> 'integer' OR revision NOT BETWEEN 1 AND {MOST}"
# A row whose revision makes no sense, which reads as 0, may be written over, and removed.
INSERT = (
    f"INSERT INTO liteq_schedules ({COLUMNS}) VALUES ({', '.join('?' * 22)}) ON CONFLICT (name) DO UPDATE "
    f"SET ({COLUMNS}) = ({', '.join(f'excluded.{column}' for column in (*_FIELDS, *_JOB_FIELDS))}) "
    f"WHERE {_UNREVISED}"
)
UPDATE = f"UPDATE liteq_schedules SET ({COLUMNS}) = ({', '.join('?' * 22)}) WHERE name = ? AND revision = ?"
ADVANCE = (
    "UPDATE liteq_schedules SET spec = ?, next_run = ?, last_run = ?, runs = ?, last_job = ?, "
    "revision = revision + 1 WHERE name = ? AND revision = ?"
)
SET_ASIDE = (
    "UPDATE liteq_schedules SET broken = ? WHERE rowid = ? AND CAST(name AS BLOB) IS ? "
    "AND (revision IS ? OR typeof(revision) <> 'integer')"
)
REMOVE = "DELETE FROM liteq_schedules WHERE name = ?"
REMOVE_SEEN = f"{REMOVE} AND (revision = ? OR {_UNREVISED})"

_TEXT = ((str,), DAMAGED)
_MAYBE_TEXT = ((str, type(None)), DAMAGED)
_MAYBE_TIME = ((float, int, type(None)), None)
_NUMBER = ((int,), 0)
_MAYBE_BYTES = ((bytes, type(None)), None)
# In the order of the fields.
_SCHEDULE = Columns(
    *(_TEXT, _TEXT, _TEXT, _TEXT, _MAYBE_TIME, _MAYBE_TIME, _NUMBER, _MAYBE_TEXT, _NUMBER, _MAYBE_TEXT),
    *(_MAYBE_TEXT, _MAYBE_TEXT, ((float, int), 0.0), _NUMBER),
)
_JOB = Columns(
    *(_TEXT, _NUMBER, _NUMBER, _NUMBER, _MAYBE_TIME, _TEXT, _MAYBE_BYTES, ((bytes,), b"")),
)
_JOB_STARTS = len(_FIELDS)
_REVISION = _FIELDS.index("revision")
_NO_JOB: tuple[Any, ...] = (None,) * len(_JOB_FIELDS)


class StoredSchedules(ScheduleStore):
    """The schedules of one file."""

    _database: Database
    _bells: Doorbells
    _lanes: Lanes
    _insert: Callable[[Unit, Sequence[NewJob], float], list[bool]]

    def schedules(self, names: Sequence[str] | None = None) -> list[ScheduleRecord]:
        with self._reading() as source:
            if names is None:
                rows = read_rows(source, f"{READ} ORDER BY name")
            else:
                marks = ", ".join("?" * len(names))
                rows = read_rows(source, f"{READ} WHERE name IN ({marks}) ORDER BY name", names)
        return [_record(row) for row in rows]

    def save_schedules(self, records: Sequence[ScheduleRecord]) -> list[bool]:
        with self._database.write() as unit:
            cursor = unit.connection.cursor()
            saved = [_save(cursor, record) for record in records]
            for record, done in zip(records, saved, strict=True):
                if done and record.job is not None:
                    # Where the task lives is stored with its lane, for workers that are given the file only.
                    self._lanes.number(unit, record.job.queue, record.task)
            if any(saved):
                unit.after_commit.append(self._bells.ring_for_schedules)
        return saved

    def remove_schedules(self, names: Sequence[str], seen: Sequence[int] | None = None) -> list[bool]:
        which = [(name,) for name in names] if seen is None else list(zip(names, seen, strict=True))
        statement = REMOVE if seen is None else REMOVE_SEEN
        with self._database.write() as unit:
            cursor = unit.connection.cursor()
            removed = [cursor.execute(statement, one).rowcount == 1 for one in which]
            if any(removed):
                unit.after_commit.append(self._bells.ring_for_schedules)
        return removed

    def next_tick(self) -> float | None:
        with self._reading() as source:
            check_answers(source, self._database.path)
            rows = source.execute(NEXT).fetchall()
        return float(rows[0][0]) if rows else None

    def due_schedules(self, now: float, limit: int = 100) -> list[ScheduleRecord]:
        with self._reading() as source:
            rows = read_rows(source, DUE, (now, limit))
        found: list[ScheduleRecord] = []
        damaged: list[tuple[object, ...]] = []
        for rowid, name, *row in rows:
            record = _record(row)
            if record.broken is None and record.name.encode("utf-8", "surrogatepass") == name:
                found.append(record)
            else:
                damaged.append((DAMAGE, rowid, name, row[_REVISION]))
        if damaged:
            # Nobody could move them on, and they would be due for ever, in front of all others.
            with self._database.write() as unit:
                unit.connection.cursor().executemany(SET_ASIDE, damaged)
        return found

    def fire(self, firings: Sequence[Firing], now: float) -> list[bool]:
        revoked: list[str] = []
        with self._database.write() as unit:
            cursor = unit.connection.cursor()
            fired = [_advance(cursor, firing.schedule) for firing in firings]
            counting = [firing for firing, counts in zip(firings, fired, strict=True) if counts]
            # Before the new jobs, one of which may have the id of one that gives way.
            for firing in counting:
                done = managing.revoke(cursor, firing.revoked, now, REPLACED)
                revoked += [job_id for job_id, was in zip(firing.revoked, done, strict=True) if was]
            jobs = [job for firing in counting for job in firing.jobs]
            if jobs:
                self._insert(unit, jobs, now)
            if revoked:
                unit.after_commit.append(lambda: self._bells.ring_for_results(revoked))
        return fired

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | sqlite3.Cursor]:
        """Lend what to read with: what this thread's user has written in an open transaction is seen too."""
        unit = self._database.joined()
        if unit is None:
            with self._database.read() as connection:
                yield connection
            return
        lent = unit.connection
        # What rows and texts are to the user, who may have set that, is not what they are here.
        text_factory = lent.text_factory
        with translated(self._database.path), closing(lent.cursor()) as cursor:
            cursor.row_factory = None
            lent.text_factory = str
            try:
                yield cursor
            finally:
                lent.text_factory = text_factory


def count_broken(connection: sqlite3.Connection) -> int:
    """Return how many schedules cannot run, be it that their rows are damaged."""
    return sum(_record(row).broken is not None for row in read_rows(connection, READ))


def put(cursor: sqlite3.Cursor, record: ScheduleRecord) -> None:
    """Store a schedule that is not there as it is, its revision included."""
    cursor.execute(INSERT, _row(replace(record, revision=max(0, record.revision - 1))))


def _save(cursor: sqlite3.Cursor, record: ScheduleRecord) -> bool:
    row = _row(record)
    if record.revision == 0:
        return cursor.execute(INSERT, row).rowcount == 1
    return cursor.execute(UPDATE, (*row, record.name, record.revision)).rowcount == 1


def _advance(cursor: sqlite3.Cursor, to: ScheduleRecord) -> bool:
    changed = cursor.execute(
        ADVANCE, (to.spec, to.next_run, to.last_run, to.runs, to.last_job, to.name, to.revision)
    )
    return changed.rowcount == 1


def _row(record: ScheduleRecord) -> tuple[Any, ...]:
    job = record.job
    template = _NO_JOB
    if job is not None:
        template = (
            *(job.queue, job.priority, job.max_crashes, job.ignore_result, job.result_expires),
            *(job.codec, job.options, job.payload),
        )
    return (
        *(record.name, record.task, record.spec, record.policy, record.next_run, record.last_run),
        *(record.runs, record.last_job, record.paused, record.broken, record.module, record.declaration),
        *(record.created, record.revision + 1),
        *template,
    )


def _record(row: Sequence[Any]) -> ScheduleRecord:
    told, template = row[:_JOB_STARTS], row[_JOB_STARTS:]
    has_job = template[-1] is not None
    sound = _SCHEDULE.are_sound(told) and (not has_job or _JOB.are_sound(template))
    fields: dict[str, Any] = dict(zip(_FIELDS, _SCHEDULE.mend(told), strict=True))
    fields["paused"] = bool(fields["paused"])
    for count, least in (("runs", 0), ("revision", 1)):
        if not least <= fields[count] <= MOST:
            fields[count], sound = 0, False
    if not sound:
        fields["broken"] = fields["broken"] or DAMAGE
    return ScheduleRecord(**fields, job=_job(fields["task"], _JOB.mend(template)) if has_job else None)


def _job(task: str, template: Sequence[Any]) -> NewJob:
    fields: dict[str, Any] = dict(zip(_JOB_FIELDS, template, strict=True))
    fields["ignore_result"] = bool(fields["ignore_result"])
    return NewJob(id="", task=task, **fields)
