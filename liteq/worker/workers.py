"""What `Queue.start_workers` returns: workers that run beside the program until they are stopped."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from liteq.clock import SystemClock
from liteq.errors import LiteqError, NotSupportedError, WorkerError
from liteq.job import WorkerInfo
from liteq.task import Task
from liteq.transport import Transport
from liteq.worker.beating import Beat
from liteq.worker.config import WorkerConfig
from liteq.worker.executor import Executor
from liteq.worker.loop import WorkerLoop
from liteq.worker.pools.arranging import Arrangement
from liteq.worker.pools.making import Loop
from liteq.worker.recalling import RECALL_FOR
from liteq.worker.scheduler import Scheduler
from liteq.worker.solo import SoloWorker
from liteq.worker.supervisor import Supervisor
from liteq.worker.surroundings import Surroundings
from liteq.worker.ticking import Code
from liteq.worker.upkeep import Upkeep

__all__ = ["ProcessWorkers", "RunningScheduler", "SoloWorkers", "ThreadWorkers", "Workers"]

START_TIMEOUT = 60.0
"""Seconds for all workers to import their tasks and register."""
EXIT_GRACE = 10.0
"""Seconds that running jobs get when the program ends without having stopped its workers."""


class Workers:
    """Workers of this program; a context manager that stops them at its end."""

    def stop(self, timeout: float | None = None) -> None:
        """Stop the workers: running jobs are finished, what has not begun goes back to the queue.

        Args:
            timeout: seconds that running jobs get; then their processes are ended, and the jobs go back to
                the queue without losing an attempt. None to wait for as long as they take. Threads
                cannot be ended, so there a job that runs on is left alone.

        Raises:
            WorkerError: the workers had given up before; the message says why.
        """
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class ProcessWorkers(Workers):
    """Worker processes under a supervisor that runs in a thread of this program."""

    def __init__(
        self,
        open_transport: Callable[[], Transport],
        config: WorkerConfig,
        concurrency: int,
        code: Code | None = None,
    ) -> None:
        """Start the workers, and return once they are ready to run jobs.

        Args:
            open_transport: opens the store anew, for the supervisor's own use.
            config: what each worker process is told.
            concurrency: how many processes.
            code: what the program's code says about schedules; None to fire none.

        Raises:
            WorkerError: a worker could not start; the message says why.
            StoreError: the store cannot serve.
        """
        self._transport = open_transport()
        scheduler = None if code is None else Scheduler(self._transport, code=code)
        self._supervisor = Supervisor(self._transport, config, concurrency, scheduler=scheduler)
        self._error: LiteqError | None = None
        self._told = False
        # A daemon, because the interpreter waits for other threads before it runs exit handlers.
        self._thread = threading.Thread(target=self._run, name="liteq-supervisor", daemon=True)
        self._thread.start()
        _running.add(self)
        try:
            is_ready = self._supervisor.ready.wait(START_TIMEOUT)
        except BaseException:
            # Ctrl-C: nobody has the workers in hand yet, so nobody else will stop them.
            self._supervisor.stop()
            raise
        if not is_ready:
            self._supervisor.kill()
            self._error = WorkerError(
                f"The workers were not ready within {START_TIMEOUT:g} s; see their log."
            )
        if self._error is not None or self._supervisor.has_failed or not self._thread.is_alive():
            self.stop()

    def _run(self) -> None:
        try:
            self._supervisor.run()
        except LiteqError as error:
            self._error = error
        finally:
            self._transport.close()

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that are running now."""
        return self._supervisor.processes

    @property
    def is_alive(self) -> bool:
        """Whether the workers are still supervised; False once stopped, or given up."""
        return self._thread.is_alive()

    def stop(self, timeout: float | None = None) -> None:
        """Stop the workers; see `Workers.stop`."""
        self._supervisor.stop()
        try:
            self._thread.join(timeout)
        except BaseException:
            # Ctrl-C: whoever will not wait for the running jobs leaves no workers behind that hold them.
            self._supervisor.kill()
            self._thread.join()
            raise
        if self._thread.is_alive():
            self._supervisor.kill()
            self._thread.join()
        _running.discard(self)
        if self._error is not None and not self._told:
            self._told = True
            raise self._error


