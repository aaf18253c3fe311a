"""Schedules on Redis: each changed only by whoever has seen its last revision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liteq.job import NewJob
from liteq.schedule_store import REPLACED, ScheduleStore
from liteq.timetable import Firing, ScheduleRecord
from liteq.transports.redis.calls import Calls
from liteq.transports.redis.doorbell import Doorbells
from liteq.transports.redis.producing import Origins, Shipment
from liteq.transports.redis.records import DAMAGED, pack, text, unpack

__all__ = ["DAMAGE", "StoredSchedules", "told_of"]

DAMAGE = "Its record in the store is damaged; remove it and add it anew."
MOST = 1 << 53
"""Below this a count can be raised again and again; more than that nobody has counted."""


class StoredSchedules(ScheduleStore):
    """The schedules of one store."""

    _calls: Calls
    _bells: Doorbells
    _origins: Origins

    def schedules(self, names: Sequence[str] | None = None) -> list[ScheduleRecord]:
        wanted = False if names is None else list(dict.fromkeys(names))
        found = [_record(*one) for one in self._calls.ask("schedules", wanted)]
        return sorted(found, key=lambda record: record.name)

    def save_schedules(self, records: Sequence[ScheduleRecord]) -> list[bool]:
        if not records:
            return []
        told = [
            (record.name, told_of(record), self._origins.of(record.task) if record.job is not None else False)
            for record in records
        ]
        saved: list[bool] = self._calls.act("save_schedules", *_without_nones(told))
        self._origins.stored(
            record.task
            for record, done in zip(records, saved, strict=True)
            if done and record.job is not None
        )
        return saved

    def remove_schedules(self, names: Sequence[str], seen: Sequence[int] | None = None) -> list[bool]:
        if not names:
            return []
        if seen is not None and len(seen) != len(names):
            raise ValueError("each schedule to remove needs a revision at which it was seen")
        removed: list[bool] = self._calls.act(
            "remove_schedules", list(names), False if seen is None else list(seen)
        )
        return removed

    def next_tick(self) -> float | None:
        tick = self._calls.ask("next_tick")
        return None if tick is False else float(tick)

    def due_schedules(self, now: float, limit: int = 100) -> list[ScheduleRecord]:
        found = [_record(*one) for one in self._calls.ask("due_schedules", (now, limit))]
        damaged = [record.name for record in found if record.broken is not None]
        if damaged:
            # Nobody could move them on, and they would be due for ever, in front of all others.
            self._calls.act("set_aside", *damaged)
        return [record for record in found if record.broken is None]

    def fire(self, firings: Sequence[Firing], now: float) -> list[bool]:
        if not firings:
            return []
        shipment = Shipment(self._origins, now)
        told = [
            (
                firing.schedule.name,
                firing.schedule.revision,
                _progress(firing.schedule),
                firing.revoked,
                [shipment.pack(job) for job in firing.jobs],
            )
            for firing in firings
        ]
        fired, heard = self._calls.act("fire", now, told, shipment.lanes, shipment.origins, REPLACED)
        if heard:
            self._bells.note_awaited(heard)
        self._origins.stored(
            job.task for firing, done in zip(firings, fired, strict=True) if done for job in firing.jobs
        )
        return [bool(done) for done in fired]


def _without_nones(told: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [tuple(False if value is None else value for value in one) for one in told]


def _progress(record: ScheduleRecord) -> tuple[Any, ...]:
    """Return what firing changes: next and last run, runs, last job and spec."""
    told = (record.next_run, record.last_run, record.runs, record.last_job, record.spec)
    return tuple(False if value is None else value for value in told)


def told_of(record: ScheduleRecord) -> tuple[Any, ...]:
    """Return what is stored of a schedule, with the revision that was seen; see `timetable.lua`."""
    job = None if record.job is None else tuple(record.job)
    rest = pack(
        (
            *(record.task, record.policy, job, record.paused, record.broken, record.module),
            *(record.declaration, record.created),
        )
    )
    ticks = not record.paused and record.broken is None
    return (record.revision, ticks, *_progress(record), rest)


def _record(name: bytes, written: bytes) -> ScheduleRecord:
    """Return a schedule; one whose record makes no sense as far as it can be shown, and broken."""
    try:
        revision, _, next_run, last_run, runs, last_job, spec, rest = unpack(written)
        task, policy, job, paused, broken, module, declaration, created = unpack(rest)
        if not (1 <= revision <= MOST and 0 <= runs <= MOST):
            raise ValueError("no counts")
        return ScheduleRecord(
            name=name.decode(),
            task=task.decode(),
            spec=spec.decode(),
            policy=policy.decode(),
            job=None if job is None else _job(job),
            next_run=_time(next_run),
            last_run=_time(last_run),
            runs=int(runs),
            last_job=_maybe_text(last_job or None),
            paused=bool(paused),
            broken=_maybe_text(broken),
            module=_maybe_text(module),
            declaration=_maybe_text(declaration),
            created=float(created),
            revision=int(revision),
        )
    except (ValueError, TypeError, AttributeError):
        return ScheduleRecord(
            name=text(name),
            task=DAMAGED,
            spec=DAMAGED,
            policy=DAMAGED,
            job=None,
            next_run=None,
            broken=DAMAGE,
        )


def _job(told: Sequence[Any]) -> NewJob:
    job = NewJob(*told)
    if type(job.payload) is not bytes or type(job.priority) is not int:
        raise ValueError("no job")
    return job._replace(
        id=job.id.decode(),  # type: ignore[attr-defined]
        task=job.task.decode(),  # type: ignore[attr-defined]
        codec=job.codec.decode(),  # type: ignore[attr-defined]
        queue=job.queue.decode(),  # type: ignore[attr-defined]
    )


def _maybe_text(written: bytes | None) -> str | None:
    return None if written is None else written.decode()


def _time(value: object) -> float | None:
    if value is False:
        return None
    if type(value) not in (int, float):
        raise ValueError("no time")
    return float(value)  # type: ignore[arg-type]
