"""What one worker has claimed, runs and has finished: the table that its loop and its keeper share.

The running thread takes jobs from the left of one deque and lays outcomes on another; the keeper takes
jobs back from the right. Each deque operation is atomic, so every job is had by exactly one of them,
without a lock for each job. A lock is held only around a turn with the store, so that an outcome is
always either on the table, in the store, or in the one turn that is under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from threading import Lock

from liteq.clock import Clock
from liteq.errors import DescriptorsLostError
from liteq.job import Claim, ClaimRequest, Transition, WorkerInfo
from liteq.lifecycle import Returned, decide
from liteq.retry import Random
from liteq.states import PENDING
from liteq.transport import Transport
from liteq.worker.log import JobLog

__all__ = ["Desk"]


class Desk:
    """Claims jobs, holds them, and settles what became of them.

    Args:
        on_lost: called when the store's descriptors are lost, before that error is raised; told also whether
            more than one job has run since they were looked at.
        on_settled: called with the jobs whose outcomes have come into the store.

    Attributes:
        holder: the number under which the worker is registered; None before `register`.
        taken: the job that the running thread has taken last.
        running_since: when the job that runs now began, on the monotonic clock; None between jobs.
        suspect: a settlement was refused or a turn said so: the worker may have been expelled.
    """

    def __init__(
        self,
        transport: Transport,
        info: WorkerInfo,
        visibility_timeout: float,
        clock: Clock,
        random: Random,
        log: JobLog,
        on_lost: Callable[[DescriptorsLostError, bool], None],
        on_settled: Callable[[Iterable[Claim]], None] | None = None,
    ) -> None:
        self._transport = transport
        self._info = info
        self._visibility_timeout = visibility_timeout
        self._clock = clock
        self._random = random
        self._log = log
        self._on_lost = on_lost
        self._on_settled = on_settled
        self._lock = Lock()
        self._unstarted: deque[Claim] = deque()
        self._finished: deque[tuple[Transition, Claim, float]] = deque()
        self.holder: int | None = None
        self.taken: Claim | None = None
        self.running_since: float | None = None
        self.suspect = False

    # ---- the running thread ----------------------------------------------------------------------

    def register(self) -> int:
        """Register the worker, anew if it was expelled; return its holder number."""
        self.holder = self._transport.register(self._info, self._visibility_timeout, self._clock.wall())
        self.suspect = False
        return self.holder

    def is_expelled(self) -> bool:
        """Ask the store whether somebody took this worker for dead."""
        self.suspect = False
        return self.holder is not None and not self._transport.is_registered(self.holder)

    def take(self) -> Claim | None:
        """Take the next job to run; None when there is none, or the keeper has handed the rest back."""
        try:
            job = self.taken = self._unstarted.popleft()
        except IndexError:
            return None
        return job

    def is_held(self) -> bool:
        """Tell whether what was claimed is still this worker's.

        A worker that was suspended may have been taken for dead, and its jobs given to others. Those who do
        that expel it first and then read what it publishes, so that either they or it see the other.
        """
        self.suspect = self.is_expelled()
        return not self.suspect

    def finish(self, job: Claim, decided: Transition, at: float) -> None:
        """Lay down what became of a job; `at` is on the monotonic clock."""
        self._finished.append((decided, job, at))

    def claim(self, request: ClaimRequest) -> int:
        """Settle everything finished and claim the next batch in one turn; return how many there are."""
        return self._turn(request)

    # ---- any thread ------------------------------------------------------------------------------

    @property
    def unstarted(self) -> int:
        """How many jobs are claimed and not begun."""
        return len(self._unstarted)

    def oldest_outcome(self) -> float | None:
        """Return when the oldest outcome that is not in the store came about, on the monotonic clock."""
        try:
            return self._finished[0][2]
        except IndexError:
            return None

    def hand_back(self, taken: Claim | None = None) -> None:
        """Take back every job that has not begun; the next turn with the store returns them unharmed.

        Args:
            taken: one that the running thread has taken already, and does not run after all.
        """
        if taken is not None:
            self._unstarted.appendleft(taken)
        while True:
            try:
                job = self._unstarted.pop()
            except IndexError:
                return
            self.give_back(job)

    def give_back(self, job: Claim) -> None:
        """Lay down that a job goes back unharmed, because it has not begun."""
        returned = decide(job, Returned(), self._clock.wall(), self._random)
        self._finished.append((returned, job, self._clock.monotonic()))

    def settle(self) -> None:
        """Bring everything finished and handed back into the store; no turn if there is nothing.

        When it returns, outcomes that another thread was just storing are stored too, or back on the table.
        """
        self._turn(None)

    def _turn(self, request: ClaimRequest | None) -> int:
        with self._lock:
            entries = self._clear()
            if request is None and not entries:
                return 0
            if self.holder is None:
                raise RuntimeError("a worker takes no turn before it is registered")
            try:
                decided = [entry[0] for entry in entries]
                turn = self._transport.turn(self.holder, self._clock.wall(), decided, request)
            except BaseException as error:
                self._finished.extendleft(reversed(entries))
                if isinstance(error, DescriptorsLostError):
                    self._on_lost(error, self._has_others())
                raise
            self._unstarted.extend(turn.claimed)
            if self._on_settled is not None:
                self._on_settled([job for _, job, _ in entries])
            if turn.expelled:
                self.suspect = True
        if turn.refused:
            self._tell_refused(turn.refused, entries)
        return len(turn.claimed)

    def _has_others(self) -> bool:
        """Tell whether jobs besides the one taken last have run since the last turn with the store."""
        last = self.taken
        return any(job is not last and decided.state != PENDING for decided, job, _ in [*self._finished])

    def _clear(self) -> list[tuple[Transition, Claim, float]]:
        entries = []
        while self._finished:
            entries.append(self._finished.popleft())
        return entries

    def _tell_refused(
        self, refused: list[Transition], entries: list[tuple[Transition, Claim, float]]
    ) -> None:
        self.suspect = True
        jobs = {decided.seq: job for decided, job, _ in entries}
        for decided in refused:
            if decided.state != PENDING:
                self._log.superseded(jobs[decided.seq])
