"""Schedules as text, for the store: what is written down is read back as an equal schedule."""

from __future__ import annotations

import json

from liteq.errors import LiteqError, ScheduleError, ScheduleNotLoadedError
from liteq.schedule.base import Schedule, dump_zone, load_zone
from liteq.schedule.reading import KINDS

__all__ = ["decode", "encode"]


def encode(schedule: Schedule) -> str:
    """Return a schedule as text: a JSON object.

    A schedule of a user's own, `Custom`, is only described.

    Raises:
        ScheduleError: its time zone has no name by which another process could find it.
    """
    content = {"kind": schedule.kind, **schedule._fields()}
    zone = dump_zone(schedule.timezone)
    if zone is not None:
        content["timezone"] = zone
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def decode(text: str) -> Schedule:
    """Return the schedule that `encode` wrote.

    Raises:
        ScheduleNotLoadedError: it is an object of a user's own, to be taken from where it is declared, or of
            a kind that a newer liteq has.
        ScheduleError: the text is none of `encode`.
        ExtraRequiredError: it needs a library that is not installed here.
        ConfigurationError: its time zone is not known here.
    """
    try:
        content = json.loads(text)
        kind = content.pop("kind")
        zone = content.pop("timezone", None)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ScheduleError(f"{text!r:.200} describes no schedule.") from None
    if not isinstance(kind, str) or not isinstance(zone, str | None):
        raise ScheduleError(f"{text!r:.200} describes no schedule.")
    if kind not in KINDS:
        raise ScheduleNotLoadedError(
            f"{text!r:.200} is a schedule of the kind {kind!r:.40}, which this liteq does not know."
        )
    try:
        return KINDS[kind]._of_fields(content, load_zone(zone))
    except LiteqError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ScheduleError(f"{text!r:.200} describes no schedule: {error!r:.100}.") from None
