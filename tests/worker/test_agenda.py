"""Duties are done when they are due, and those that are due at about the same time together."""

from __future__ import annotations

import pytest

from liteq.testing.clock import ManualClock
from liteq.worker.agenda import TOGETHER, Agenda


class Duties:
    def __init__(self) -> None:
        self.clock = ManualClock(monotonic=100.0)
        self.agenda = Agenda(self.clock)
        self.done: list[str] = []

    def often(self) -> float:
        self.done.append("often")
        return 1.0

    def seldom(self) -> float:
        self.done.append("seldom")
        return 3.0

    def pass_time(self, seconds: float) -> list[str]:
        """Let time pass, do what is due, and tell what that was."""
        self.done.clear()
        self.clock.advance(seconds)
        self.agenda.do_due()
        return self.done


@pytest.fixture
def duties() -> Duties:
    duties = Duties()
    duties.agenda.set(duties.often)
    duties.agenda.set(duties.seldom, TOGETHER / 2)
    return duties


def test_a_duty_is_due_again_when_it_said(duties: Duties) -> None:
    assert duties.pass_time(0) == ["often", "seldom"]
    assert duties.agenda.next_due == 101.0
    assert duties.pass_time(0.5) == []
    assert duties.pass_time(0.5) == ["often"]
    assert duties.pass_time(1) == ["often"]
    assert duties.pass_time(1) == ["often", "seldom"]


def test_a_duty_can_be_called_up_before_its_time(duties: Duties) -> None:
    duties.pass_time(0)
    duties.agenda.set(duties.seldom)
    assert duties.pass_time(0) == ["seldom"]


def test_nothing_is_due_while_all_is_postponed(duties: Duties) -> None:
    duties.agenda.postpone(5.0)
    assert duties.agenda.next_due == 105.0
    assert duties.pass_time(4) == []
    assert duties.pass_time(1) == ["often", "seldom"]


def test_a_duty_that_fails_stays_due(duties: Duties) -> None:
    def fail() -> float:
        raise OSError

    duties.agenda.set(fail)
    with pytest.raises(OSError):
        duties.agenda.do_due()
    duties.clock.advance(0.5)
    assert duties.agenda.next_due == 100.0


def test_a_duty_that_fails_again_and_again_keeps_no_other_from_being_done(duties: Duties) -> None:
    def fail() -> float:
        duties.done.append("fail")
        raise OSError

    agenda = Agenda(duties.clock)
    for duty in (fail, duties.often, duties.seldom):
        agenda.set(duty)
    for _ in range(2):
        with pytest.raises(OSError):
            agenda.do_due()
        agenda.postpone(1.0)
        duties.clock.advance(1.0)
    assert duties.done == ["fail", "often", "seldom", "fail"]
