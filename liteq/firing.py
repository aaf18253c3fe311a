"""Which ticks of a schedule fire, and when its next one is.

Pure: no I/O, no clock, no global random. The scheduler reads a schedule that is due, `plan` says what is to
become of it, and the transport writes that down. Times are UTC, in seconds since the epoch.

**Late ticks.** A tick that is at most `GRACE` seconds late is on time: another scheduler took over, or the
machine was busy. As long as the earliest tick that is due is on time, all of them fire. If it is not, there
was downtime (no scheduler ran, the machine slept, its clock was set forward), and `catch_up` decides:

- `skip`: what was missed is left out; the latest tick alone fires if it is on time.
- `once`: the latest tick alone fires, however late it is, and stands for all before it.
- `all`: all fire, at most the newest `catch_up_limit`.

**Overlap.** With `skip` and `replace` at most the latest tick that is due fires, because one that fires
together with it would be in its way at once; with `skip` none does while the job before is unfinished.

**The clock set back.** An interval means elapsed time, so it begins anew where its next tick would be further
away than one interval, by more than `SET_BACK` seconds. Any other schedule names times of the day, and waits,
so that none comes twice; only where the clock was set back by more than `CORRECTION` seconds, it had been
wrong, and the schedule goes on from what it says now.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from liteq.errors import DecodingError, ScheduleError
from liteq.schedule import Interval, Schedule

__all__ = [
    "CATCH_UP",
    "CORRECTION",
    "COUNTED",
    "GRACE",
    "MOST_AT_ONCE",
    "MOST_TO_CATCH_UP",
    "OVERLAP",
    "SET_BACK",
    "Plan",
    "Policy",
    "decode_policy",
    "encode_policy",
    "first_run",
    "plan",
    "reconsider",
]

CATCH_UP = ("skip", "once", "all")
OVERLAP = ("allow", "skip", "replace")

GRACE = 10.0
"""Seconds by which a tick may be late and is still on time."""
CORRECTION = 3 * 3600.0
"""Seconds up to which a clock that was set back is waited for (as Debian's cron does)."""
SET_BACK = 1.0
"""Seconds from which it matters that a clock was set back."""
MOST_AT_ONCE = 1000
"""The most ticks on time that fire at once; of more, the newest."""
MOST_TO_CATCH_UP = 10_000
"""What `catch_up_limit` may be: so many jobs are stored in one transaction."""
COUNTED = 10
"""Up to this many ticks that are due are counted; of more, it is only known that there were more."""
_STEP = timedelta(microseconds=1)
_ROUNDING = 1e-6


class Policy(NamedTuple):
    """What becomes of the ticks of a schedule, and of the jobs that they enqueue.

    `liteq.calls.policies.make_policy` checks what users give.
    """

    catch_up: str = "once"
    """What fires after downtime: `skip`, `once` or `all`."""
    catch_up_limit: int = 100
    """The most ticks that `all` fires at once."""
    overlap: str = "allow"
    """While the job before is unfinished: `allow`, `skip` the tick, `replace` the job if it still waits."""
    jitter: float = 0.0
    """Seconds; each job starts at a random moment up to this long after its tick."""
    start: float | None = None
    """There is no tick before this time."""
    end: float | None = None
    """There is no tick after this time."""
    max_runs: int | None = None
    """How many ticks fire in all; None for no limit."""
    expires: float | None = None
    """Seconds after which a job no longer starts, counted from when it is enqueued, or may start at all."""


class Plan(NamedTuple):
    """What becomes of a schedule now."""

    ticks: tuple[float, ...]
    """The ticks that fire, in order."""
    next_run: float | None
    """The next tick, later than now; None if there is none."""
    schedule: Schedule
    """The schedule; an interval that began anew has another anchor."""
    dropped: int = 0
    """How many ticks were due and do not fire; where more than `COUNTED` were due, at least so many."""


def first_run(schedule: Schedule, policy: Policy, now: float, last_run: float | None = None) -> float | None:
    """Return the first tick of a schedule that begins, or is changed, now; None if there is none.

    Args:
        schedule: when it runs, with a zone and, if it is an interval, with an anchor.
        policy: its policy.
        now: the time.
        last_run: its last tick so far; what comes up to it has been.
    """
    after = now if last_run is None or _is_forgotten(schedule, last_run, now) else max(now, last_run)
    return _first(schedule, policy, after)


def plan(
    schedule: Schedule,
    policy: Policy,
    next_run: float,
    last_run: float | None,
    runs: int,
    now: float,
    unfinished: bool = False,
    created: float | None = None,
) -> Plan:
    """Decide what becomes of a schedule now.

    Args:
        schedule: when it runs.
        policy: its policy.
        next_run: its next tick, as was decided before.
        last_run: the last tick that was fired.
        runs: how many were fired.
        now: the time.
        unfinished: whether the job that it enqueued last is waiting or running.
        created: when the schedule was made; before that it had no tick.

    Raises:
        ScheduleError: the schedule contradicts itself: a tick after a moment is not later than that.
    """
    if next_run > now:
        return reconsider(schedule, policy, next_run, last_run, now, created)
    last = now if policy.end is None else min(now, policy.end)
    # Whole microseconds, as ticks are: else the same one might follow itself.
    next_run = _nearest(next_run).timestamp()
    # While a clock was wrong it may have been set back, to ticks that have been, or never were.
    been = [moment for moment in (last_run, created) if moment is not None and next_run <= moment <= now]
    first = _next(schedule, _at(max(been))) if been else next_run
    due = [] if first is None or first > last + _ROUNDING else _forward(schedule, first, last)
    chosen = _choose(schedule, policy, due, last, now, unfinished)
    dropped = len(set(due).difference(chosen))
    following = _first(schedule, policy, max(now, next_run))
    if policy.max_runs is not None:
        chosen = chosen[: max(0, policy.max_runs - runs)]
        if runs + len(chosen) >= policy.max_runs:
            following = None
    return Plan(tuple(chosen), following, schedule, dropped)


def reconsider(
    schedule: Schedule,
    policy: Policy,
    next_run: float,
    last_run: float | None,
    now: float,
    created: float | None = None,
) -> Plan:
    """Decide whether a next tick that lies ahead still holds, because the clock may have been set back.

    Asking again changes nothing. What is due, and so what a clock that was set forward brings, is left
    to `plan`.

    Raises:
        ScheduleError: as `plan`.
    """
    kept = Plan((), next_run, schedule)
    if next_run <= now:
        return kept
    if isinstance(schedule, Interval):
        begins = now if policy.start is None else max(now, policy.start)
        if next_run <= begins + schedule.seconds + SET_BACK:
            return kept
        if not schedule.relative:
            schedule = schedule.reanchored(_at(now).timestamp())
    elif last_run is not None and not _is_forgotten(schedule, last_run, now) and last_run > now:
        return kept
    elif created is not None and now < created:
        # The clock is wrong now: it was later when the schedule was made.
        return kept
    found = _first(schedule, policy, now)
    return kept if found is None or found >= next_run else Plan((), found, schedule)


def _is_forgotten(schedule: Schedule, last_run: float, now: float) -> bool:
    """Tell whether a last tick belongs to a time before the clock was set back, and says nothing any more."""
    return last_run > now and (isinstance(schedule, Interval) or last_run - now > CORRECTION)


def _choose(
    schedule: Schedule, policy: Policy, due: list[float], last: float, now: float, unfinished: bool
) -> list[float]:
    """Return the ticks that fire, of those from the first that is due to the last moment."""
    if not due or (unfinished and policy.overlap == "skip"):
        return []
    was_down = due[0] < now - GRACE
    most = MOST_AT_ONCE
    if was_down:
        most = policy.catch_up_limit if policy.catch_up == "all" else 1
    if policy.overlap != "allow":
        most = 1
    chosen = due[-most:] if len(due) <= COUNTED else _newest(schedule, due, last, most)
    if was_down and policy.catch_up == "skip" and chosen[-1] < now - GRACE:
        return []
    return chosen


def _first(schedule: Schedule, policy: Policy, after: float) -> float | None:
    """Return the first tick later than a moment that lies between start and end, both inclusive."""
    moment = _at(after)
    if policy.start is not None and policy.start > after:
        moment = _at(policy.start)
        if moment.timestamp() == policy.start:
            # A tick at the start itself is the first one.
            moment -= _STEP
    tick = _next(schedule, moment)
    return None if tick is None or (policy.end is not None and tick > policy.end) else tick


def _forward(schedule: Schedule, first: float, last: float) -> list[float]:
    """Return the ticks from one that is known to a last moment, but no more than `COUNTED` + 1."""
    ticks = [first]
    while len(ticks) <= COUNTED:
        tick = _next(schedule, _at(ticks[-1]))
        if tick is None or tick > last:
            break
        ticks.append(tick)
    return ticks


def _newest(schedule: Schedule, due: list[float], last: float, most: int) -> list[float]:
    """Return the last ticks up to a last moment, found from there: there may be millions before them."""
    ticks: list[float] = []
    moment = _at(last) + _STEP
    while len(ticks) < most:
        found = schedule.previous(moment)
        if found is None or found.timestamp() < due[0]:
            break
        if found >= moment:
            raise _contradiction(schedule, found, "before", moment)
        ticks.append(found.timestamp())
        moment = found
    return ticks[::-1] or due[-1:]


def _next(schedule: Schedule, moment: datetime) -> float | None:
    found = schedule.next_after(moment)
    if found is None:
        return None
    if found <= moment:
        raise _contradiction(schedule, found, "after", moment)
    return found.timestamp()


def _at(seconds: float) -> datetime:
    """Return the last microsecond that is not later than a time; ticks are whole microseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment - _STEP if moment.timestamp() > seconds else moment


def _nearest(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _contradiction(schedule: Schedule, found: datetime, where: str, moment: datetime) -> ScheduleError:
    return ScheduleError(
        f"The schedule {schedule} names {found} as a tick {where} {moment}, which it is not."
    )


# ---- as text ---------------------------------------------------------------------------------------


def encode_policy(policy: Policy) -> str:
    """Return a policy as text: JSON of what differs from the defaults."""
    differing = {
        name: value
        for name, value, default in zip(Policy._fields, policy, Policy(), strict=True)
        if value != default
    }
    return json.dumps(differing, separators=(",", ":"))


def decode_policy(text: str) -> Policy:
    """Return the policy that `encode_policy` wrote.

    Raises:
        DecodingError: the text is no such policy.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DecodingError(f"A schedule's policy must be JSON, and {text[:40]!r} is not.") from error
    if not isinstance(fields, dict):
        raise DecodingError(f"A schedule's policy must be a map, and {text[:40]!r} is not.")
    for name, value in fields.items():
        check = _CHECKS.get(name)
        if check is None or not check(value):
            raise DecodingError(f"A schedule's policy says {name} = {value!r}, which has no meaning here.")
    return Policy(**fields)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e11  # type: ignore[arg-type]


def _is_duration(value: object) -> bool:
    return _is_number(value) and value >= 0  # type: ignore[operator]


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


_CHECKS = {
    "catch_up": CATCH_UP.__contains__,
    "catch_up_limit": range(1, MOST_TO_CATCH_UP + 1).__contains__,
    "overlap": OVERLAP.__contains__,
    "jitter": _is_duration,
    "start": _is_number,
    "end": _is_number,
    "max_runs": _is_count,
    "expires": _is_duration,
}
