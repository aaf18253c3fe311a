"""Objects of the user's own as schedules: asked politely, checked, and looked back through."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liteq.errors import ScheduleError
from liteq.schedule import Custom, as_schedule
from liteq.schedule.custom import LOOK_BACK

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Listed:
    """Runs at the moments of a list."""

    def __init__(self, moments: list[datetime]) -> None:
        self.moments = sorted(moments)
        self.asked: list[datetime] = []

    def next_after(self, t: datetime) -> datetime | None:
        self.asked.append(t)
        index = bisect_right(self.moments, t)
        return self.moments[index] if index < len(self.moments) else None


class Answering:
    """Answers whatever it was told to."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def next_after(self, t: datetime) -> object:
        return self.answer

    def previous(self, t: datetime) -> object:
        return self.answer


@settings(deadline=None)
@given(
    st.lists(st.datetimes(datetime(2020, 1, 1), datetime(2024, 6, 1), timezones=st.just(UTC)), max_size=8),
    st.integers(0, 3),
)
def test_the_previous_moment_is_found_though_only_the_next_is_told(moments: list[datetime], burst: int):
    moments = moments + [NOON - n * timedelta(microseconds=1) for n in range(1, burst + 1)]
    source = Listed(moments)
    schedule = Custom(source)
    index = bisect_left(source.moments, NOON)

    assert schedule.previous(NOON) == (source.moments[index - 1] if index else None)
    assert len(source.asked) < 100


def test_it_is_looked_for_within_ten_years():
    assert Custom(Listed([NOON - LOOK_BACK + SECOND])).previous(NOON) == NOON - LOOK_BACK + SECOND
    assert Custom(Listed([NOON - LOOK_BACK - SECOND])).previous(NOON) is None


def test_its_own_previous_is_preferred():
    assert Custom(Answering(NOON)).previous(NOON + SECOND) == NOON


def test_it_is_asked_and_answers_in_the_zone_of_the_schedule():
    source = Listed([NOON])
    schedule = as_schedule(source, ZoneInfo("Asia/Tokyo"))

    assert str(schedule.next_after(NOON - SECOND)) == "2024-06-01 21:00:00+09:00"
    assert str(source.asked[0].tzinfo) == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (NOON, "which is not later"),
        (NOON - SECOND, "which is not later"),
        (datetime(2024, 6, 2), "must have a time zone"),
        ("tomorrow", "must be a datetime, not 'tomorrow'"),
        (60, "must be a datetime, not 60"),
    ],
)
def test_an_answer_that_cannot_be_is_an_error_that_says_who_gave_it(answer: object, sentence: str):
    with pytest.raises(ScheduleError, match=sentence) as caught:
        Custom(Answering(answer)).next_after(NOON)  # type: ignore[arg-type]
    assert "next_after" in str(caught.value)
    assert "Answering" in str(caught.value)


def test_an_earlier_moment_that_is_not_earlier_is_an_error():
    with pytest.raises(ScheduleError, match="which is not earlier"):
        Custom(Answering(NOON)).previous(NOON)  # type: ignore[arg-type]


def test_it_equals_one_of_the_same_object_and_is_described_without_an_address():
    source = Listed([])

    assert Custom(source) == Custom(source)
    assert Custom(source) != Custom(Listed([]))
    assert str(Custom(source)).endswith("Listed")
    assert "0x" not in str(Custom(source))
