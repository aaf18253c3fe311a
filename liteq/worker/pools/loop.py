"""The turn of a worker that runs several jobs at once: settle what has ended, claim what there is room for.

    register → turn → start what was claimed ─┐
                 ↑                            │
                 └── sleep until a job has ended, or until there may be one to claim

One thread does this, and the crew runs the jobs. What it claims begins at once, so it holds nothing back.
"""

from __future__ import annotations

import random as random_module
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from queue import SimpleQueue

from liteq.clock import Clock, SystemClock
from liteq.errors import DescriptorsLostError, StoreError
from liteq.job import Claim, ClaimRequest, Transition, WorkerInfo
from liteq.transport import RunningSlot, Transport
from liteq.worker.desk import Desk
from liteq.worker.loop import LONGEST_SLEEP, LoopEnd
from liteq.worker.parting import HURRY, settle_last
from liteq.worker.patience import Patience
from liteq.worker.pools.base import Crew
from liteq.worker.pools.executor import PoolExecutor
from liteq.worker.pools.run import Run
from liteq.worker.pools.unbegun import Unbegun
from liteq.worker.presence import Presence
from liteq.worker.surroundings import Surroundings
from liteq.worker.unknown import UnknownTasks

__all__ = ["ConcurrentLoop"]

_BUDGET = 1_000_000_000
"""What all jobs of one claim may cost together; each costs its share of the room that there is."""


