"""The parent of the worker processes: starts them, watches them, answers for them.

One thread runs `Supervisor.run`. It sleeps until a process says something or ends, until somebody asks
it to stop, or until something is due: a heartbeat, a time limit, a look at the other workers, upkeep.

It does for its workers what they cannot do for themselves while a task holds the interpreter: it renews
their leases, takes back the jobs behind the one that holds it, ends a job at its time limit by ending the
process, and settles what a dead process held.
"""

from __future__ import annotations

import math
import random as random_module
import threading
from collections.abc import Mapping
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from liteq.clock import Clock, SystemClock
from liteq.errors import LiteqError, StoreBusyError, StoreError, StoreFullError, WorkerError
from liteq.job import ClaimRequest
from liteq.retry import Random
from liteq.transport import Transport
from liteq.worker.agenda import Agenda
from liteq.worker.beating import Beat
from liteq.worker.config import DEFAULT_VISIBILITY_TIMEOUT, WorkerConfig
from liteq.worker.leftovers import Leftovers
from liteq.worker.limits import TimeLimits
from liteq.worker.log import LOGGER
from liteq.worker.parting import HURRY
from liteq.worker.patience import Patience
from liteq.worker.pools.registry import PROCESSES, find_pool
from liteq.worker.position import Position
from liteq.worker.process import Exited, Said, WorkerProcess
from liteq.worker.recalling import RECALL_FOR, Recalls
from liteq.worker.recovery import Recovery
from liteq.worker.scheduler import Scheduler
from liteq.worker.taking_back import TakingBack
from liteq.worker.upkeep import Upkeep
from liteq.worker.verdict import Death, describe_exit

__all__ = ["Supervisor"]

LOOK_INTERVAL = 1.0
"""Seconds between looks at the other workers of the store."""
LOOK_INTERVAL_ALONE = 3.0
"""Seconds between such looks while nothing runs and there are no others; who comes is found by the next."""
SOON = 0.25
"""Seconds until the next look while a worker is suspected of being dead."""
FAREWELL = 5.0
"""Seconds in which a process ends after its last job is settled."""
KILL_TIMEOUT = 10.0
"""Seconds in which the system ends a killed process."""


