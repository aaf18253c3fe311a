"""The turn of one worker: settle what is finished and claim what is next, run it, again.

    register → turn → run the batch ─┐
                 ↑                   │
                 ├── gather ─────────┘   (in a stream of short jobs; else at once)
                 └── nothing claimed: arm the doorbell, look when something is due, sleep at most a second

One thread runs jobs; a keeper beside it looks after the batch while a job runs.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from zlib import crc32

from liteq.clock import Clock, SystemClock
from liteq.errors import DescriptorsLostError, StoreError
from liteq.job import Claim, ClaimRequest, WorkerInfo
from liteq.retry import Random
from liteq.transport import Transport
from liteq.worker.batching import (
    ATTEND_FOR,
    BATCH_BUDGET,
    BEGIN_WITHIN,
    GATHER_FOR,
    STAND_BY_FOR,
    Durations,
    Stream,
)
from liteq.worker.desk import Desk
from liteq.worker.executor import Executor
from liteq.worker.keeper import Keeper
from liteq.worker.parting import HURRY, settle_last
from liteq.worker.patience import Patience
from liteq.worker.presence import Presence
from liteq.worker.surroundings import Surroundings
from liteq.worker.unknown import UnknownTasks

__all__ = ["LONGEST_SLEEP", "LoopEnd", "WorkerLoop"]

LONGEST_SLEEP = 1.0
"""Seconds after which an idle worker looks at the store even if nobody rang."""

_BATCH_LIMIT = 128
_OVERRUN = 2 * BATCH_BUDGET / 1_000_000
"""Seconds after which a batch whose jobs took longer than expected is cut short."""


class LoopEnd(StrEnum):
    """Why a worker's loop ended."""

    STOPPED = "stopped"
    RECYCLE = "recycle"
    """It has run `max_jobs` jobs."""


