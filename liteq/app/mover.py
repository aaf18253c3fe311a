"""Moving a store's content: which step follows which, so that a move may be cut off anywhere and go on.

1. The source is closed, and its mark says where to.
2. Its jobs go to the target in the order in which they were stored, batch by batch, and at last its
   schedules: their jobs are there by then. How far this has come is stored in the target with each batch.
3. The source notes that the target has everything, and only now drops what it has. So what a target that
   syncs late may lose until then is not lost for good.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, Self

from liteq.app.digests import parted
from liteq.clock import Clock, SystemClock
from liteq.errors import MoveRefusedError, StoreMovedError
from liteq.ids import new_id
from liteq.move_store import in_use
from liteq.moving import Moved, MoveMark, StoredJob, within_bounds
from liteq.states import FAILURE
from liteq.timetable import ScheduleRecord
from liteq.transport import Transport
from liteq.worker.recovery import Recovery

__all__ = ["CHECK", "Mover"]

LOOKS = 10
PAUSE = 0.05
"""Seconds between looks at workers that have just died, whose supervisors get a moment to act."""


WITHDRAWN = b"withdrawn"
"""The progress of a move that was refused after its source had been closed: nobody can begin it any more."""


CHECK = "check"
"""What stands in the place of a move's id in a note that says nothing."""


class _Progress(NamedTuple):
    """How far a move has come."""

    after: int | None
    """The number, in the source, of the last job that the target has."""
    complete: bool
    """Whether it has the schedules as well."""
    moved: Moved

    @classmethod
    def read(cls, stored: bytes | None) -> Self:
        """Read what `written` made; nothing stored means that nothing was moved."""
        if stored is None:
            return cls(None, False, Moved())
        try:
            after, complete, moved = json.loads(stored)
            return cls(after, complete, Moved(*moved))
        except (ValueError, TypeError) as error:
            raise MoveRefusedError(
                f"What the target says of how far this move has come is damaged: {stored!r:.100}"
            ) from error

    def written(self) -> bytes:
        """Return it as the target stores it."""
        return json.dumps(self).encode()


