"""Schedulers are killed and suspended at random, and each tick is enqueued exactly once."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from chaos.beat import Row, add_schedules, judge, read_rows
from chaos.proof import PROOFS, check, prove
from liteq.timetable import ScheduleRecord
from liteq.transports.sqlite import schedules
from liteq.transports.sqlite.transport import SqliteTransport
from liteq.worker.scheduler import Scheduler

BEGAN = 1_700_000_000.05
ROWS = [Row("s", BEGAN + number, BEGAN + number) for number in (1, 2, 3)]


def record(**fields: Any) -> ScheduleRecord:
    values = {"name": "s", "task": "t", "spec": "", "policy": "", "job": None, "created": BEGAN, "runs": 3}
    return ScheduleRecord(**{**values, "next_run": BEGAN + 4, **fields})


@pytest.mark.skipif(sys.platform != "linux", reason="pidfds")
def test_each_tick_is_enqueued_exactly_once_whoever_is_killed(seed: int):
    check(prove("beat", PROOFS["beat"].short, seed))


class Racing(SqliteTransport):
    """A store on which everybody leads, and somebody else looks once between two steps of this one."""

    other: Scheduler | None = None

    def lead(self, office: str = "upkeep") -> AbstractContextManager[bool]:
        return nullcontext(True)

    def due_schedules(self, now: float, limit: int = 100) -> list[ScheduleRecord]:
        due = super().due_schedules(now, limit)
        other, self.other = self.other, None
        if other is not None:
            other.look()
        return due


@pytest.mark.parametrize("fault", [False, True])
def test_a_store_that_fires_whatever_the_revision_says_is_found_out(
    fault: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if fault:
        assert "AND revision = ?" in schedules.ADVANCE
        unfenced = schedules.ADVANCE.replace("AND revision = ?", "AND ? > 0")
        monkeypatch.setattr(schedules, "ADVANCE", unfenced)
    with Racing(tmp_path / "queue.db") as transport:
        add_schedules(transport, time.time() - 5)
        transport.other = Scheduler(transport)
        assert Scheduler(transport).look() == 0.0
        problems = judge(read_rows(transport), transport.schedules(), time.time() - 1)

    assert any("2 times" in problem for problem in problems) is fault
    assert bool(problems) is fault


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
