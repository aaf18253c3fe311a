"""Policies of schedules as users give them: checked, and brought into the form that `liteq.firing` reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypedDict

from liteq.app.naming import nearest
from liteq.calls.checks import check_options, check_seconds, check_whole, utc_seconds
from liteq.errors import ConfigurationError
from liteq.firing import CATCH_UP, MOST_TO_CATCH_UP, OVERLAP, Policy

__all__ = ["POLICY_OPTIONS", "PolicyOptions", "make_policy"]


class PolicyOptions(TypedDict, total=False):
    """What becomes of the ticks of a schedule. None means the same as leaving an option out.

    Attributes:
        catch_up: what fires after downtime, when ticks were missed by more than ten seconds: "skip" nothing,
            "once" (the default) the latest, "all" up to `catch_up_limit`.
        catch_up_limit: the most ticks that "all" fires, the newest ones; default 100.
        overlap: what happens while the job of the tick before is unfinished: "allow" (the default) another,
            "skip" the tick, "replace" the job if it still waits.
        jitter: seconds, or a timedelta; each job starts at a random moment up to this long after its tick.
        start: a datetime before which there is no tick; without a time zone it is in the queue's own.
        end: a datetime after which there is no tick.
        max_runs: how many ticks fire in all.
        expires: seconds (or a timedelta) after which a job that has not begun ends REVOKED, counted from when
            its tick is fired, or with `jitter` from when it may start.
    """

    catch_up: str | None
    catch_up_limit: int | None
    overlap: str | None
    jitter: float | timedelta | None
    start: datetime | None
    end: datetime | None
    max_runs: int | None
    expires: float | timedelta | None


def make_policy(what: str, given: Mapping[str, Any], zone: tzinfo) -> Policy:
    """Return the policy that options describe.

    Args:
        what: who takes the options, as the start of a sentence.
        given: the options, as `PolicyOptions` names them.
        zone: the time zone of times without one.

    Raises:
        ConfigurationError: an unknown option, or a value that it cannot have.
    """
    check_options(what, given, POLICY_OPTIONS, {})
    checked = {
        option: _CHECKS[option](option, value, zone) for option, value in given.items() if value is not None
    }
    policy = Policy(**checked)
    if policy.start is not None and policy.end is not None and policy.end < policy.start:
        start, end = (datetime.fromtimestamp(moment, UTC) for moment in (policy.start, policy.end))
        raise ConfigurationError(f"{what}: it would end ({end}) before it starts ({start}).")
    return policy


def _choice(*choices: str) -> Callable[[str, object, tzinfo], str]:
    def check(option: str, value: object, zone: tzinfo) -> str:
        if isinstance(value, str) and value in choices:
            return value
        listed = ", ".join(map(repr, choices))
        hint = nearest(value, list(choices)) if isinstance(value, str) else ""
        raise ConfigurationError(f"{option} must be one of {listed}, not {value!r}.{hint}")

    return check


def _seconds(least: float) -> Callable[[str, object, tzinfo], float]:
    def check(option: str, value: object, zone: tzinfo) -> float:
        return check_seconds(option, value, least)

    return check


def _count(most: int) -> Callable[[str, object, tzinfo], int]:
    def check(option: str, value: object, zone: tzinfo) -> int:
        return check_whole(option, value, 1, most)

    return check


_CHECKS: dict[str, Callable[[str, Any, tzinfo], Any]] = {
    "catch_up": _choice(*CATCH_UP),
    "catch_up_limit": _count(MOST_TO_CATCH_UP),
    "overlap": _choice(*OVERLAP),
    "jitter": _seconds(0.0),
    "start": utc_seconds,
    "end": utc_seconds,
    "max_runs": _count(2**31 - 1),
    "expires": _seconds(0.001),
}

POLICY_OPTIONS = tuple(_CHECKS)
"""The names of all options."""
