"""Schedules in a damaged file: they are read, shown and fired as far as that goes; nobody is disturbed."""

from __future__ import annotations

from dataclasses import replace

from liteq.job import NewJob
from liteq.timetable import Firing, ScheduleRecord
from liteq.transport import Transport

__all__ = ["fill_timetable", "fire_all"]

STEP = 3600.0


def fill_timetable(transport: Transport, now: float) -> None:
    """Store schedules that are due."""
    job = NewJob("", "wild", b"\x92\x90\x80")
    transport.save_schedules(
        [
            ScheduleRecord(
                name=f"schedule {number}",
                task="wild",
                spec='{"kind": "interval", "seconds": 5.0, "anchor": 0.0, "relative": false}',
                policy="{}",
                job=job,
                next_run=now - number,
                created=now,
            )
            for number in range(4)
        ]
    )


def fire_all(transport: Transport, now: float) -> None:
    """Fire what is due until nothing is, as schedulers do; what cannot be moved on must not stop the rest."""
    shown = {record.name for record in transport.schedules()}
    for _ in range(3):
        due = transport.due_schedules(now)
        firings = [
            Firing(
                replace(record, next_run=now + STEP, last_run=now, runs=1, last_job=f"{record.name} ticked"),
                () if record.job is None else (record.job._replace(id=f"{record.name} ticked"),),
            )
            for record in due
            if record.broken is None
        ]
        fired = transport.fire(firings, now)
        assert {record.name for record in due} <= shown or not all(fired)
    transport.next_tick()