class ConcurrentLoop:
    """Runs the jobs of a store, up to `concurrency` at once, until it is stopped.

    Args:
        transport: the store; used from several threads.
        executor: runs one job; only the tasks that it knows are claimed.
        crew: runs jobs beside each other.
        concurrency: how many jobs run at once, at most.
        info: what the worker tells about itself; its `queues` are the queue names to serve, None for all.
        clock: tells the time.
        visibility_timeout: seconds that a lease lasts without renewal.
        max_jobs: end after this many jobs; None for never.
        on_registered: called with the holder number, and again with a new one after an expulsion.
        on_time_limit: called when a job with a time limit has begun and is published in the slot.
        on_idle: called when nothing runs or is ready for this worker, at most once per wake-up.
        surroundings: keeps the process as the jobs found it; looked after while none runs.
    """

    def __init__(
        self,
        transport: Transport,
        executor: PoolExecutor,
        crew: Crew,
        concurrency: int,
        info: WorkerInfo,
        *,
        clock: Clock | None = None,
        visibility_timeout: float = 60.0,
        max_jobs: int | None = None,
        on_registered: Callable[[int], None] | None = None,
        on_time_limit: Callable[[], None] = lambda: None,
        on_idle: Callable[[], None] = lambda: None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.executor = executor
        self.clock: Clock = SystemClock() if clock is None else clock
        self.on_time_limit = on_time_limit
        self._transport = transport
        self._crew = crew
        self._concurrency = concurrency
        self._plain_limit = concurrency if crew.plain_limit is None else min(concurrency, crew.plain_limit)
        self._left = max_jobs
        self._on_idle = on_idle
        self._queues: Sequence[str] | None = info.queues
        self._surroundings = Surroundings() if surroundings is None else surroundings
        draw = random_module.Random().random
        self._desk = Desk(
            transport, info, visibility_timeout, self.clock, draw, executor.log, self._lost, self._settled
        )
        # A slot of one place would say that jobs run one after the other.
        self._presence = Presence(transport, self._desk, on_registered, max(2, concurrency))
        self._unknown = UnknownTasks(executor.tasks, info.queues)
        self._patience = Patience(self.clock)
        self._listener = transport.listen_for_jobs(info.queues)
        # Held while a job's outcome is laid down and noted here, so that both are always seen together.
        self._lock = threading.Lock()
        # Jobs by seq and token; those that have ended are among them until their outcome is in the store.
        self._active: dict[tuple[int, int], Run] = {}
        self._ended: set[tuple[int, int]] = set()
        self._plain: set[tuple[int, int]] = set()
        self._places = list(range(max(2, concurrency)))
        self._unbegun = Unbegun(self.clock)
        self._stopping = False
        self._may_be_ready = True
        self._asleep = False
        self._empty_turns = 0
        self._ran = False
        # A SimpleQueue because its `put` may be called from a signal handler.
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._ringer = threading.Thread(target=self._ring, name="liteq-ringer", daemon=True)

    @property
    def holder(self) -> int | None:
        """The number under which this worker is registered; None before it is."""
        return self._desk.holder

    @property
    def slot(self) -> RunningSlot | None:
        """Where it publishes what runs."""
        return self._presence.slot

    def is_stopping(self) -> bool:
        """Tell whether nothing may begin any more."""
        return self._stopping

    def stop(self) -> None:
        """Ask the loop to end: what runs is finished, what has not begun is handed back at once.

        Returns at once; may be called from any thread, from a signal handler, and more than once.
        """
        self._stopping = True
        self._transport.hurry(HURRY)
        self._bell.put(True)

    def recall(self) -> None:
        """Stop, and interrupt what runs so that it goes back, if the crew can do that; returns at once."""
        self.stop()
        runs = [run for run in list(self._active.values()) if run.is_running and not run.recalled]
        for run in runs:
            run.recalled = True
        self._crew.recall(runs)

    def run(self) -> LoopEnd:
        """Work until stopped or recycled; call it once.

        Every outcome is in the store when this returns, and the worker is no longer registered.

        Raises:
            StoreError: the store cannot serve any more. A full disk and a busy write lock are waited out.
        """
        return self._crew.main(self._dispatch)

    def _dispatch(self) -> LoopEnd:
        self._surroundings.remember(self._transport)
        self._ringer.start()
        try:
            self._until(self._is_over, self._step)
            self._desk.hand_back()
            self._take_back(also_new=self._stopping)
            is_there = settle_last(
                self._finish,
                lambda: not self._active and self._desk.oldest_outcome() is None,
                lambda: self._stopping and not self._active,
                self.clock,
                self._until,
            )
            self._presence.leave(is_there)
        except StoreError:
            # A store that cannot serve any more may still take these back.
            with suppress(StoreError):
                self._desk.hand_back()
                self._desk.settle()
            raise
        finally:
            self._bell.put(False)
            self._ringer.join()
            self._listener.close()
            self._transport.hurry(None)
        return LoopEnd.STOPPED if self._left != 0 else LoopEnd.RECYCLE

    # ---- turns -----------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        return self._stopping or self._left == 0

    def _until(self, over: Callable[[], bool], step: Callable[[], None]) -> None:
        """Repeat a step, waiting out a full disk and a busy lock; a step that failed lost nothing."""
        self._patience.until(over, step, lambda: None)

    def _step(self) -> None:
        self._attend()
        if self._desk.unstarted:
            # Starting them failed: by now they may have been taken back.
            self._desk.hand_back()
        self._take_back()
        request = self._request()
        has_outcomes = self._desk.oldest_outcome() is not None
        claimed = 0
        if request is not None and (has_outcomes or self._may_be_ready):
            claimed = self._desk.claim(request)
            self._may_be_ready = claimed >= request.limit
        elif has_outcomes:
            self._desk.settle()
        if claimed:
            self._empty_turns = 0
            self._start_claimed()
        elif not self._may_be_ready or request is None:
            self._rest()

    def _attend(self) -> None:
        """Be registered; what runs is published under the new number after an expulsion."""
        before = self._presence.slot
        self._presence.ensure()
        if before is not None and self._presence.slot is not before:
            for run in list(self._active.values()):
                if run.is_published:
                    run.publish()

    def _request(self) -> ClaimRequest | None:
        """Return what there is room for; None if there is none."""
        free = self._concurrency - len(self._active) + len(self._ended)
        if self._left is not None:
            free = min(free, self._left)
        if free <= 0:
            return None
        plain = min(free, self._plain_limit - len(self._plain))
        rooms = (plain, 0 if self._unbegun.is_stalled else free)
        costs = {
            task: _BUDGET // room
            for task in self.executor.tasks
            if (room := rooms[self.executor.is_async(task)]) > 0
        }
        return ClaimRequest(costs, self._queues, _BUDGET, free) if costs else None

    def _start_claimed(self) -> None:
        self.executor.log.refresh()
        runs: list[Run] = []
        while (job := self._desk.take()) is not None:
            run = Run(self, job, self._places.pop(), self.executor.is_async(job.task))
            self._active[run.key] = run
            if not run.is_async:
                self._plain.add(run.key)
            runs.append(run)
        if self._left is not None:
            self._left -= len(runs)
        self._ran = True
        self._crew.start(self._unbegun.add(self._surely_held(runs)))

    def _take_back(self, also_new: bool = False) -> None:
        """Take back what the crew should have begun, or whatever it has not begun."""
        runs = self._unbegun.take_back(also_new)
        if self._left is not None:
            self._left += len(runs)
        for run in runs:
            self.returned(run)

    def _surely_held(self, runs: list[Run]) -> list[Run]:
        """Give back those that must not run twice, if somebody else may have been given them.

        They are published first: whoever takes a worker's jobs expels it and then reads what it publishes, so
        that either they or it see the other.
        """
        once = [run for run in runs if run.job.max_crashes == 0]
        if not once:
            return runs
        for run in once:
            run.publish()
        is_held = False
        try:
            is_held = self._desk.is_held()
        except StoreError:
            self._desk.suspect = True
        if is_held:
            return runs
        for run in once:
            self.returned(run)
        return [run for run in runs if run.job.max_crashes > 0]

    # ---- what the jobs say, from any thread -------------------------------------------------------

    def finished(self, run: Run, decided: Transition | None) -> None:
        """Take what the store is to record of a job; None if it has ended in a transaction of its own."""
        with self._lock:
            if decided is None:
                self._forget(run)
            else:
                self._desk.finish(run.job, decided, self.clock.monotonic())
                self._note_end(run)
        self._wake()

    def returned(self, run: Run) -> None:
        """Take back a job that has not begun."""
        if run.is_published:
            run.unpublish()
        with self._lock:
            self._desk.give_back(run.job)
            self._note_end(run)
        self._wake()

    def passed(self, run: Run) -> None:
        """Claim again for a crew that goes on."""
        if self._unbegun.passed(run):
            self._may_be_ready = True
            self._wake()

    def _note_end(self, run: Run) -> None:
        self._plain.discard(run.key)
        self._ended.add(run.key)

    def _forget(self, run: Run) -> None:
        run.unpublish()
        self._plain.discard(run.key)
        self._active.pop(run.key, None)
        self._ended.discard(run.key)
        self._places.append(run.place)

    def _settled(self, jobs: Iterable[Claim]) -> None:
        """Publish no longer what is in the store."""
        with self._lock:
            for job in jobs:
                run = self._active.get((job.seq, job.token))
                if run is not None:
                    self._forget(run)

    def _wake(self) -> None:
        if self._asleep:
            self._asleep = False
            self._listener.ring()

    def _ring(self) -> None:
        while self._bell.get():
            self._listener.ring()

    def _lost(self, error: DescriptorsLostError, _blame_is_open: bool) -> None:
        """End the process, where it may be ended; whatever runs, or has just ended, may be to blame."""
        self._surroundings.end(error)

    # ---- resting ---------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Sleep until a job has ended, or until there may be something to claim."""
        while True:
            request = self._request()
            if request is not None:
                self._listener.arm()
            # Before looking: what ends after the look then rings.
            self._asleep = True
            try:
                if self._is_over() or self._desk.suspect or self._desk.oldest_outcome() is not None:
                    return
                longest = self._unbegun.rest(LONGEST_SLEEP)
                if request is None:
                    self._may_be_ready |= self._listener.wait(longest)
                    return
                now = self.clock.wall()
                due = self._transport.next_due(request)
                if due is not None and due <= now:
                    self._may_be_ready = True
                    self._pause_before_empty_turn()
                    return
                self._empty_turns = 0
                self._report_idle()
                if self._listener.wait(longest if due is None else min(longest, due - now)):
                    self._may_be_ready = True
                    self._unknown.suspect()
                    return
                if longest < LONGEST_SLEEP:
                    return
            finally:
                self._asleep = False

    def _pause_before_empty_turn(self) -> None:
        """Something is ready although the last turn claimed nothing: find out why, and never spin on it."""
        self._empty_turns += 1
        if self._empty_turns > 1:
            self._desk.suspect = True
            self._listener.wait(min(LONGEST_SLEEP, 0.001 * 2 ** min(self._empty_turns, 10)))

    def _report_idle(self) -> None:
        if self._active:
            return
        if self._ran:
            self._ran = False
            try:
                self._surroundings.restore()
            except DescriptorsLostError as error:
                self._surroundings.end(error)
        self._on_idle()
        self._unknown.tell(self._transport, self.clock)

    # ---- going -----------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Store what has ended, and wait for what runs."""
        self._asleep = True
        try:
            if self._desk.oldest_outcome() is None and self._active:
                self._listener.wait(LONGEST_SLEEP)
        finally:
            self._asleep = False
        self._desk.settle()