class Mover:
    """One run of a move.

    Args:
        source: the store that is moved.
        target: the store that it is moved to.
        batch: how many jobs go at once.
        progress: called with what has been moved, after each batch.
        clock: tells the time.
    """

    def __init__(
        self,
        source: Transport,
        target: Transport,
        *,
        batch: int = 1000,
        progress: Callable[[Moved], object] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._batch = batch
        self._report = progress or (lambda moved: None)
        self._clock = clock or SystemClock()

    def run(self) -> Moved:
        """Begin the move or go on with it, until all is done; return what was moved in all its runs.

        Several may run at the same time, to no purpose and no harm.

        Raises:
            MoveRefusedError: something is in the way.
        """
        source, target = self._source, self._target
        if source is target or (source.crosses_processes and source.url == target.url):
            raise self._same_store()
        mark = self._begin()
        # One that synced late may have lost what it had: as long as it is here, it goes there again.
        if mark.ended is None or not _Progress.read(target.move_progress(mark.id)).complete:
            self._copy(mark)
            # A target that syncs late does so now.
            target.tend(self._clock.wall())
            if not source.end_move(mark.id, self._clock.wall()):
                raise self._withdrawn()
        _empty(source, mark, self._batch)
        return _Progress.read(target.move_progress(mark.id)).moved

    # ---- beginning ---------------------------------------------------------------------------------

    def _begin(self) -> MoveMark:
        """Close the source, or find it closed for a move to this target."""
        source, target = self._source, self._target
        mark = source.moving()
        if mark is not None and target.move_progress(mark.id) == WITHDRAWN:
            source.reopen(mark.id)
            mark = None
        if mark is None:
            elsewhere = target.moving()
            if elsewhere is not None and elsewhere.ended is None:
                raise self._target_is_moving(elsewhere)
            self._check_target()
            self._recover()
            mark = source.begin_move(new_id(), target.url, self._clock.wall())
            # If it syncs late, a power cut must not open it again once the target has something.
            source.tend(self._clock.wall())
        is_begun = target.move_progress(mark.id) is not None
        if mark.target != target.url and not is_begun:
            way = "is being moved" if mark.ended is None else "was moved"
            finish = "; let that end first." if mark.ended is None else ", and there is nothing left to move."
            raise MoveRefusedError(f"{source.url} {way} to {mark.target}{finish}")
        if mark.ended is None and not is_begun:
            self._prepare(mark)
        return mark

    def _withdraw(self, mark: MoveMark, refusal: MoveRefusedError | None) -> None:
        """Open the source again and refuse the move, if something speaks against it."""
        # Noted in the target first: from then on nobody can begin this move there.
        if refusal is not None and self._target.adopt(mark.id, None, WITHDRAWN):
            self._source.reopen(mark.id)
            raise refusal

    def _target_is_moving(self, mark: MoveMark) -> MoveRefusedError:
        return MoveRefusedError(
            f"{self._target.url} is being moved to {mark.target} itself; let that end first."
        )

    def _check_target(self) -> None:
        """Find out whether the target can be written to, before the source is closed for it."""
        self._target.adopt(CHECK, self._target.move_progress(CHECK), b"")

    def _recover(self) -> None:
        """Take back what dead workers have held."""
        recovery = Recovery(self._source, self._clock, random.random)
        for _ in range(LOOKS):
            recovery.look()
            if not recovery.is_watching:
                return
            self._clock.sleep(PAUSE)

    def _prepare(self, mark: MoveMark) -> None:
        """See to it that the target can take everything, before it takes anything."""
        elsewhere = self._target.moving()
        if elsewhere is None:
            self._withdraw(mark, self._find_taken())
        elif elsewhere.id == mark.id:
            self._source.reopen(mark.id)
            raise self._same_store()
        elif elsewhere.ended is None:
            # It was closed after this move had looked, perhaps to be moved here: one of both has to give way.
            self._withdraw(mark, self._target_is_moving(elsewhere))
        else:
            # Something comes back to a store that was moved away: from now on it is open again.
            _empty(self._target, elsewhere, self._batch)
            self._target.reopen(elsewhere.id)

    def _find_taken(self) -> MoveRefusedError | None:
        taken: list[str] = []
        after = None
        while jobs := self._source.export(after, self._batch):
            after = jobs[-1].seq
            found = self._target.get([job.id for job in jobs])
            taken += [job.id for job in found if job is not None]
        names = [record.name for record in self._schedules_to_move()]
        named = [record.name for record in self._target.schedules(names)]
        return in_use(self._target.url, taken, named) if taken or named else None

    def _same_store(self) -> MoveRefusedError:
        return MoveRefusedError(f"{self._source.url} and {self._target.url} are the same store.")

    def _withdrawn(self) -> MoveRefusedError:
        return MoveRefusedError(
            f"{self._source.url} was opened again by another program meanwhile; see what it says."
        )

    # ---- moving ------------------------------------------------------------------------------------

    def _copy(self, mark: MoveMark) -> None:
        """Bring to the target what it does not have yet."""
        while True:
            # Read each time: another program may bring the same, or an answer may have been lost.
            seen = self._target.move_progress(mark.id)
            if seen == WITHDRAWN:
                raise self._withdrawn()
            at = _Progress.read(seen)
            if at.complete:
                return
            origins = self._source.origins() if seen is None else ()
            jobs = list(map(within_bounds, self._source.export(at.after, self._batch)))
            schedules = [] if jobs else self._schedules_to_move()
            then = _after(at, jobs, len(self._source.schedules()))
            try:
                is_new = self._target.adopt(mark.id, seen, then.written(), jobs, schedules, origins)
            except StoreMovedError as error:
                if seen is not None:
                    raise self._moved_on() or error from None
                # It was closed since this move has looked.
                self._prepare(mark)
                continue
            if is_new:
                self._report(then.moved)

    def _moved_on(self) -> MoveRefusedError | None:
        """Return what to do where the target was moved away itself before it had everything."""
        elsewhere = self._target.moving()
        if elsewhere is None:
            return None
        return MoveRefusedError(
            f"{self._target.url} was moved to {elsewhere.target} itself before all of {self._source.url} had "
            "come to it. Move it back from there, and then call this again."
        )

    def _schedules_to_move(self) -> list[ScheduleRecord]:
        """Return the schedules that the target does not have from the same declaration already."""
        records = self._source.schedules()
        there = {record.name: record for record in self._target.schedules([each.name for each in records])}
        return [each for each in records if each.name not in there or not _is_same(each, there[each.name])]


def _empty(store: Transport, mark: MoveMark, batch: int) -> None:
    while store.discard_moved(mark.id, batch):
        pass


def _after(at: _Progress, jobs: Sequence[StoredJob], schedules: int) -> _Progress:
    """Return how far a move has come with these jobs; with none, its schedules go, and it is complete."""
    if not jobs:
        return at._replace(complete=True, moved=at.moved._replace(schedules=schedules))
    counts = Counter(at.moved._asdict())
    counts.update(map(_kind, jobs))
    return at._replace(after=jobs[-1].seq, moved=Moved(**counts))


def _kind(job: StoredJob) -> str:
    if job.station == "finished":
        return "failed" if job.state == FAILURE else "results"
    return "waiting" if job.station == "ready" else "delayed"


def _is_same(one: ScheduleRecord, other: ScheduleRecord) -> bool:
    """Tell whether two schedules do the same, however far they have come: then the target's goes on."""
    if one.module is not None and one.module == other.module:
        said, repeated = (parted(record.declaration)[0] for record in (one, other))
        return said == repeated and one.paused == other.paused
    return _as_declared(one) == _as_declared(other)


def _as_declared(record: ScheduleRecord) -> ScheduleRecord:
    return replace(record, next_run=None, last_run=None, runs=0, last_job=None, created=0.0, revision=0)
