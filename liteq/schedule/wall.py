"""Wall clocks: what they show, and when they are set forward and back.

Moments are aware datetimes in UTC; labels are naive ones, as a clock on the wall shows them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

__all__ = ["MARGIN", "change_after", "change_before", "first_moment", "label_at", "offset_at", "seen_before"]

MARGIN = timedelta(hours=48)
"""More than clocks have ever been set at once: a day, where a country moved across the date line."""

_STEP = timedelta(hours=48)
"""Less than there is between any two changes of one zone: in the tz database they are 4 days apart."""
_SECOND = timedelta(seconds=1)
_ZERO = timedelta()


def offset_at(moment: datetime, zone: tzinfo) -> timedelta:
    """Return how far a zone's clocks are ahead of UTC at a moment."""
    return moment.astimezone(zone).utcoffset() or _ZERO


def label_at(moment: datetime, zone: tzinfo) -> datetime:
    """Return what a zone's clocks show at a moment."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def first_moment(label: datetime, zone: tzinfo) -> datetime:
    """Return when a zone's clocks show a label: the first time, or if they never do, right after the gap."""
    local = label.replace(tzinfo=zone, fold=0)
    before = local.utcoffset() or _ZERO
    after = local.replace(fold=1).utcoffset() or _ZERO
    moment = label.replace(tzinfo=UTC) - before
    if after <= before:
        return moment
    # Clocks were set forward over it: between the moments that the two offsets would give.
    return _bisect(label.replace(tzinfo=UTC) - after, moment, before, zone)


def seen_before(moment: datetime, zone: tzinfo) -> datetime:
    """Return a label such that, until `moment`, clocks have shown it and all before it, and none after it.

    That is what they show now, unless they have been set back and now repeat themselves: then it is the last
    one before they were.
    """
    local = moment.astimezone(zone)
    label = local.replace(tzinfo=None, fold=0)
    if local.fold and (change := change_before(moment, moment - MARGIN, zone)) is not None:
        just_before = change - timedelta(microseconds=1)
        return max(label, label_at(just_before, zone))
    return label


def change_after(moment: datetime, until: datetime, zone: tzinfo) -> datetime | None:
    """Return the first moment in (`moment`, `until`] at which clocks are set; None if there is none."""
    offset = offset_at(moment, zone)
    low = moment
    while low < until:
        high = min(until, low + _STEP)
        if offset_at(high, zone) != offset:
            return _bisect(low, high, offset, zone)
        low = high
    return None


def change_before(moment: datetime, since: datetime, zone: tzinfo) -> datetime | None:
    """Return the last moment in (`since`, `moment`] at which clocks are set; None if there is none."""
    offset = offset_at(moment, zone)
    high = moment
    while high > since:
        low = max(since, high - _STEP)
        earlier = offset_at(low, zone)
        if earlier != offset:
            return _bisect(low, high, earlier, zone)
        high = low
    return None


def _bisect(low: datetime, high: datetime, before: timedelta, zone: tzinfo) -> datetime:
    """Return the first whole second in (`low`, `high`] at which a zone's offset is not `before` any more."""
    base = low.replace(microsecond=0)
    few, many = 0, -((base - high) // _SECOND)
    while many - few > 1:
        middle = (few + many) // 2
        if offset_at(base + middle * _SECOND, zone) == before:
            few = middle
        else:
            many = middle
    return base + many * _SECOND