class WorkerLoop:
    """Runs the jobs of a store, one at a time, until it is stopped.

    Args:
        transport: the store; used from two threads.
        executor: runs one job; only the tasks that it knows are claimed.
        info: what the worker tells about itself; its `queues` are the queue names to serve, None for all.
        clock: tells the time.
        visibility_timeout: seconds that a lease lasts without renewal.
        max_jobs: end after this many jobs; None for never.
        random: a source of floats in [0, 1).
        on_registered: called with the holder number, and again with a new one after an expulsion.
        on_time_limit: called when a job with a time limit has begun and is published in the slot.
        surroundings: keeps the process as the jobs found it.
        on_idle: called when nothing is ready for this worker, at most once per wake-up.
    """

    def __init__(
        self,
        transport: Transport,
        executor: Executor,
        info: WorkerInfo,
        *,
        clock: Clock | None = None,
        visibility_timeout: float = 60.0,
        max_jobs: int | None = None,
        random: Random = random_module.random,
        on_registered: Callable[[int], None] | None = None,
        on_time_limit: Callable[[], None] | None = None,
        on_idle: Callable[[], None] | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._transport = transport
        self._executor = executor
        self._clock: Clock = SystemClock() if clock is None else clock
        self._log = executor.log
        self._left = max_jobs
        self._on_time_limit = on_time_limit
        self._on_idle = on_idle
        self._durations = Durations(executor.tasks)
        self._stream = Stream()
        self._interests = crc32(
            repr((info.queues, sorted(executor.tasks))).encode("utf-8", "backslashreplace")
        )
        self._queues: Sequence[str] | None = info.queues
        self._unknown = UnknownTasks(executor.tasks, info.queues)
        self._desk = Desk(
            transport, info, visibility_timeout, self._clock, random, self._log, self._end_for_loss
        )
        self._presence = Presence(transport, self._desk, on_registered)
        self._surroundings = Surroundings() if surroundings is None else surroundings
        self._ran = 0
        self._listener = transport.listen_for_jobs(info.queues)
        self._patience = Patience(self._clock)
        self._keeper = Keeper(self._desk, self._clock, self._listener.ring)
        self._stopping = False
        self._empty_turns = 0

    @property
    def holder(self) -> int | None:
        """The number under which this worker is registered; None before it is."""
        return self._desk.holder

    def stop(self) -> None:
        """Ask the loop to end: the running job is finished, what has not begun is handed back at once.

        Returns at once; may be called from any thread, from a signal handler, and more than once.
        """
        self._stopping = True
        self._transport.hurry(HURRY)
        self._keeper.stop()

    def recall(self) -> None:
        """Do as `stop` does: the running job cannot be interrupted."""
        self.stop()

    def run(self) -> LoopEnd:
        """Work until stopped or recycled; call it once.

        Every outcome is in the store when this returns, and the worker is no longer registered.

        Raises:
            StoreError: the store cannot serve any more (replaced, made by a newer liteq, gone). A full
                disk and a busy write lock are waited out instead.
        """
        self._surroundings.remember(self._transport)
        self._keeper.start()
        try:
            self._until(self._is_over, self._step)
            self._desk.hand_back()
            is_there = settle_last(
                self._desk.settle,
                lambda: self._desk.oldest_outcome() is None,
                lambda: self._stopping,
                self._clock,
                self._until,
            )
            self._presence.leave(is_there)
        except StoreError:
            self._part()
            raise
        finally:
            self._keeper.close()
            self._listener.close()
            self._executor.close()
            self._transport.hurry(None)
        return LoopEnd.STOPPED if self._left != 0 else LoopEnd.RECYCLE

    # ---- turns -----------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        return self._stopping or self._left == 0

    def _until(self, over: Callable[[], bool], step: Callable[[], None]) -> None:
        """Repeat a step, waiting out a full disk and a busy lock; a step that failed lost nothing."""
        self._patience.until(over, step, lambda: self._keeper.failure)

    def _step(self) -> None:
        self._presence.ensure()
        if self._desk.unstarted:
            # A settlement failed in the middle of a batch: by now its rest may have been taken back.
            self._desk.hand_back()
        if self._stream.flows and not self._transport.is_awaited():
            self._gather()
        if not self._desk.claim(self._request()):
            self._stream.observe(0, 0.0)
            self._rest()
            return
        self._empty_turns = 0
        self._run_batch()

    def _gather(self) -> None:
        """Let some jobs of a stream come together; for longer if another worker attends to it."""
        if self._listener.is_attended(self._interests):
            self._desk.settle()
            self._clock.sleep(STAND_BY_FOR)
        else:
            self._listener.attend(self._interests, ATTEND_FOR)
            self._clock.sleep(GATHER_FOR)

    def _request(self) -> ClaimRequest:
        limit = _BATCH_LIMIT if self._left is None else min(_BATCH_LIMIT, self._left)
        return ClaimRequest(self._durations.costs, self._queues, BATCH_BUDGET, limit)

    # ---- running ---------------------------------------------------------------------------------

    def _run_batch(self) -> None:
        """Run what was claimed; leave the outcomes on the desk for the next turn."""
        self._log.refresh()
        began = self._desk.running_since = self._clock.monotonic()
        claimed = self._desk.unstarted
        self._ran += claimed
        if claimed > 1:
            self._keeper.watch()
        try:
            self._run_jobs(began)
            self._stream.observe(claimed, self._clock.monotonic() - began)
        finally:
            # The last job stays published until the next turn has stored its outcome: if what it did to
            # the process keeps that turn from succeeding, it is the one to blame.
            self._desk.running_since = None

    def _run_jobs(self, began: float) -> None:
        desk, durations, run, monotonic = (
            self._desk,
            self._durations,
            self._executor.run,
            self._clock.monotonic,
        )
        around = self._surroundings
        probe = around.probe
        started = began
        while not self._is_over():
            job = desk.take()
            if job is None:
                return
            limited = self._publish(job, started)
            doubtful = job.max_crashes == 0 or monotonic() - began > BEGIN_WITHIN
            if doubtful and not self._may_begin(job, began):
                return
            decided = run(job)
            try:
                probe()
            except OSError:
                around.end(DescriptorsLostError(f"A job of {job.task} has closed file descriptors in a row."))
            ended = monotonic()
            durations.observe(job.task, ended - started)
            if decided is not None:
                desk.finish(job, decided, ended)
            if self._left is not None:
                self._left -= 1
            if limited:
                self._unlimit(job)
            if job.max_crashes == 0:
                # It must not run twice, so its outcome is stored before anything else happens.
                desk.settle()
                ended = monotonic()
            if ended >= around.due:
                self._restore_surroundings()
                ended = monotonic()
            desk.running_since = started = ended
            if ended - began > _OVERRUN:
                desk.hand_back()

    def _restore_surroundings(self) -> None:
        """Put back what the jobs since the last time have changed of the process."""
        try:
            self._surroundings.restore()
        except DescriptorsLostError as error:
            self._end_for_loss(error, self._ran > 1)
        self._ran = 0

    def _end_for_loss(self, error: DescriptorsLostError, blame_is_open: bool) -> None:
        """End the process, where it may be ended; charge the last job only if no other can be to blame."""
        last = self._desk.taken
        # Not one that must not run twice: nobody would know any more that it has run.
        if blame_is_open and last is not None and last.max_crashes > 0:
            self._presence.clear()
        self._surroundings.end(error)

    def _may_begin(self, job: Claim, began: float) -> bool:
        """Tell whether a job of a batch is still this worker's to run; if not, give back all there is.

        Asked after the job was published: whoever takes jobs from a worker looks at what it runs after it
        can be told so here, and either it or they see the other.
        """
        begins = False
        try:
            in_time = self._clock.monotonic() - began <= BEGIN_WITHIN
            begins = in_time and (job.max_crashes > 0 or self._desk.is_held())
        finally:
            # Also if the store cannot be asked just now.
            if not begins:
                self._presence.clear()
                self._desk.hand_back(job)
        return begins

    def _publish(self, job: Claim, now: float) -> bool:
        """Publish which job starts, and until when it may run; tell whether it has a limit."""
        limit = self._executor.time_limit(job)
        slot = self._presence.slot
        if slot is None:
            return False
        if limit is None:
            slot.begin(job.seq, job.token, None)
            return False
        slot.begin(job.seq, job.token, now + limit)
        if self._on_time_limit is not None:
            self._on_time_limit()
        return True

    def _unlimit(self, job: Claim) -> None:
        """Publish that the job's time limit is over, while it is still the one that ran last."""
        if self._presence.slot is not None:
            self._presence.slot.begin(job.seq, job.token, None)

    # ---- resting ---------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Sleep until there may be something to claim."""
        self._presence.clear()
        if self._ran:
            self._restore_surroundings()
        while True:
            self._listener.arm()
            if self._is_over() or self._desk.suspect or self._keeper.failure is not None:
                return
            now = self._clock.wall()
            due = self._transport.next_due(self._request())
            if due is not None and due <= now:
                self._pause_before_empty_turn()
                return
            self._empty_turns = 0
            self._report_idle()
            if self._listener.wait(LONGEST_SLEEP if due is None else min(LONGEST_SLEEP, due - now)):
                self._unknown.suspect()
                return

    def _pause_before_empty_turn(self) -> None:
        """Something is ready although the last turn claimed nothing: find out why, and never spin on it."""
        self._empty_turns += 1
        if self._empty_turns > 1:
            self._desk.suspect = True
            self._listener.wait(min(LONGEST_SLEEP, 0.001 * 2 ** min(self._empty_turns, 10)))

    def _report_idle(self) -> None:
        if self._on_idle is not None:
            self._on_idle()
        self._unknown.tell(self._transport, self._clock)

    def _part(self) -> None:
        """Hand back what a store that cannot serve any more may still take."""
        with suppress(StoreError):
            self._desk.hand_back()
            self._desk.settle()
            self._presence.leave()
