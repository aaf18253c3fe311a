"""Who has lost an office to somebody else stops doing its work, and takes it again when it is free."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from liteq.testing import ManualClock
from liteq.transports.memory import MemoryTransport
from liteq.worker.scheduler import Scheduler
from liteq.worker.upkeep import Upkeep


class Losing(MemoryTransport):
    """A store whose offices can be lost, as they can where hosts lose touch with each other."""

    def __init__(self) -> None:
        super().__init__("memory://")
        self.is_lost = False
        self.tended = 0

    @contextmanager
    def lead(self, office: str = "upkeep") -> Iterator[bool]:
        with super().lead(office) as leads:
            yield leads and not self.is_lost

    def keeps(self, office: str) -> bool:
        return not self.is_lost

    def tend(self, now: float) -> None:
        self.tended += 1


@pytest.fixture
def store() -> Iterator[Losing]:
    with Losing() as store:
        yield store


def test_a_maintainer_that_is_none_any_more_leaves_the_store_to_others(store: Losing) -> None:
    upkeep = Upkeep(store, ManualClock())
    upkeep.look()
    assert store.tended == 1

    store.is_lost = True
    upkeep.look()
    upkeep.look()
    assert store.tended == 1

    store.is_lost = False
    upkeep.look()
    assert store.tended == 2
    upkeep.close()


def test_a_scheduler_that_leads_no_more_says_so_and_leads_again_later(store: Losing) -> None:
    scheduler = Scheduler(store, ManualClock())
    scheduler.look()
    assert scheduler.is_leader

    store.is_lost = True
    scheduler.look()
    assert not scheduler.is_leader

    store.is_lost = False
    scheduler.look()
    assert scheduler.is_leader
    scheduler.close()