class ThreadWorkers(Workers):
    """Workers as threads of this program, for a store that lives in its memory."""

    def __init__(
        self,
        transport: Transport,
        tasks: Mapping[str, Task[Any, Any]],
        info: WorkerInfo,
        arrangement: Arrangement,
        code: Code | None = None,
    ):
        """Start the threads.

        Args:
            transport: the store that they share with the program.
            tasks: the tasks that they run.
            info: what each tells about itself.
            arrangement: how many there are, or how many jobs run at once on an event loop.
            code: what the program's code says about schedules; None to fire none.

        Raises:
            NotSupportedError: a task has a time limit, which no thread can be held to.
        """
        for task in tasks.values():
            if task.time_limit is not None:
                raise NotSupportedError(
                    f"The task {task.name} has a time_limit, and a thread cannot be ended; "
                    "use a queue file, whose workers are processes."
                )
        self._ended = threading.Event()
        self._loops = _loops(transport, tasks, info, arrangement)
        self._recalls = arrangement.pool == "asyncio"
        self._threads = [
            threading.Thread(target=loop.run, name=f"liteq-worker-{number}", daemon=True)
            for number, loop in enumerate(self._loops, 1)
        ]
        upkeep = Upkeep(transport, SystemClock())
        self._threads.append(
            threading.Thread(target=self._keep_up, args=(upkeep,), name="liteq-upkeep", daemon=True)
        )
        self._beat = Beat(None if code is None else Scheduler(transport, code=code))
        for thread in self._threads:
            thread.start()
        self._beat.start()
        _running.add(self)

    def _keep_up(self, upkeep: Upkeep) -> None:
        while not self._ended.wait(upkeep.look()):
            pass
        upkeep.close()

    def stop(self, timeout: float | None = None) -> None:
        """Stop the workers; see `Workers.stop`."""
        self._beat.stop(timeout)
        for loop in self._loops:
            loop.stop()
        self._ended.set()
        for thread in self._threads:
            thread.join(timeout)
        if self._recalls and self._threads[0].is_alive():
            self._loops[0].recall()
            self._threads[0].join(RECALL_FOR)
        _running.discard(self)


def _loops(
    transport: Transport, tasks: Mapping[str, Task[Any, Any]], info: WorkerInfo, arrangement: Arrangement
) -> Sequence[Loop]:
    """Return what is to run in threads: a loop for each job at a time, or one for all that await."""
    if arrangement.pool != "asyncio":
        return [
            WorkerLoop(transport, Executor(tasks, transport, SystemClock(), hostname=info.hostname), info)
            for _ in range(arrangement.concurrency)
        ]
    # Imported here because they import asyncio.
    from liteq.worker.pools.aio import AsyncioPool
    from liteq.worker.pools.executor import PoolExecutor
    from liteq.worker.pools.loop import ConcurrentLoop

    pool = AsyncioPool()
    executor = PoolExecutor(pool, tasks, transport, SystemClock(), info.hostname)
    crew = pool.crew(arrangement.concurrency)
    return [ConcurrentLoop(transport, executor, crew, arrangement.concurrency, info)]


class SoloWorkers(Workers):
    """A worker that runs one job at a time in a thread of this program."""

    def __init__(
        self,
        open_transport: Callable[[], Transport],
        tasks: Mapping[str, Task[Any, Any]],
        config: WorkerConfig,
        code: Code | None = None,
    ) -> None:
        """Start the thread.

        Args:
            open_transport: opens the store anew, for the worker's own use.
            tasks: the tasks that it runs.
            config: what it is told.
            code: what the program's code says about schedules; None to fire none.

        Raises:
            NotSupportedError: a task has a time limit, which no thread can be held to.
            StoreError: the store cannot serve.
        """
        self._transport = open_transport()
        scheduler = None if code is None else Scheduler(self._transport, code=code)
        try:
            # The program's own surroundings are not the worker's to look after.
            self._worker = SoloWorker(self._transport, tasks, config, scheduler, Surroundings())
        except LiteqError:
            self._transport.close()
            raise
        self._error: LiteqError | None = None
        self._thread = threading.Thread(target=self._run, name="liteq-worker-1", daemon=True)
        self._thread.start()
        _running.add(self)

    def _run(self) -> None:
        try:
            self._worker.run()
        except LiteqError as error:
            self._error = error
        finally:
            self._transport.close()

    def stop(self, timeout: float | None = None) -> None:
        """Stop the worker; see `Workers.stop`."""
        self._worker.stop()
        self._thread.join(timeout)
        _running.discard(self)
        error, self._error = self._error, None
        if error is not None:
            raise error


class RunningScheduler(Workers):
    """A scheduler as a thread of this program, without workers."""

    def __init__(
        self, transport: Transport, code: Code, where: str, close: Callable[[], None] = lambda: None
    ) -> None:
        """Start the thread.

        Args:
            transport: the store.
            code: what the program's code says about schedules.
            where: where the store is.
            close: called once the thread has ended.
        """
        self._where = where
        self._close = close
        self._beat = Beat(Scheduler(transport, code=code))
        self._beat.start()
        _running.add(self)

    def __repr__(self) -> str:
        return f"<Scheduler of {self._where}, {'running' if self._beat.is_running else 'stopped'}>"

    def stop(self, timeout: float | None = None) -> None:
        """Let another scheduler take over; idempotent.

        Args:
            timeout: seconds to wait for the thread's end; None for as long as it takes.
        """
        self._beat.stop(timeout)
        _running.discard(self)
        self._close()


_running: weakref.WeakSet[Workers] = weakref.WeakSet()


def _stop_at_exit() -> None:
    for workers in list(_running):
        workers.stop(EXIT_GRACE)


atexit.register(_stop_at_exit)
