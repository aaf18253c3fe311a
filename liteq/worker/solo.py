"""A worker without a supervisor: it runs jobs in the calling thread, and a second thread looks after it.

Nobody stands beside it who could end a job: time limits cannot be kept, a task that holds the interpreter
keeps the lease from being renewed, and a crash ends the whole program.
"""

from __future__ import annotations

import os
import random as random_module
import threading
from collections.abc import Mapping
from typing import Any

from liteq.clock import Clock, SystemClock
from liteq.errors import LiteqError, NotSupportedError, StoreBusyError, StoreFullError
from liteq.job import WorkerInfo
from liteq.task import Task
from liteq.transport import Transport
from liteq.worker.beating import Beat
from liteq.worker.config import DEFAULT_VISIBILITY_TIMEOUT, WorkerConfig
from liteq.worker.executor import Executor
from liteq.worker.imports import settings_on
from liteq.worker.log import LOGGER
from liteq.worker.loop import WorkerLoop
from liteq.worker.patience import Patience
from liteq.worker.recovery import Recovery
from liteq.worker.scheduler import Scheduler
from liteq.worker.surroundings import OwnSurroundings, Surroundings
from liteq.worker.upkeep import Upkeep

__all__ = ["SoloWorker"]


class SoloWorker:
    """One worker in this very process.

    Args:
        transport: the store.
        tasks: the tasks that it runs.
        config: what it is told; `max_jobs` is for those whom somebody replaces, and plays no part here.
        scheduler: fires schedules in a thread beside it; None for nobody.
        surroundings: keeps the process as the jobs found it; by default as its own.

    Raises:
        NotSupportedError: a task has a time limit.
    """

    def __init__(
        self,
        transport: Transport,
        tasks: Mapping[str, Task[..., Any]],
        config: WorkerConfig,
        scheduler: Scheduler | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        for task in tasks.values():
            if task.time_limit is not None:
                raise NotSupportedError(
                    f"The task {task.name} has a time_limit, and a lone worker cannot end its own job; "
                    "use worker processes."
                )
        pid = os.getpid()
        self._transport = transport
        self._config = config
        self._clock: Clock = SystemClock()
        own = settings_on(config.url, tasks)
        default = DEFAULT_VISIBILITY_TIMEOUT if own is None else own.visibility_timeout
        self._visibility_timeout = config.visibility_timeout or default
        self._renewed = self._clock.monotonic()
        self._recovery = Recovery(transport, self._clock, random_module.random)
        self._upkeep = Upkeep(transport, self._clock)
        self._beat = Beat(scheduler)
        self._ended = threading.Event()
        self._failure: LiteqError | None = None
        self._loop = WorkerLoop(
            transport,
            Executor(tasks, transport, self._clock, hostname=config.hostname),
            WorkerInfo(config.name, config.hostname, pid, pid, config.queues),
            visibility_timeout=self._visibility_timeout,
            on_time_limit=_warn_of_limit,
            on_idle=self._stop_if_drained if config.drain else None,
            surroundings=OwnSurroundings() if surroundings is None else surroundings,
        )

    def stop(self) -> None:
        """Finish the running job, hand back the rest, and end; may be called from a signal handler."""
        self._loop.stop()

    def run(self) -> None:
        """Work until stopped or, with `drain`, until nothing is left to do; call it once.

        Raises:
            StoreError: the store cannot serve any more.
        """
        keeper = threading.Thread(target=self._keep, name="liteq-solo", daemon=True)
        keeper.start()
        self._beat.start()
        try:
            self._loop.run()
        finally:
            self._ended.set()
            self._beat.stop()
            keeper.join()
        if self._failure is not None:
            raise self._failure

    def _keep(self) -> None:
        """Do what a supervisor does for its workers and for the store."""
        try:
            pause = 0.0
            patience = Patience(self._clock)
            while not self._ended.wait(pause):
                try:
                    pause = self._look()
                    patience.is_over()
                except (StoreFullError, StoreBusyError) as error:
                    patience.tell(error)
                    pause = 1.0
        except LiteqError as error:
            self._failure = error
            self._loop.stop()
        finally:
            self._upkeep.close()

    def _look(self) -> float:
        """Look once at everything; return the seconds until the next look."""
        holder = self._loop.holder
        own = [] if holder is None else [holder]
        for settled in self._recovery.look(own):
            LOGGER.warning("Job %s was recovered from a worker that is gone.", settled.id)
        now = self._clock.monotonic()
        heartbeat = self._visibility_timeout / 3
        if own and now - self._renewed >= heartbeat:
            self._transport.renew(own, self._visibility_timeout, self._clock.wall())
            self._renewed = now
        soon = 0.25 if self._recovery.is_watching else 1.0
        return min(soon, heartbeat, self._upkeep.look())

    def _stop_if_drained(self) -> None:
        """Nothing is ready; stop if nobody else runs anything that may bring more."""
        if not any(record.leases for record in self._transport.workers()):
            self._loop.stop()


def _warn_of_limit() -> None:
    LOGGER.warning("The job that begins now was given a time_limit; a lone worker cannot end it.")
