"""Moving what a file keeps to another store, and taking in what comes from one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any

from liteq.job import TaskOrigin
from liteq.move_store import MOST_BYTES, MoveStore, in_use, refuse_holders
from liteq.moving import MoveMark, StoredJob
from liteq.timetable import ScheduleRecord
from liteq.transports.sqlite import marks, reading, registry, schedules, soundness
from liteq.transports.sqlite.connection import Database, Unit
from liteq.transports.sqlite.doorbell import Doorbells
from liteq.transports.sqlite.lanes import Lanes
from liteq.transports.sqlite.place import SideFolder
from liteq.transports.sqlite.schema import INLINE_PAYLOAD

__all__ = ["MovableFile"]

SIZES = """
    SELECT seq, coalesce(length(payload), (SELECT length(b.payload) FROM liteq_bodies b
        WHERE b.seq = liteq_jobs.seq), 0) + coalesce(length(result), 0)
    FROM liteq_jobs WHERE seq > ? AND stage <> 2 ORDER BY seq LIMIT ?"""
# In the order of `StoredJob`; the third says the queue as well.
EXPORT = f"""
    SELECT seq, id, lane, NULL, stage, state, priority, enqueued, due, eta, expires, started, done, discard,
        attempts, retries, crashes, max_crashes, ignore_result, result_expires, coalesce(codec, 'msgpack'),
        {reading.PAYLOAD}, options, result, reason
    FROM liteq_jobs WHERE seq > ? AND seq <= ? AND stage <> 2 ORDER BY seq"""
ADOPT = (
    "INSERT INTO liteq_jobs (id, lane, stage, state, priority, enqueued, due, eta, expires, started, done, "
    "discard, attempts, retries, crashes, max_crashes, ignore_result, result_expires, codec, options, "
    f"result, reason, payload) VALUES ({', '.join('?' * 23)})"
)
ADD_BODY = "INSERT INTO liteq_bodies (seq, payload) VALUES (?, ?)"
DAMAGED_JOBS = f"SELECT seq FROM liteq_jobs WHERE {soundness.UNSOUND}"
LOST_JOBS = """
    SELECT seq FROM liteq_jobs WHERE stage < 2 AND lane NOT IN (
        SELECT l.id FROM liteq_lanes l JOIN liteq_queues q ON q.id = l.queue
            JOIN liteq_tasks t ON t.id = l.task)"""
HAS_UNIQUE_IDS = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = 'liteq_ids'"
REPEATED_IDS = """
    SELECT seq, stage < 2 FROM liteq_jobs WHERE seq NOT IN (SELECT min(seq) FROM liteq_jobs GROUP BY id)"""
UNUSUAL_IDS = "SELECT seq, CAST(id AS BLOB), stage < 2 FROM liteq_jobs WHERE id GLOB '*[^ -~]*'"
RENAME = f"UPDATE liteq_jobs SET id = '{soundness.DAMAGED} ' || seq WHERE seq = ?"
DISCARD = "DELETE FROM liteq_jobs WHERE seq IN (SELECT seq FROM liteq_jobs LIMIT ?)"
KEEP_ORIGIN = """
    INSERT INTO liteq_tasks (name, module, root, directory) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE
    SET module = excluded.module, root = excluded.root, directory = excluded.directory WHERE module IS NULL"""

FIRST = -(1 << 63)
"""Every number of a job is greater; but for one, which SQLite never gives by itself."""
AT_ONCE = 500
"""Names in one question; old versions of SQLite take 999."""
_STAGES = {station: stage for stage, station in reading.STATIONS.items()}
_STORED = soundness.Columns(
    *(reading.NUMBER, reading.TEXT, reading.ANYTHING, reading.ANYTHING, reading.NUMBER, reading.TEXT),
    *(reading.NUMBER, reading.TIME, reading.TIME, reading.MAYBE_TIME, reading.MAYBE_TIME, reading.MAYBE_TIME),
    *(reading.MAYBE_TIME, reading.MAYBE_TIME, reading.NUMBER, reading.NUMBER, reading.NUMBER, reading.NUMBER),
    *(reading.ANYTHING, reading.MAYBE_TIME, reading.TEXT, reading.BYTES, reading.MAYBE_BYTES),
    *(reading.MAYBE_BYTES, reading.MAYBE_TEXT),
)
_ID, _LANE = 1, 2


class MovableFile(MoveStore):
    """The moves from and to one file."""

    _database: Database
    _bells: Doorbells
    _lanes: Lanes
    _side: SideFolder

    def moving(self) -> MoveMark | None:
        with self._database.read() as connection:
            return marks.read_mark(connection)

    def begin_move(self, move_id: str, target: str, now: float) -> MoveMark:
        with self._database.write(also_closed=True) as unit:
            connection = unit.connection
            mark = marks.read_mark(connection)
            if mark is None:
                refuse_holders(self.url, registry.list_workers(connection, self._side))
                connection.execute("DELETE FROM liteq_workers")
                _end_damaged(connection, now)
                mark = MoveMark(move_id, target, now)
                marks.write_mark(connection, mark)
            return mark

    def export(self, after: int | None, limit: int) -> list[StoredJob]:
        first = FIRST if after is None else after
        with self._database.read() as connection:
            last = _end_of_batch(connection, first, limit)
            rows = [] if last is None else soundness.read_rows(connection, EXPORT, (first, last))
            return [_stored(connection, self._lanes, row) for row in rows]

    def end_move(self, move_id: str, now: float) -> bool:
        with self._database.write(also_closed=True) as unit:
            mark = marks.read_mark(unit.connection)
            if mark is None or mark.id != move_id:
                return False
            if mark.ended is None:
                marks.write_mark(unit.connection, mark._replace(ended=now))
            return True

    def discard_moved(self, move_id: str, limit: int) -> int:
        with self._database.write(also_closed=True) as unit:
            mark = marks.read_mark(unit.connection)
            if mark is None or mark.id != move_id or mark.ended is None:
                return 0
            gone = unit.connection.execute(DISCARD, (limit,)).rowcount
            return gone + unit.connection.execute("DELETE FROM liteq_schedules").rowcount

    def reopen(self, move_id: str) -> bool:
        with self._database.write(also_closed=True) as unit:
            mark = marks.read_mark(unit.connection)
            if mark is None or mark.id != move_id:
                return False
            marks.remove_mark(unit.connection)
            return True

    def adopt(
        self,
        move_id: str,
        seen: bytes | None,
        progress: bytes,
        jobs: Sequence[StoredJob] = (),
        schedules: Sequence[ScheduleRecord] = (),
        origins: Sequence[TaskOrigin] = (),
    ) -> bool:
        is_note = not (jobs or schedules or origins)
        with self._database.write(also_closed=is_note) as unit:
            if marks.read_progress(unit.connection, move_id) != seen:
                return False
            self._refuse_taken(unit.connection, jobs, schedules)
            for origin in origins:
                facts = (origin.task, origin.module, origin.root, origin.directory)
                unit.connection.execute(KEEP_ORIGIN, facts)
            for job in jobs:
                _adopt(unit, self._lanes, job)
            _save(unit.connection, schedules)
            marks.write_progress(unit.connection, move_id, progress)
            self._ring_for(unit, jobs, schedules)
            return True

    def move_progress(self, move_id: str) -> bytes | None:
        with self._database.read() as connection:
            return marks.read_progress(connection, move_id)

    def _refuse_taken(
        self, connection: sqlite3.Connection, jobs: Sequence[StoredJob], schedules: Sequence[ScheduleRecord]
    ) -> None:
        taken = _present(connection, "SELECT id FROM liteq_jobs WHERE id", [job.id for job in jobs])
        names = [record.name for record in schedules]
        named = _present(connection, "SELECT name FROM liteq_schedules WHERE name", names)
        if taken or named:
            raise in_use(self.url, taken, named)

    def _ring_for(self, unit: Unit, jobs: Sequence[StoredJob], schedules: Sequence[ScheduleRecord]) -> None:
        queues = [job.queue for job in jobs if job.station != "finished"]
        finished = [job.id for job in jobs if job.station == "finished"]
        if queues:
            unit.after_commit.append(partial(self._bells.ring_for_jobs, queues))
        if finished:
            unit.after_commit.append(partial(self._bells.ring_for_results, finished))
        if schedules:
            unit.after_commit.append(self._bells.ring_for_schedules)


def _end_damaged(connection: sqlite3.Connection, now: float) -> None:
    """End the jobs that a worker would have found damaged: nobody could tell that of them elsewhere."""
    for statement, complaint in (
        (DAMAGED_JOBS, None),
        (LOST_JOBS, "the queue and the task that it names are not there"),
    ):
        found = connection.execute(statement).fetchall()
        soundness.quarantine(connection, [seq for (seq,) in found], now, complaint)
    for seq, name, is_waiting in connection.execute(UNUSUAL_IDS).fetchall():
        try:
            name.decode()
        except UnicodeDecodeError:
            _rename(connection, seq, now, is_waiting, "its id is not written in UTF-8")
    if connection.execute(HAS_UNIQUE_IDS).fetchone() is None:
        for seq, is_waiting in connection.execute(REPEATED_IDS).fetchall():
            _rename(connection, seq, now, is_waiting, "another job has its id")


def _rename(connection: sqlite3.Connection, seq: int, now: float, is_waiting: bool, complaint: str) -> None:
    """Give a job an id of its own, and end it if it was to run: nobody knows it by that."""
    if is_waiting:
        soundness.quarantine(connection, [seq], now, complaint)
    connection.execute(RENAME, (seq,))


def _end_of_batch(connection: sqlite3.Connection, first: int, limit: int) -> int | None:
    """Return the number of the last job that goes with the next batch; None if there is no job."""
    last, size = None, 0
    for seq, length in connection.execute(SIZES, (first, limit)):
        size += length
        if last is not None and size > MOST_BYTES:
            break
        last = seq
    return last


def _stored(connection: sqlite3.Connection, lanes: Lanes, row: Sequence[Any]) -> StoredJob:
    job = StoredJob._make(_STORED.mend(row))
    lane = lanes.name(connection, row[_LANE])
    return job._replace(
        # Several may have none.
        id=job.id if isinstance(row[_ID], str) else f"{soundness.DAMAGED} {job.seq}",
        task=lane.task,
        queue=lane.queue,
        station=reading.STATIONS.get(row[_LANE + 2], "finished"),
        ignore_result=bool(job.ignore_result),
    )


def _adopt(unit: Unit, lanes: Lanes, job: StoredJob) -> None:
    is_large = len(job.payload) > INLINE_PAYLOAD
    added = unit.connection.execute(
        ADOPT,
        (
            *(job.id, lanes.number(unit, job.queue, job.task), _STAGES[job.station], str(job.state)),
            *(job.priority, job.enqueued, job.due, job.eta, job.expires, job.started, job.done),
            *(job.discard, job.attempts, job.retries, job.crashes, job.max_crashes, job.ignore_result),
            *(job.result_expires, None if job.codec == "msgpack" else job.codec, job.options, job.result),
            *(job.reason, None if is_large else job.payload),
        ),
    )
    if is_large:
        unit.connection.execute(ADD_BODY, (added.lastrowid, job.payload))


def _save(connection: sqlite3.Connection, records: Sequence[ScheduleRecord]) -> None:
    for record in records:
        schedules.put(connection.cursor(), record)


def _present(connection: sqlite3.Connection, question: str, names: Sequence[str]) -> list[str]:
    """Return those of the names that the question finds."""
    found: list[str] = []
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        marked = ", ".join("?" * len(some))
        found += [name for (name,) in connection.execute(f"{question} IN ({marked})", some)]
    return found
