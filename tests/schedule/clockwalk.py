"""Schedules by the book: a walk over the clock by minutes, and what users may write and what it means.

`walk` is written from the rule in docs/guides/when.md and shares nothing with the library.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache

from hypothesis import assume
from hypothesis import strategies as st

ZONES = sorted(zoneinfo.available_timezones())
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Rule:
    """What a schedule says, in plain sets."""

    minutes: frozenset[int]
    hours: frozenset[int]
    runs_on: Callable[[date], bool]
    at_fixed_times: bool

    def matches(self, label: datetime) -> bool:
        return label.minute in self.minutes and label.hour in self.hours and self.runs_on(label.date())


def walk(rule: Rule, zone: tzinfo, begin: datetime, end: datetime) -> list[datetime]:
    """Watch a clock from `begin` to `end`, both excluded, and note when the rule says that something runs.

    A job at fixed times runs as soon as the clock shows its time *or has been set past it*, and a time that
    has come once does not come again. Any other job runs whenever the clock shows its time.
    """
    runs = []
    moment = begin - DAY
    shown = clock(moment, zone)
    while (moment := moment + MINUTE) < end:
        label = clock(moment, zone)
        if rule.at_fixed_times:
            passed = [shown + n * MINUTE for n in range(1, (label - shown) // MINUTE + 1)]
            due = any(map(rule.matches, passed))
            shown = max(shown, label)
        else:
            due = rule.matches(label)
        if due and moment > begin:
            runs.append(moment)
    return runs


def clock(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


@cache
def changes(key: str, first: int = 2024, last: int = 2026) -> tuple[datetime, ...]:
    """Return the moments of some years at which a zone's clocks are set, to the minute."""
    zone = zoneinfo.ZoneInfo(key)
    found = []
    low = datetime(first, 1, 1, tzinfo=UTC)
    while low.year <= last:
        high = low + 2 * DAY
        before, after = low.astimezone(zone).utcoffset(), high.astimezone(zone).utcoffset()
        if before != after:
            left, right = 0, 2 * 24 * 60
            while right - left > 1:
                middle = (left + right) // 2
                same = (low + middle * MINUTE).astimezone(zone).utcoffset() == before
                left, right = (middle, right) if same else (left, middle)
            found.append(low + right * MINUTE)
        low = high
    return tuple(found)


@st.composite
def places(draw: st.DrawFn) -> tuple[tzinfo, datetime]:
    """Draw a zone and a moment, mostly one near a change of its clocks."""
    key = draw(st.sampled_from(ZONES))
    zone = zoneinfo.ZoneInfo(key)
    some = changes(key)
    if some and draw(st.integers(0, 3)):
        near = draw(st.sampled_from(some))
        return zone, near + draw(st.integers(-26 * 60, 4 * 60)) * MINUTE
    return zone, datetime(2024, 1, 1, tzinfo=UTC) + draw(st.integers(0, 3 * 366 * 24 * 60)) * MINUTE


@dataclass(frozen=True)
class Spec:
    """A field as users write it, what it means, and whether it begins with a star."""

    written: object
    values: frozenset[int]
    star: bool = False


@st.composite
def specs(draw: st.DrawFn, least: int, most: int, wrapping: bool = True, texts: bool = False) -> Spec:
    """Draw a field between two bounds."""
    numbers = st.integers(least, most)
    form = draw(st.sampled_from(["star", "step", "number", "list", "range", "range step", "many"]))
    if form == "star":
        return Spec("*", frozenset(range(least, most + 1)), True)
    if form == "step":
        step = draw(st.integers(1, most - least + 3))
        return Spec(f"*/{step}", frozenset(range(least, most + 1, step)), True)
    if form == "number":
        number = draw(numbers)
        return Spec(
            str(number) if texts else draw(st.sampled_from([number, str(number)])), frozenset({number})
        )
    if form == "list":
        chosen = draw(st.sets(numbers, min_size=1, max_size=8))
        text = ",".join(map(str, chosen))
        forms = [text] if texts else [text, chosen, list(chosen), tuple(map(str, chosen))]
        return Spec(draw(st.sampled_from(forms)), frozenset(chosen))
    if form == "many":
        one, other = draw(specs(least, most, wrapping, True)), draw(specs(least, most, wrapping, True))
        return Spec(f"{one.written},{other.written}", one.values | other.values, one.star)
    first, last = draw(numbers), draw(numbers)
    if last < first and not wrapping:
        first, last = last, first
    if texts and form == "range step":
        # cronsim takes 3-3/5 for 3/5, from 3 on; Celery for 3 alone.
        assume(first != last)
    every = [*range(first, last + 1)] if first <= last else [*range(first, most + 1), *range(least, last + 1)]
    if form == "range":
        return Spec(f"{first}-{last}", frozenset(every))
    step = draw(st.integers(1, most - least + 3))
    return Spec(f"{first}-{last}/{step}", frozenset(every[::step]))


def moments(
    begin: datetime, step: Callable[[datetime], datetime | None], end: datetime
) -> Iterator[datetime]:
    """Follow `next_after` or `previous` from one moment towards another, excluded; in UTC."""
    forwards = end > begin
    found = step(begin)
    while found is not None and (found.astimezone(UTC) < end if forwards else found.astimezone(UTC) > end):
        yield found.astimezone(UTC)
        found = step(found)
