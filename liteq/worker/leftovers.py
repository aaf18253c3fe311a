"""What dead worker processes leave behind, settled in their stead by their supervisor."""

from __future__ import annotations

from typing import NamedTuple

from liteq.clock import Clock
from liteq.job import Running, Transition
from liteq.retry import Random
from liteq.transport import Transport
from liteq.worker.log import LOGGER
from liteq.worker.process import WorkerProcess
from liteq.worker.recovery import find_running
from liteq.worker.verdict import Death, End, judge

__all__ = ["Leftovers"]


class _Dead(NamedTuple):
    """A process that was registered, and how it ended."""

    holder: int
    process: WorkerProcess
    death: Death
    status: int


class Leftovers:
    """The jobs of dead processes until they are settled; what they died of is not forgotten meanwhile.

    Args:
        transport: the store.
        clock: tells the time.
        random: a source of floats in [0, 1).
    """

    def __init__(self, transport: Transport, clock: Clock, random: Random) -> None:
        self._transport = transport
        self._clock = clock
        self._random = random
        self._dead: list[_Dead] = []

    def add(self, holder: int, process: WorkerProcess, death: Death, status: int) -> None:
        """Note that a process has ended; `settle` does the rest."""
        self._dead.append(_Dead(holder, process, death, status))

    @property
    def holders(self) -> list[int]:
        """Those whose jobs are still to be settled."""
        return [dead.holder for dead in self._dead]

    def settle(self) -> None:
        """Settle everything that the dead held; what a StoreError keeps from that stays for the next time."""
        while self._dead:
            self._settle(self._dead[0])
            del self._dead[0]

    def _settle(self, dead: _Dead) -> None:
        holder, process, death, status = dead
        running = self._transport.running(holder)
        claims = self._transport.leases(holder)
        if death is Death.TIME_LIMIT and not _still_runs(running, process.over_limit):
            death = Death.STOPPED
        now = self._clock.wall()
        end = End(death, status, process.limited_at)
        decided = judge(claims, running, end, process.tasks, now, self._random)
        if decided:
            self._transport.settle(holder, decided, now)
        # Not before: whoever finds jobs in the hands of nobody takes them at once, and charges nobody.
        self._transport.expel(holder, None)
        for settled in decided:
            _report(settled)


def _still_runs(running: Running | None, late: Running | None) -> bool:
    """Tell whether a job whose time is over was not just about to end."""
    found = None if late is None else find_running(running, late.seq, late.token)
    return found is not None and found.deadline == (late and late.deadline)


def _report(settled: Transition) -> None:
    if settled.reason is None:
        return
    if settled.due is None:
        LOGGER.error("Job %s ended %s: %s", settled.id, settled.state, settled.reason)
    else:
        wait = max(0.0, settled.due - settled.at)
        LOGGER.warning("Job %s runs again in %g s: %s", settled.id, wait, settled.reason)
