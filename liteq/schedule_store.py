"""The part of the port that keeps schedules; every transport has it, and passes the same contract for it.

A store keeps what `liteq.timetable.ScheduleRecord` says and decides nothing: which ticks fire, and when the
next one is, arrives here as a `Firing`.

**Exactly once.** Each record has a revision, which every change raises by one. `save_schedules` and `fire`
change a schedule only if its revision is still the one that the caller has seen, and `fire` stores the jobs
of a tick in the same transaction. So of two schedulers that fire the same tick one is refused, and a tick
that was fired is never fired again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from liteq.timetable import Firing, ScheduleRecord

__all__ = ["REPLACED", "ScheduleStore"]

REPLACED = "replaced by the next run of its schedule"
"""The reason of a job that became REVOKED because the next run of its schedule took its place."""


class ScheduleStore(ABC):
    """Keeps schedules; see the module's text for the rules."""

    @abstractmethod
    def schedules(self, names: Sequence[str] | None = None) -> list[ScheduleRecord]:
        """Read schedules, in the order of their names: those named that are there, or all for None."""

    @abstractmethod
    def save_schedules(self, records: Sequence[ScheduleRecord]) -> list[bool]:
        """Store schedules in one transaction, each where the store has it at the revision that it says.

        Revision 0 stands for one that is not there. What is stored has the next revision. For each record,
        False if somebody else was faster; then nothing of that record is stored. Where a task was declared to
        live is stored with a schedule that has a job of it. Wakes the schedulers after the commit if anything
        was stored.
        """

    @abstractmethod
    def remove_schedules(self, names: Sequence[str], seen: Sequence[int] | None = None) -> list[bool]:
        """Remove schedules in one transaction; False for those that are not there. Wakes the schedulers.

        The jobs that they have enqueued are left alone.

        Args:
            names: which ones.
            seen: for each, the revision at which alone it is removed; False if it has another by now. Default
                None, for removing them whatever has become of them.
        """

    @abstractmethod
    def next_tick(self) -> float | None:
        """Return the earliest `next_run` of the schedules that are neither paused nor broken. Reads only."""

    @abstractmethod
    def due_schedules(self, now: float, limit: int = 100) -> list[ScheduleRecord]:
        """Read the schedules whose `next_run` has come, the earliest first; not the paused or broken ones.

        One whose record makes no sense is not among them; it is broken from then on.
        """

    @abstractmethod
    def fire(self, firings: Sequence[Firing], now: float) -> list[bool]:
        """Store schedules and enqueue their jobs, in one transaction, and wake workers after the commit.

        A firing counts if its schedule is stored at the revision that it says. Then its `spec`, `next_run`,
        `last_run`, `runs` and `last_job` are stored with the next revision, those of `revoked` that still
        wait become REVOKED with the reason `REPLACED`, and the jobs are enqueued as by `enqueue`. False for
        any other, of which nothing is stored. No scheduler is woken.
        """
