from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from liteq.calls.policies import make_policy
from liteq.errors import ConfigurationError
from liteq.firing import Policy

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 3, 2, 12, tzinfo=BERLIN)


def test_nothing_said_is_the_usual_policy():
    assert make_policy("It", {}, UTC) == Policy()
    assert make_policy("It", dict.fromkeys(("catch_up", "start", "expires"), None), UTC) == Policy()


def test_durations_are_seconds_or_timedeltas_and_times_without_a_zone_are_in_the_queues():
    given = {
        "catch_up": "all",
        "catch_up_limit": 7,
        "overlap": "skip",
        "jitter": timedelta(minutes=1),
        "start": NOON.replace(tzinfo=None),
        "end": NOON + timedelta(hours=1),
        "max_runs": 3,
        "expires": 90,
    }

    assert make_policy("It", given, BERLIN) == Policy(
        "all", 7, "skip", 60.0, NOON.timestamp(), NOON.timestamp() + 3600, 3, 90.0
    )


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("catch_up", "onse", "Did you mean 'once'"),
        ("catch_up", True, "not True"),
        ("catch_up_limit", 0, "not 0"),
        ("catch_up_limit", 10_001, "not 10001"),
        ("catch_up_limit", 2.5, "not 2.5"),
        ("overlap", "skipp", "Did you mean 'skip'"),
        ("jitter", -1, "not -1"),
        ("jitter", float("nan"), "not nan"),
        ("jitter", "1", "not '1'"),
        ("start", 5, "not 5"),
        ("end", "tomorrow", "not 'tomorrow'"),
        ("max_runs", 0, "not 0"),
        ("max_runs", False, "not False"),
        ("expires", 0, "not 0"),
        ("expires", NOON, "not datetime"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_refused_by_name(option: str, value: Any, named: str):
    with pytest.raises(ConfigurationError, match=option) as refused:
        make_policy("It", {option: value}, UTC)
    assert named in str(refused.value)


def test_a_misspelt_option_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigurationError, match=r"It has no option 'max_run'\. Did you mean 'max_runs'\?"):
        make_policy("It", {"max_run": 3}, UTC)


def test_a_schedule_cannot_end_before_it_starts():
    with pytest.raises(ConfigurationError, match="before it starts"):
        make_policy("It", {"start": NOON, "end": NOON - timedelta(seconds=1)}, UTC)
