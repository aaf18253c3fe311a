"""Moving what a store on Redis keeps to another store, and taking in what comes from one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from liteq.errors import MoveRefusedError
from liteq.job import DEFAULT_RESULT_EXPIRES, TaskOrigin, WorkerRecord
from liteq.move_store import MOST_BYTES, MoveStore, in_use, refuse_holders
from liteq.moving import MoveMark, StoredJob
from liteq.states import FAILURE
from liteq.timetable import ScheduleRecord
from liteq.transports.redis.calls import Calls
from liteq.transports.redis.doorbell import Doorbells
from liteq.transports.redis.records import DAMAGED, STATIONS, as_job, lane_of, moment_of, pack, text, unpack
from liteq.transports.redis.schedules import told_of

__all__ = ["MovableStore"]

LOOKS = 10
"""How often workers are looked at that come and go meanwhile."""
PORTION = 500
"""Jobs that one script drops; a longer one would hold up everybody else."""
_STATION, _KEEP, _DISCARD = 2, 11, 16


class MovableStore(MoveStore):
    """The moves from and to one store."""

    _calls: Calls
    _bells: Doorbells
    workers: Callable[[], list[WorkerRecord]]

    def moving(self) -> MoveMark | None:
        return _mark(self._calls.ask("moving"))

    def begin_move(self, move_id: str, target: str, now: float) -> MoveMark:
        for _ in range(LOOKS):
            mark = self.moving()
            if mark is not None:
                return mark
            records = self.workers()
            refuse_holders(self.url, records)
            holders = [record.holder for record in records]
            mark = _mark(self._calls.act("begin_move", move_id, target, now, holders))
            if mark is not None:
                return mark
        raise MoveRefusedError(f"{self.url} cannot be moved: workers come and go. Stop them first.")

    def export(self, after: int | None, limit: int) -> list[StoredJob]:
        found = self._calls.ask("export", (False if after is None else after, limit, MOST_BYTES))
        return [_stored(*one) for one in found]

    def end_move(self, move_id: str, now: float) -> bool:
        return bool(self._calls.act("end_move", move_id, now))

    def discard_moved(self, move_id: str, limit: int) -> int:
        return int(self._calls.act("discard_moved", move_id, min(limit, PORTION)))

    def reopen(self, move_id: str) -> bool:
        return bool(self._calls.act("reopen", move_id))

    def adopt(
        self,
        move_id: str,
        seen: bytes | None,
        progress: bytes,
        jobs: Sequence[StoredJob] = (),
        schedules: Sequence[ScheduleRecord] = (),
        origins: Sequence[TaskOrigin] = (),
    ) -> bool:
        done, *rest = self._calls.act(
            "adopt",
            move_id,
            False if seen is None else seen,
            progress,
            [_told(job) for job in jobs],
            [(record.name, told_of(record)) for record in schedules],
            [(each.task, pack((each.task, each.module, each.root, each.directory))) for each in origins],
        )
        if done == 2:
            taken, named = ([text(name) for name in names] for names in rest)
            raise in_use(self.url, taken, named)
        if done and rest[0]:
            self._bells.note_awaited(rest[0])
        return bool(done)

    def move_progress(self, move_id: str) -> bytes | None:
        stored = self._calls.ask("move_progress", move_id)
        return stored if isinstance(stored, bytes) else None


def _mark(told: Any) -> MoveMark | None:
    if told is False:
        return None
    try:
        move_id, target, began, ended = told
        return MoveMark(text(move_id), text(target), float(began), None if ended is False else float(ended))
    except (ValueError, TypeError):
        return MoveMark("", f"{DAMAGED}: nobody knows where", 0.0)


def _stored(seq: int, job_id: bytes, record: Any, body: Any) -> StoredJob:
    job = as_job(seq, record or b"", body or b"")
    is_sound = record is not False and job.id != DAMAGED
    told = unpack(record) if is_sound else []
    is_sound = is_sound and told[_STATION] in range(len(STATIONS))
    stored = StoredJob.of(
        job._replace(id=text(job_id)),
        STATIONS[told[_STATION]] if is_sound else "finished",
        moment_of(told[_DISCARD]) if is_sound else None,
        moment_of(told[_KEEP]) if is_sound else None,
    )
    if not is_sound:
        # As the server's scripts end it when they come across it; nobody could tell that of it elsewhere.
        reason = "damaged: its record makes no sense; it was not run"
        return stored._replace(state=str(FAILURE), reason=reason)
    if body is False and stored.station != "finished":
        reason = "damaged: its arguments are missing; it was not run"
        return stored._replace(station="finished", state=str(FAILURE), reason=reason, done=job.due)
    return stored


def _told(job: StoredJob) -> tuple[Any, bytes]:
    """Return a job's record, as `moves.lua` names its places, and its body."""
    keep = DEFAULT_RESULT_EXPIRES if job.result_expires is None else job.result_expires
    record = (
        *(job.id, lane_of(job.queue, job.task), STATIONS.index(job.station), str(job.state), job.priority),
        *(job.due, job.expires, job.attempts, job.retries, job.crashes, job.ignore_result, keep, 0, False),
        *(job.started, job.done, job.discard, job.result, job.reason),
    )
    body = pack((job.payload, job.codec, job.eta, job.max_crashes, job.options, job.enqueued))
    return tuple(False if value is None else value for value in record), body
