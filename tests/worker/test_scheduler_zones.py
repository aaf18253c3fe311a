"""A day in sixty time zones, around each change of their clocks, as the scheduler lives through it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from liteq.calls.options import decode_options
from liteq.firing import Policy, encode_policy, first_run
from liteq.job import JobFilter, NewJob
from liteq.schedule import Schedule, cron, crontab, encode, every
from liteq.testing import ManualClock
from liteq.timetable import ScheduleRecord
from liteq.transports.memory import MemoryTransport
from liteq.worker.scheduler import Scheduler

YEAR = 2025
HALF_AN_HOUR = timedelta(minutes=30)
DAY = timedelta(days=1)


def changes(zone: ZoneInfo) -> list[datetime]:
    """Return the moments of the year at which a zone's clocks are set."""
    begin = datetime(YEAR, 1, 1, tzinfo=UTC)
    days = [begin + number * DAY for number in range(366)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    found = []
    for day, (before, after) in zip(days, pairwise(offsets), strict=False):
        if before != after:
            halves = [day + half * HALF_AN_HOUR for half in range(49)]
            found.append(next(half for half in halves if half.astimezone(zone).utcoffset() == after))
    return found


def zones_with_two_changes() -> list[tuple[ZoneInfo, list[datetime]]]:
    zones = [ZoneInfo(key) for key in sorted(available_timezones()) if "/" in key]
    found = [(zone, moments) for zone in zones if len(moments := changes(zone)) == 2]
    return found[:: len(found) // 60][:60]


def live_through(schedules: dict[str, Schedule], begin: datetime, end: datetime) -> dict[str, list[datetime]]:
    """Let a scheduler live from one moment to another; return the ticks of the jobs that it enqueued."""
    clock = ManualClock(wall=begin.timestamp() - 1.0)
    transport = MemoryTransport()
    transport.save_schedules(
        [
            ScheduleRecord(
                name=name,
                task="task",
                spec=encode(schedule),
                policy=encode_policy(Policy()),
                job=NewJob("", "task", b""),
                next_run=first_run(schedule, Policy(), clock.wall()),
            )
            for name, schedule in schedules.items()
        ]
    )
    scheduler = Scheduler(transport, clock, lambda: 0.5)
    while True:
        scheduler.look()
        due = transport.next_tick()
        assert due is not None
        if due >= end.timestamp():
            break
        clock.advance(max(0.0, due - clock.wall()))
    found: dict[str, list[datetime]] = {name: [] for name in schedules}
    for job in reversed(transport.find(JobFilter(limit=10_000))):
        headers = decode_options(job.options).headers
        assert job.enqueued == headers["tick"], "nothing was late"
        found[headers["schedule"]].append(datetime.fromtimestamp(headers["tick"], UTC))
    transport.close()
    return found


def test_a_day_in_sixty_zones_around_both_changes_has_the_runs_that_the_guide_says() -> None:
    zones = zones_with_two_changes()
    assert len(zones) == 60
    for zone, moments in zones:
        for change in moments:
            day = change.astimezone(zone).date()
            begin = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
            tomorrow = day + DAY
            end = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone).astimezone(UTC)
            hours = {f"at {hour}": crontab(minute=30, hour=hour, timezone=zone) for hour in range(24)}
            found = live_through(
                {
                    **hours,
                    "cron": cron("30 2 * * *", timezone=zone),
                    "often": crontab(minute="*/30", timezone=zone),
                    "elapsed": every(1800, anchor=begin.timestamp()),
                },
                begin,
                end,
            )
            where = f"{zone.key}, {change}"
            # At a fixed time once: right after a gap that it lies in, the first time where it comes twice.
            for hour in range(24):
                (tick,) = found[f"at {hour}"]
                shown = tick.astimezone(zone)
                in_order = shown.hour == hour and shown.minute == 30 and shown.fold == 0
                assert in_order or tick == change, f"{where}, {hour}"
            assert found["cron"] == found["at 2"], where
            # By elapsed time: a day of 23 hours has 46 half hours, one of 25 has 50.
            halves = (end - begin) // HALF_AN_HOUR
            assert (len(found["often"]), len(found["elapsed"])) == (halves, halves), where
            assert max(Counter(found["often"]).values()) == 1, where
