"""A worker that ends brings in what it has finished, and does not wait for ever for a store out of reach."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from liteq.errors import StoreBusyError, StoreUnreachableError
from liteq.testing import ManualClock
from liteq.worker.parting import PARTING, settle_last
from liteq.worker.patience import Patience


class Outages:
    """A store that is out of reach for so many steps, each of which takes a second."""

    def __init__(self, clock: ManualClock, steps: int, error: type[StoreBusyError] = StoreUnreachableError):
        self.clock = clock
        self.error = error
        self.left = steps
        self.asked = 0

    def step(self) -> None:
        self.asked += 1
        self.clock.advance(1.0)
        if self.left:
            self.left -= 1
            raise self.error("out of reach")


def parts(
    outages: Outages, may_leave: Callable[[], bool] = lambda: True, is_done: Callable[[], bool] = lambda: True
) -> bool:
    patience = Patience(outages.clock)

    def until(over: Callable[[], bool], step: Callable[[], None]) -> None:
        patience.until(over, step, lambda: None)

    return settle_last(outages.step, is_done, may_leave, outages.clock, until)


def test_it_asks_the_store_once_even_if_nothing_seems_to_be_left() -> None:
    outages = Outages(ManualClock(), 0)
    assert parts(outages)
    assert outages.asked == 1


def test_it_asks_until_nothing_is_left() -> None:
    outages = Outages(ManualClock(), 0)
    assert parts(outages, is_done=lambda: outages.asked == 4)
    assert outages.asked == 4


def test_a_worker_that_was_stopped_leaves_a_store_out_of_reach_in_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outages = Outages(ManualClock(), 1_000)
    began = outages.clock.monotonic()
    assert not parts(outages)
    assert PARTING <= outages.clock.monotonic() - began < 10 * PARTING
    assert "is lost" in caplog.text


@pytest.mark.parametrize(
    ("error", "may_leave"), [(StoreUnreachableError, False), (StoreBusyError, True)], ids=["ends", "busy"]
)
def test_any_other_worker_and_any_other_trouble_is_waited_out(
    error: type[StoreBusyError], may_leave: bool
) -> None:
    outages = Outages(ManualClock(), 1_000, error)
    assert parts(outages, lambda: may_leave)
    assert outages.left == 0
