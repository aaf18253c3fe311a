"""Hostile schedules: their texts mean something or are refused; damaged rows of theirs disturb nobody."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

from liteq.errors import LiteqError
from liteq.firing import Policy, decode_policy, encode_policy, first_run, plan
from liteq.job import NewJob
from liteq.schedule import as_schedule, cron, crontab, decode, encode, every, once
from liteq.timetable import Firing, ScheduleRecord
from liteq.transport import Transport

__all__ = ["check_schedule", "fill_timetable", "fire_all", "make_schedule", "warm_up"]

STEP = 3600.0
NOW = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
SLOW = 2.0
"""Seconds that asking a schedule may take."""
SEPARATOR = b"\n"
"""Between a schedule and its policy."""


def warm_up() -> None:
    """Import what is imported for the first time zone that nobody knows."""
    with contextlib.suppress(LiteqError):
        every(60, timezone="Nowhere/At_All")


def make_schedule(random: Random) -> bytes:
    """Return a schedule and its policy, as they are stored."""
    zone = random.choice([None, "UTC", "Europe/Berlin", "America/New_York"])
    schedule = random.choice(
        [
            lambda: every(random.choice([0.001, 1, 90, 86400]), anchor=random.choice([None, 5.5])),
            lambda: every(7200, relative=True, timezone=zone),
            lambda: crontab(minute=f"*/{random.randrange(1, 60)}", hour="22-3", timezone=zone),
            lambda: crontab(0, [3, 4], "mon,fri-sun", "1-31/2", "feb", timezone=zone),
            lambda: cron("0 0 L * 5#2", timezone=zone),
            lambda: cron("*/5 * * * * *", timezone=zone),
            lambda: once(NOW),
            lambda: as_schedule("@daily"),
        ]
    )()
    policy = Policy(
        catch_up=random.choice(["skip", "once", "all"]),
        catch_up_limit=random.randrange(1, 1000),
        overlap=random.choice(["allow", "skip", "replace"]),
        jitter=random.choice([0.0, 5.0]),
        start=random.choice([None, NOW.timestamp()]),
        end=random.choice([None, NOW.timestamp() + 5.5]),
        max_runs=random.choice([None, 3]),
        expires=random.choice([None, 60.0]),
    )
    return encode(schedule).encode() + SEPARATOR + encode_policy(policy).encode()


def check_schedule(data: bytes, random: Random) -> bool:
    """Read a schedule and its policy, and ask them what a scheduler asks."""
    spec, _, rest = data.partition(SEPARATOR)
    try:
        # As SQLite hands over what somebody has written.
        schedule = decode(spec.decode("utf-8", "backslashreplace"))
        policy = decode_policy(rest.decode("utf-8", "backslashreplace"))
    except LiteqError:
        return False
    began = time.process_time()
    assert decode(encode(schedule)) == schedule
    assert decode_policy(encode_policy(policy)) == policy
    assert str(schedule)
    now = NOW.timestamp() + random.choice([0.0, 1e6, -1e9])
    for last_run in (None, now - STEP, now + 1e6):
        first = first_run(schedule, policy, now - STEP, last_run)
        if first is not None:
            planned = plan(schedule, policy, first, last_run, 3, max(first, now))
            assert list(planned.ticks) == sorted(set(planned.ticks))
            assert planned.next_run is None or planned.next_run > now
    took = time.process_time() - began
    assert took < SLOW, f"it took {took:.1f} s"
    return True


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
