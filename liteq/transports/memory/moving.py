"""Moving what a memory store keeps: the rules of `liteq.move_store`, written as they are said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from liteq.job import Job, NewJob, TaskOrigin
from liteq.move_store import MoveStore, closed, fitting, in_use, refuse_holders
from liteq.moving import MoveMark, StoredJob
from liteq.timetable import ScheduleRecord
from liteq.transports.memory.stations import FINISHED, LEASED, Record, Stations

__all__ = ["Closable", "KeptMoves"]


class Closable:
    """A store that can be closed."""

    url: str
    _verb: Callable[[], AbstractContextManager[Stations]]

    @contextmanager
    def _change(self) -> Iterator[Stations]:
        """Be alone with the data, to change it; refuses while the store is closed."""
        with self._verb() as stations:
            self._check_open(stations)
            yield stations

    def _check_open(self, stations: Stations) -> None:
        if stations.mark is not None:
            raise closed(self.url, stations.mark)

    def _check_answers(self, stations: Stations, jobs: Sequence[Job | None]) -> None:
        if not all(job is not None and job.finished for job in jobs):
            self._check_open(stations)


class KeptMoves(Closable, MoveStore):
    """The moves from and to one memory store."""

    _origins: dict[str, TaskOrigin]

    def moving(self) -> MoveMark | None:
        with self._verb() as stations:
            return stations.mark

    def begin_move(self, move_id: str, target: str, now: float) -> MoveMark:
        with self._verb() as stations:
            if stations.mark is None:
                refuse_holders(self.url, stations.records())
                stations.mark = MoveMark(move_id, target, now)
            return stations.mark

    def export(self, after: int | None, limit: int) -> list[StoredJob]:
        with self._verb() as stations:
            jobs = sorted(stations.jobs.values(), key=lambda record: record.seq)
            further = (_stored(job) for job in jobs if after is None or job.seq > after)
            return fitting((job for job in further if job.station != LEASED), limit)

    def end_move(self, move_id: str, now: float) -> bool:
        with self._verb() as stations:
            if not _is_closed_for(stations, move_id):
                return False
            if stations.mark is not None and stations.mark.ended is None:
                stations.mark = stations.mark._replace(ended=now)
            return True

    def discard_moved(self, move_id: str, limit: int) -> int:
        with self._verb() as stations:
            if not _is_closed_for(stations, move_id) or stations.mark is None or stations.mark.ended is None:
                return 0
            gone = list(stations.jobs.values())[:limit]
            for record in gone:
                stations.discard(record)
            count = len(gone) + len(stations.schedules)
            stations.schedules.clear()
            return count

    def reopen(self, move_id: str) -> bool:
        with self._verb() as stations:
            if not _is_closed_for(stations, move_id):
                return False
            stations.mark = None
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
        with self._change() if jobs or schedules or origins else self._verb() as stations:
            if stations.progress.get(move_id) != seen:
                return False
            taken = [job.id for job in jobs if job.id in stations.jobs]
            named = [record.name for record in schedules if record.name in stations.schedules]
            if taken or named:
                raise in_use(self.url, taken, named)
            for job in jobs:
                stations.take_in(_record(job))
            for record in schedules:
                stations.schedules[record.name] = record
                stations.rescheduled = True
            for origin in origins:
                self._origins.setdefault(origin.task, origin)
            stations.progress[move_id] = progress
            return True

    def move_progress(self, move_id: str) -> bytes | None:
        with self._verb() as stations:
            return stations.progress.get(move_id)


def _is_closed_for(stations: Stations, move_id: str) -> bool:
    return stations.mark is not None and stations.mark.id == move_id


def _stored(record: Record) -> StoredJob:
    return StoredJob.of(record.as_job(), record.station, record.discard, record.new.result_expires)


def _record(job: StoredJob) -> Record:
    new = NewJob(**{name: getattr(job, name) for name in NewJob._fields})
    return Record(
        seq=0,
        new=new,
        enqueued=job.enqueued,
        due=job.due,
        expires=job.expires,
        ignore_result=job.ignore_result,
        state=job.state,
        station=job.station,
        attempts=job.attempts,
        retries=job.retries,
        crashes=job.crashes,
        started=job.started,
        done=job.done,
        discard=job.discard if job.station == FINISHED else None,
        result=job.result,
        reason=job.reason,
    )
