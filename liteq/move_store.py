"""The part of the port that moves what a store keeps to another; every transport passes the same contract.

A store keeps what it is told and decides nothing: who may move what, and in which order, is
`liteq.app.mover`'s business.

**The source** is closed by `begin_move`, durably: from then on every verb that would change what it keeps
raises `StoreMovedError`, and so do `get` of a job that it does not have or that is not finished, `next_due`
and `next_tick`, for the answer is elsewhere: whoever sleeps until there is something to do is told so when
he looks. What is finished can still be read, and so can `find`, `count`, `schedules` and `origins`. It
keeps all that it has until the target has it (`end_move`); then `discard_moved` drops it. A closed store
stays closed until `reopen`.

**The target** takes what comes batch by batch, in `adopt`. With each batch it stores how far the move has
come, in the same transaction, and only if it was as far as the caller has seen. So a batch is adopted once,
whoever repeats it, even if its jobs have run and left no record meanwhile. What is stored there of a move
stays for good, as a few bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from liteq.errors import MoveRefusedError, StoreMovedError
from liteq.job import Finding, TaskOrigin, WorkerRecord
from liteq.moving import MoveMark, StoredJob
from liteq.timetable import ScheduleRecord

__all__ = [
    "MOST_BYTES",
    "MoveStore",
    "closed",
    "findings",
    "fitting",
    "in_use",
    "refuse_holders",
    "told_moved",
]

MOST_BYTES = 4 << 20
"""Payloads and results in one batch, but for a single job that brings more."""


class MoveStore(ABC):
    """Moves what it keeps to another store, and takes what comes from one; see the module's text."""

    url: str

    @abstractmethod
    def moving(self) -> MoveMark | None:
        """Return the mark of the move for which this store is closed; None if it is open."""

    @abstractmethod
    def begin_move(self, move_id: str, target: str, now: float) -> MoveMark:
        """Close this store, in one transaction; return the mark that it has then.

        One that is closed already keeps its mark, which is returned. Workers that may live somewhere else and
        hold nothing are unregistered: when they come again, they are refused. Jobs that are damaged so that
        they could not be run end FAILURE.

        Raises:
            MoveRefusedError: a worker lives, or a job is under lease; names them. Nothing was changed.
        """

    @abstractmethod
    def export(self, after: int | None, limit: int) -> list[StoredJob]:
        """Read jobs that nobody holds, in the order in which they were stored.

        Args:
            after: those whose `seq` is greater; None for all.
            limit: at most so many, and fewer where payloads and results come to more than `MOST_BYTES`.
        """

    @abstractmethod
    def end_move(self, move_id: str, now: float) -> bool:
        """Note that the target has everything; False if the store is not closed for this move.

        It keeps the time at which it was first called.
        """

    @abstractmethod
    def discard_moved(self, move_id: str, limit: int) -> int:
        """Drop what was moved, at most about `limit` jobs and all schedules at once; return how much went.

        0 as well if the store is not closed for this move, or the move has not ended.
        """

    @abstractmethod
    def reopen(self, move_id: str) -> bool:
        """Take the mark away: the store takes jobs again. False if it is not closed for this move."""

    @abstractmethod
    def adopt(
        self,
        move_id: str,
        seen: bytes | None,
        progress: bytes,
        jobs: Sequence[StoredJob] = (),
        schedules: Sequence[ScheduleRecord] = (),
        origins: Sequence[TaskOrigin] = (),
    ) -> bool:
        """Store jobs and schedules as they are, and how far the move has come, in one transaction.

        The jobs get numbers of this store, in the order given, and stand where they say. Of a task whose
        origin is known here, that stays. Wakes workers, waiting callers and schedulers after the commit.

        Args:
            move_id: which move.
            seen: what was stored as its progress before; None for nothing.
            progress: what is stored now; opaque here.
            jobs: their ids must be new here.
            schedules: their names must be new here.
            origins: where the tasks of the source live.

        A store that is closed itself takes no jobs, schedules and origins, but a note of progress alone.

        Returns:
            Whether it was stored: not if the progress was another one than `seen`.

        Raises:
            MoveRefusedError: an id or a name is in use here; nothing was stored.
        """

    @abstractmethod
    def move_progress(self, move_id: str) -> bytes | None:
        """Read what `adopt` stored last for this move; None if it never did."""


def closed(url: str, mark: MoveMark) -> StoreMovedError:
    """Return the error that says where to go instead of a closed store."""
    moved = "is being moved" if mark.ended is None else "was moved"
    return told_moved(url, f"{moved} to {mark.target}")


def told_moved(url: str, said: str) -> StoreMovedError:
    """Return the same error, where a store has said by itself what has become of it."""
    return StoreMovedError(f"{url} {said}, and nothing is stored here any more; use that queue instead.")


def findings(mark: MoveMark | None) -> list[Finding]:
    """Return what `doctor` says of a closed store; nothing for an open one."""
    if mark is None:
        return []
    if mark.ended is None:
        advice = "Give the same command again to let the move go on."
        return [Finding("move", False, f"closed: it is being moved to {mark.target}", advice)]
    return [Finding("move", False, f"closed: it was moved to {mark.target}", "Use that queue instead.")]


def fitting(jobs: Iterable[StoredJob], limit: int) -> list[StoredJob]:
    """Return the first jobs that make a batch: at most `limit`, and `MOST_BYTES`."""
    batch: list[StoredJob] = []
    size = 0
    for job in jobs:
        size += len(job.payload) + len(job.result or b"")
        if len(batch) >= limit or (batch and size > MOST_BYTES):
            break
        batch.append(job)
    return batch


def refuse_holders(url: str, workers: Iterable[WorkerRecord]) -> None:
    """Refuse to move a store that workers are busy with.

    Raises:
        MoveRefusedError: one of the workers lives, or holds jobs.
    """
    busy = [record for record in workers if record.alive or record.leases]
    if busy:
        raise MoveRefusedError(
            f"{url} cannot be moved while it has workers: {_listed(map(_told, busy))}. Stop them first; what "
            "a dead one holds is taken back by any worker that runs there for a while."
        )


def in_use(url: str, job_ids: Sequence[str], schedules: Sequence[str]) -> MoveRefusedError:
    """Return the error that says which jobs and schedules of a move a store has already, from elsewhere."""
    both = [f"{len(job_ids)} of the jobs ({_listed(job_ids)})"] if job_ids else []
    both += [f"{len(schedules)} of the schedules ({_listed(schedules)})"] if schedules else []
    return MoveRefusedError(
        f"{url} has {' and '.join(both)} already, from elsewhere. Remove them there (`liteq jobs`, "
        "`liteq schedules`) or from what is moved."
    )


def _told(record: WorkerRecord) -> str:
    where = f"pid {record.info.pid} on {record.info.hostname}"
    held = f", holds {record.leases} {'job' if record.leases == 1 else 'jobs'}" if record.leases else ""
    return f"{record.info.name} ({where}{held})"


def _listed(names: Iterable[str]) -> str:
    first = list(names)
    more = f" and {len(first) - 5} more" if len(first) > 5 else ""
    return ", ".join(first[:5]) + more
