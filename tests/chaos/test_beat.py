"""Schedulers are killed and suspended at random, and each tick is enqueued exactly once."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from chaos.beat import Row, judge
from chaos.proof import PROOFS, check, prove
from liteq.timetable import ScheduleRecord

BEGAN = 1_700_000_000.05
ROWS = [Row("s", BEGAN + number, BEGAN + number) for number in (1, 2, 3)]


def record(**fields: Any) -> ScheduleRecord:
    values = {"name": "s", "task": "t", "spec": "", "policy": "", "job": None, "created": BEGAN, "runs": 3}
    return ScheduleRecord(**{**values, "next_run": BEGAN + 4, **fields})


@pytest.mark.skipif(sys.platform != "linux", reason="pidfds")
def test_each_tick_is_enqueued_exactly_once_whoever_is_killed(seed: int):
    check(prove("beat", PROOFS["beat"].short, seed))


def test_a_complete_row_of_ticks_is_no_problem():
    assert judge(ROWS, [record()], BEGAN + 3.9) == []


@pytest.mark.parametrize(
    ("rows", "fields", "problem"),
    [
        ([*ROWS, ROWS[1]], {}, "2 times"),
        ([ROWS[0], ROWS[2]], {}, "missing"),
        (ROWS[:2], {}, "missing"),
        ([*ROWS, Row("s", BEGAN + 2.5, BEGAN + 3)], {}, "no tick"),
        (ROWS, {"runs": 2}, "no tick"),
        (ROWS, {"next_run": BEGAN + 3.5}, "stands still"),
        (ROWS, {"next_run": None}, "stands still"),
    ],
)
def test_what_is_not_exactly_once_is_noticed(rows: list[Row], fields: dict[str, Any], problem: str):
    [found] = judge(rows, [record(**fields)], BEGAN + 3.9)
    assert problem in found
