"""Schedules in memory: the rules of `liteq.schedule_store`, written as they are said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from liteq.schedule_store import REPLACED, ScheduleStore
from liteq.states import REVOKED
from liteq.timetable import Firing, ScheduleRecord
from liteq.transports.memory.moving import Closable
from liteq.transports.memory.stations import Stations

__all__ = ["KeptSchedules"]


class KeptSchedules(Closable, ScheduleStore):
    """The schedules of one memory store."""

    _note_origin: Callable[[str], None]

    def schedules(self, names: Sequence[str] | None = None) -> list[ScheduleRecord]:
        with self._verb() as stations:
            kept = stations.schedules
            return [kept[name] for name in sorted(kept) if names is None or name in names]

    def save_schedules(self, records: Sequence[ScheduleRecord]) -> list[bool]:
        with self._change() as stations:
            saved = [_save(stations, record) for record in records]
            for record, done in zip(records, saved, strict=True):
                if done and record.job is not None:
                    self._note_origin(record.task)
            return saved

    def remove_schedules(self, names: Sequence[str], seen: Sequence[int] | None = None) -> list[bool]:
        with self._change() as stations:
            revisions = [None] * len(names) if seen is None else seen
            removed = [_remove(stations, *which) for which in zip(names, revisions, strict=True)]
            stations.rescheduled |= any(removed)
            return removed

    def next_tick(self) -> float | None:
        with self._verb() as stations:
            self._check_open(stations)
            return min((tick for tick, _ in _ticking(stations)), default=None)

    def due_schedules(self, now: float, limit: int = 100) -> list[ScheduleRecord]:
        with self._verb() as stations:
            due = sorted((tick, name) for tick, name in _ticking(stations) if tick <= now)
            return [stations.schedules[name] for _, name in due[:limit]]

    def fire(self, firings: Sequence[Firing], now: float) -> list[bool]:
        with self._change() as stations:
            fired = [_advance(stations, firing.schedule) for firing in firings]
            counting = [firing for firing, counts in zip(firings, fired, strict=True) if counts]
            # All of them before the new jobs, one of which may have the id of one that gives way.
            for firing in counting:
                for job_id in firing.revoked:
                    _give_way(stations, job_id, now)
            for firing in counting:
                for job in firing.jobs:
                    stations.store(job, now)
            return fired


def _save(stations: Stations, record: ScheduleRecord) -> bool:
    kept = stations.schedules.get(record.name)
    if record.revision != (0 if kept is None else kept.revision):
        return False
    stations.schedules[record.name] = replace(record, revision=record.revision + 1)
    stations.rescheduled = True
    return True


def _remove(stations: Stations, name: str, seen: int | None) -> bool:
    kept = stations.schedules.get(name)
    if kept is None or seen not in (None, kept.revision):
        return False
    del stations.schedules[name]
    return True


def _ticking(stations: Stations) -> list[tuple[float, str]]:
    return [
        (record.next_run, record.name)
        for record in stations.schedules.values()
        if record.next_run is not None and not record.paused and record.broken is None
    ]


def _advance(stations: Stations, to: ScheduleRecord) -> bool:
    kept = stations.schedules.get(to.name)
    if kept is None or kept.revision != to.revision:
        return False
    stations.schedules[to.name] = replace(
        kept,
        spec=to.spec,
        next_run=to.next_run,
        last_run=to.last_run,
        runs=to.runs,
        last_job=to.last_job,
        revision=kept.revision + 1,
    )
    return True


def _give_way(stations: Stations, job_id: str, now: float) -> None:
    earlier = stations.jobs.get(job_id)
    if earlier is not None and earlier.waiting:
        stations.finish(earlier, REVOKED, now, None, REPLACED)