class Supervisor:
    """Keeps `concurrency` worker processes running on a store.

    Args:
        transport: the store, opened by this process for the supervisor's own use.
        config: what every worker process is told; each gets a name of its own.
        concurrency: how many processes.
        clock: tells the time.
        random: a source of floats in [0, 1).
        scheduler: fires schedules in a thread beside it; None for nobody.
    """

    def __init__(
        self,
        transport: Transport,
        config: WorkerConfig,
        concurrency: int,
        *,
        scheduler: Scheduler | None = None,
        clock: Clock | None = None,
        random: Random = random_module.random,
    ) -> None:
        self._transport = transport
        self._config = config
        self._clock: Clock = SystemClock() if clock is None else clock
        self._positions = [
            Position(_numbered(config, number), self._clock) for number in range(1, concurrency + 1)
        ]
        self._events: SimpleQueue[Said | Exited | None] = SimpleQueue()
        self._visibility_timeout = config.visibility_timeout or DEFAULT_VISIBILITY_TIMEOUT
        self._recovery = Recovery(transport, self._clock, random)
        self._leftovers = Leftovers(transport, self._clock, random)
        self._patience = Patience(self._clock)
        self._upkeep = Upkeep(transport, self._clock)
        self._agenda = Agenda(self._clock)
        self._limits = TimeLimits(transport, self._clock)
        self._taking_back = TakingBack(transport, self._clock, random)
        pool = find_pool(config.pool) if config.pool != PROCESSES else None
        self._first = None if pool is None else pool.first
        self._recalls = Recalls(self._clock, RECALL_FOR if pool is not None and pool.recalls else 0.0)
        self._beat = Beat(scheduler)
        self._stopping = False
        self._killing = False
        self._asked: set[WorkerProcess] = set()
        self._idle: set[WorkerProcess] = set()
        self._failure: LiteqError | None = None
        self.ready = threading.Event()
        """Set once every worker process has registered, or the supervisor has given up."""
        self.tasks: dict[str, Mapping[str, Any]] = {}
        """The tasks that the workers announced, each with its retry options."""

    # ---- from any thread -------------------------------------------------------------------------

    def stop(self) -> None:
        """Let the workers finish the jobs they run, hand back the rest, and end."""
        self._stopping = True
        self._transport.hurry(HURRY)
        self._events.put(None)

    def kill(self) -> None:
        """End the workers now, or after a moment where their pool can interrupt its jobs.

        The jobs that they run go back to the queue and lose no attempt.
        """
        self._stopping = self._killing = True
        self._transport.hurry(HURRY)
        self._events.put(None)

    @property
    def processes(self) -> list[int]:
        """The process ids of the workers that are running now."""
        return [position.process.pid for position in self._positions if position.process is not None]

    @property
    def has_failed(self) -> bool:
        """Whether it has given up; `run` raises the reason once the workers have ended."""
        return self._failure is not None

    # ---- the loop --------------------------------------------------------------------------------

    def run(self) -> None:
        """Supervise until stopped; returns when every worker process has ended.

        Raises:
            WorkerError: the workers cannot start, or cannot go on; the message is theirs.
            StoreError: the store cannot serve any more.
        """
        for duty in (self._look, self._keep_up, self._start_missing):
            self._agenda.set(duty)
        self._agenda.set(self._renew, self._heartbeat)
        self._beat.start()
        try:
            while not self._is_over():
                self._step()
        finally:
            self._beat.ask_to_stop()
            self._end_all()
            self._beat.stop()
            self._taking_back.close()
            self._upkeep.close()
            self._transport.hurry(None)
            self.ready.set()
        if self._failure is not None:
            raise self._failure

    @property
    def _heartbeat(self) -> float:
        return self._visibility_timeout / 3

    def _is_over(self) -> bool:
        return self._stopping and not any(position.process for position in self._positions)

    def _step(self) -> None:
        event = self._next_event()
        try:
            self._handle(event)
            # First, because it needs nothing of a store that may be in trouble.
            self._limits.look()
            self._agenda.do_due()
            self._patience.is_over()
        except (StoreFullError, StoreBusyError) as error:
            self._patience.tell(error)
            self._agenda.postpone(1.0)
        except StoreError as error:
            self._give_up(error)
            # The workers finish what they run, and keep their leases as far as the store allows.
            self._agenda.postpone(SOON)
        if self._stopping:
            self._tell_to_stop()

    def _next_event(self) -> Said | Exited | None:
        due = min((self._agenda.next_due, *self._limits.looks))
        try:
            return self._events.get(timeout=max(0.0, due - self._clock.monotonic()))
        except Empty:
            return None

    def _handle(self, event: Said | Exited | None) -> None:
        while event is not None:
            if isinstance(event, Said):
                self._hear(event.process, event.message)
            else:
                self._bury(event.process, event.status)
            try:
                event = self._events.get_nowait()
            except Empty:
                return

    def _give_up(self, error: LiteqError) -> None:
        if self._failure is None:
            self._failure = error
        self._stopping = True
        self.ready.set()

    # ---- starting and stopping -------------------------------------------------------------------

    def _start_missing(self) -> float:
        """Start the processes whose time has come; return the seconds until the next one's."""
        if self._stopping:
            return LOOK_INTERVAL
        waits = [LOOK_INTERVAL_ALONE]
        for position in self._positions:
            if position.process is None:
                wait = position.starts_at - self._clock.monotonic()
                if wait <= 0:
                    position.process = WorkerProcess(position.config, self._events.put, self._first)
                else:
                    waits.append(wait)
        return min(waits)

    def _tell_to_stop(self) -> None:
        self._beat.ask_to_stop()
        for position in self._positions:
            process = position.process
            if process is None:
                continue
            if self._killing:
                if self._recalls.is_over(process):
                    process.kill()
            elif process not in self._asked:
                self._asked.add(process)
                process.ask_to_stop()

    def _end_all(self) -> None:
        """Leave no process behind, whatever happened; then settle what they held."""
        for position in self._positions:
            if position.process is not None:
                self._killing = self._stopping = True
                position.process.kill()
        while any(position.process for position in self._positions):
            try:
                event = self._events.get(timeout=KILL_TIMEOUT)
                if isinstance(event, Exited):
                    self._bury(event.process, event.status)
                    self._leftovers.settle()
            except Empty:
                LOGGER.error("A worker process did not end within %g s of SIGKILL.", KILL_TIMEOUT)
                return
            except LiteqError as error:
                LOGGER.warning("%s The jobs it held are recovered by the next worker.", error)

    # ---- what the processes say ------------------------------------------------------------------

    def _hear(self, process: WorkerProcess, message: Mapping[str, Any]) -> None:
        position = self._position_of(process)
        if position is None:
            # Read after its end was known: what it forked held the pipe open.
            return
        match message["type"]:
            case "hello":
                process.holder = int(message["holder"])
                process.tasks = message["tasks"]
                position.config = replace(position.config, declares=False)
                self.tasks.update(process.tasks)
                self._adopt(float(message["visibility_timeout"]))
                position.welcome()
                if all(position.is_ready for position in self._positions):
                    self.ready.set()
            case "end":
                process.ended_at = self._clock.monotonic()
            case "limit":
                self._limits.watch(process)
            case "idle":
                self._idle.add(process)
                self._stop_if_drained()
            case "failed":
                self._give_up(WorkerError(str(message["error"])))

    def _adopt(self, visibility_timeout: float) -> None:
        """Renew at the pace that the workers' own queue asks for."""
        if visibility_timeout != self._visibility_timeout:
            self._visibility_timeout = visibility_timeout
            self._agenda.set(self._renew, self._heartbeat)

    def _position_of(self, process: WorkerProcess) -> Position | None:
        return next((position for position in self._positions if position.process is process), None)

    def _stop_if_drained(self) -> None:
        """Stop when nothing is ready for these workers and nobody runs anything."""
        if not self._config.drain or any(p.process not in self._idle for p in self._positions):
            return
        request = ClaimRequest(dict.fromkeys(self.tasks, 1), self._config.queues)
        due = self._transport.next_due(request)
        is_ready = due is not None and due <= self._clock.wall()
        if not is_ready and not any(record.leases for record in self._transport.workers()):
            self._stopping = True
        self._idle.clear()

    # ---- what the dead leave behind --------------------------------------------------------------

    def _bury(self, process: WorkerProcess, status: int) -> None:
        position = self._position_of(process)
        if position is None:
            return
        death = self._cause(process, status)
        self._asked.discard(process)
        self._idle.discard(process)
        self._limits.forget(process)
        if death is Death.CRASHED:
            LOGGER.error("Worker %s (pid %d) %s.", process.name, process.pid, describe_exit(status))
        # Before anything that may fail: from here on, the place is empty and its holder nobody's own.
        delay = position.mourn(expected=death is not Death.CRASHED)
        self._agenda.set(self._start_missing, delay)
        if position.never_lived and not self._stopping:
            self._give_up(
                WorkerError(
                    f"Worker {process.name} {describe_exit(status)} each time before it was ready. "
                    "Run it alone to see why: the last lines on stderr are its own."
                )
            )
        if process.holder is not None:
            self._leftovers.add(process.holder, process, death, status)
            self._agenda.set(self._settle_leftovers)

    def _cause(self, process: WorkerProcess, status: int) -> Death:
        if process.over_limit is not None:
            return Death.TIME_LIMIT
        # Status 0 alone says nothing: a task may have called `os._exit(0)`.
        asked = status == 0 and process in self._asked
        if asked or process.ended_at is not None or self._killing or self._failure is not None:
            return Death.STOPPED
        return Death.CRASHED

    # ---- duties ----------------------------------------------------------------------------------

    def _settle_leftovers(self) -> float:
        """Settle for those who have died; due again when another one has, or where it fails."""
        self._leftovers.settle()
        return math.inf

    def _look(self) -> float:
        """Look at the other workers of the store, and take over the jobs of those that are gone."""
        own = [p.process.holder for p in self._positions if p.process and p.process.holder is not None]
        own += self._leftovers.holders
        for settled in self._recovery.look(own):
            LOGGER.warning("Job %s was recovered from a worker that is gone.", settled.id)
        self._taking_back.look(self._recovery.own)
        self._bid_farewell()
        if self._recovery.is_watching:
            return SOON
        # Of its own workers' deaths it learns by itself, and their leases it renews itself.
        works = any(record.leases for record in self._recovery.own)
        quiet = self._recovery.is_alone and not works and not self._stopping
        return min(LOOK_INTERVAL_ALONE, self._heartbeat) if quiet else LOOK_INTERVAL

    def _bid_farewell(self) -> None:
        """End the processes that are done, and kept from ending by a thread that some task has left."""
        now = self._clock.monotonic()
        for position in self._positions:
            process = position.process
            if process and process.ended_at is not None and now - process.ended_at > FAREWELL:
                process.kill()

    def _keep_up(self) -> float:
        return self._upkeep.look()

    def _renew(self) -> float:
        """Renew the leases of the workers that are not suspended."""
        living = [
            p.process.holder
            for p in self._positions
            if p.process and p.process.holder is not None and not p.process.is_suspended()
        ]
        if living:
            self._transport.renew(living, self._visibility_timeout, self._clock.wall())
        return self._heartbeat


def _numbered(config: WorkerConfig, number: int) -> WorkerConfig:
    """Return what the supervisor's process of that number is told."""
    return replace(config, name=f"{config.name}-{number}", declares=config.declares and number == 1)
