"""The entry of a worker process.

A supervisor starts `[sys.executable, "-c", BOOT]` with a pipe as standard input. Its first line is JSON::

    {"path": [sys.path entries], "first": "module:function" or null, "config": WorkerConfig.to_json(),
     "messages": file descriptor}

`first` is called before anything else is imported; what it raised is added as `failed`. After that a line
`stop` ends the loop, `recall` makes it interrupt what runs as well, and the end of the pipe means that the
supervisor is dead: the process ends at once, and others recover what it held. `messages` is the writing end
of a second pipe (on Windows the handle of it), on which the worker sends JSON lines, each with a `type`:

    hello   registered under `holder`, with leases of `visibility_timeout` seconds; `tasks` has what the
            supervisor needs to decide about a job that it has killed or lost (again with another holder
            after an expulsion)
    limit   jobs with a time limit have begun; watch the slot (at most twice a second)
    idle    nothing is ready to run (only with `drain`)
    failed  cannot go on; `error` is the sentence; exit status 2 follows
    end     the loop has ended, all is settled; `reason` is "stopped" or "recycle"; exit status 0 follows
"""

from __future__ import annotations

import atexit
import io
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from liteq.app.opening import open_for_workers, when_served
from liteq.app.reconciling import reconcile_declared
from liteq.errors import LiteqError, LiteqWarning, StoreBusyError, StoreFullError, TimeLimitExceeded
from liteq.job import WorkerInfo
from liteq.queue import Queue
from liteq.registry import collect_tasks
from liteq.task import Task
from liteq.transport import Transport
from liteq.worker.config import DEFAULT_VISIBILITY_TIMEOUT, WorkerConfig
from liteq.worker.imports import import_tasks, load_app, settings_on
from liteq.worker.log import LOGGER
from liteq.worker.log_setup import configure_logging, let_program_configure
from liteq.worker.loop import LoopEnd
from liteq.worker.pools.base import Pool
from liteq.worker.pools.making import Loop, make_loop
from liteq.worker.pools.registry import PROCESSES, find_pool
from liteq.worker.redirecting import redirect_stdouts
from liteq.worker.surroundings import OwnSurroundings, Surroundings

__all__ = ["main"]

CANNOT = 2
"""The exit status of a worker that could not start or go on."""
POKE_INTERVAL = 0.5
"""Seconds between pokes; the supervisor goes on watching for twice as long by itself."""


class _Messages:
    """Sends JSON lines to the supervisor; a supervisor that is gone is no error here."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = _adopt(descriptor)
        self._lock = threading.Lock()
        self._poke_at = 0.0
        about = os.fstat(self.descriptor)
        self._identity = about.st_dev, about.st_ino
        if os.name == "posix":
            os.set_blocking(self.descriptor, False)

    def poke(self) -> None:
        """Say that a job with a time limit has begun, unless that was said a moment ago."""
        now = time.monotonic()
        if now >= self._poke_at:
            self._poke_at = now + POKE_INTERVAL
            self.send("limit", optional=True)

    def send(self, kind: str, *, optional: bool = False, **values: object) -> None:
        """Send one message; an optional one is left out if the pipe is full."""
        data = json.dumps({"type": kind, **values}).encode() + b"\n"
        with self._lock:
            while data and self._is_there():
                try:
                    data = data[os.write(self.descriptor, data) :]
                except BlockingIOError:
                    if optional:
                        return
                    time.sleep(0.01)
                except OSError:
                    return

    def _is_there(self) -> bool:
        """Tell whether the descriptor is still the pipe, and not a file of a task that has closed it."""
        try:
            about = os.fstat(self.descriptor)
        except OSError:
            return False
        return (about.st_dev, about.st_ino) == self._identity


class _Control:
    """Obeys the supervisor: the lines `stop` and `recall`, the end of the pipe, SIGTERM.

    Args:
        aside: calls a function that blocks, so that no job waits for it.
    """

    def __init__(self, aside: Callable[[Callable[[], bytes]], bytes]) -> None:
        # Moved away from standard input, so that neither a task nor what it starts reads or holds it.
        self.descriptor = os.dup(0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        self._aside = aside
        self._loop: Loop | None = None
        self._stopping = False
        threading.Thread(target=self._listen, name="liteq-control", daemon=True).start()

    def attach(self, loop: Loop) -> None:
        """Name the loop that a stop is to end."""
        self._loop = loop
        if self._stopping:
            loop.stop()

    def stop(self) -> None:
        """End the loop, or the process if there is none yet: nothing is held then."""
        self._stopping = True
        if self._loop is None:
            os._exit(0)
        self._loop.stop()

    def _listen(self) -> None:
        # Without a buffer: a thread that holds a buffer's lock can crash the interpreter's shutdown.
        with open(self.descriptor, "rb", buffering=0, closefd=False) as pipe:
            while line := self._aside(pipe.readline):
                if line.strip() in (b"stop", b"recall"):
                    self.stop()
                if line.strip() == b"recall" and self._loop is not None:
                    self._loop.recall()
        os._exit(1)


def main(boot: Mapping[str, Any]) -> int:
    """Run as a worker process until stopped; return the exit status: 0, or 2 if it could not go on.

    Args:
        boot: what the supervisor wrote on the first line of standard input.
    """
    config = WorkerConfig.from_json(boot["config"])
    _die_with_parent()
    messages = _Messages(boot["messages"])
    if "failed" in boot:
        error = f"The pool {config.pool} cannot run here: {boot['first']} says {boot['failed']}."
        messages.send("failed", error=error)
        _end(CANNOT)
    pool = None if config.pool == PROCESSES else find_pool(config.pool)
    control = _Control(_call if pool is None else pool.aside)
    _handle_signals(control)
    _keep_from_forks(messages.descriptor, control.descriptor)
    surroundings = OwnSurroundings([messages.descriptor, control.descriptor])
    configure_logging(config.loglevel, config.name, config.log_format, config.log_config)
    logging.getLogger("liteq.server").setLevel(logging.ERROR)
    if not config.declares:
        _leave_hints_to_others()
    # What a task prints is to be seen at once, and not lost when the process is killed.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    try:
        end = _work(config, pool, messages, control, surroundings)
    except LiteqError as error:
        messages.send("failed", error=str(error))
        _end(CANNOT)
    except BaseException:
        traceback.print_exc()
        _end(1)
    messages.send("end", reason=end.value)
    if pool is not None and pool.first is not None:
        # The interpreter would wait for the thread that reads the control pipe on behalf of green threads.
        atexit._run_exitfuncs()
        _end(0)
    return 0


def _leave_hints_to_others() -> None:
    """Say nothing of what a program asks for in vain: who started this process, or its first one, says it."""
    warnings.filterwarnings("ignore", category=LiteqWarning)
    logging.getLogger("liteq.celery").setLevel(logging.ERROR)


def _end(status: int) -> NoReturn:
    """End the process at once: a thread that some task has left must not keep it, nor run on alone."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(status)


def _call(function: Callable[[], bytes]) -> bytes:
    return function()


def _work(
    config: WorkerConfig,
    pool: Pool | None,
    messages: _Messages,
    control: _Control,
    surroundings: Surroundings,
) -> LoopEnd:
    import_tasks(config.modules)
    app = None if config.app is None else load_app(config.app, Queue)
    let_program_configure(config.loglevel, config.name)
    tasks = collect_tasks(config.url, None if app is None else app.registry)
    settings, visibility_timeout = _settings(config, tasks)
    described = {name: _describe(task) for name, task in tasks.items()}

    def say_hello(holder: int) -> None:
        messages.send("hello", holder=holder, tasks=described, visibility_timeout=visibility_timeout)

    # A stop ends the process meanwhile.
    with open_for_workers(config.url, over=lambda: False, **settings) as transport:
        if config.declares:
            _declare(transport, config.url, app)
        loop = make_loop(
            config,
            pool,
            tasks,
            transport,
            _info(config),
            visibility_timeout=visibility_timeout,
            on_registered=say_hello,
            on_time_limit=messages.poke,
            on_idle=(lambda: messages.send("idle")) if config.drain else (lambda: None),
            surroundings=surroundings,
        )
        control.attach(loop)
        with redirect_stdouts(config.redirect_stdouts):
            return loop.run()


def _settings(config: WorkerConfig, tasks: Mapping[str, Task[Any, Any]]) -> tuple[dict[str, Any], float]:
    """Return how to open the store and how long leases last: as configured, else as the tasks' queue says."""
    own = settings_on(config.url, tasks)
    if own is None:
        return {**config.settings}, config.visibility_timeout or DEFAULT_VISIBILITY_TIMEOUT
    timeout = config.visibility_timeout or own.visibility_timeout
    return {**own.transport_settings(), **config.settings}, timeout


def _info(config: WorkerConfig) -> WorkerInfo:
    pid = os.getpid()
    return WorkerInfo(config.name, config.hostname, pid, config.supervisor or pid, config.queues)


def _declare(transport: Transport, url: str, app: Queue | None) -> None:
    """Bring the schedules that the modules declare into the store, if that can be written now."""
    try:
        when_served(lambda: reconcile_declared(transport, url, app))
    except (StoreBusyError, StoreFullError) as error:
        LOGGER.warning("The schedules that are declared here were not stored: %s", error)


def _describe(task: Task[..., Any]) -> dict[str, object]:
    """Return what the supervisor needs to decide about a job of this task in the worker's stead."""
    policy = task.policy
    return {
        "max_retries": policy.max_retries,
        "default_retry_delay": policy.default_retry_delay,
        "retry_backoff": policy.retry_backoff,
        "retry_backoff_max": policy.retry_backoff_max,
        "retry_jitter": policy.retry_jitter,
        "retries_time_limit": policy.retries_automatically(TimeLimitExceeded),
        "time_limit": task.time_limit,
        "max_crashes": task.max_crashes,
    }


# ---- the process itself --------------------------------------------------------------------------


def _adopt(descriptor: int) -> int:
    """Make an inherited descriptor private; on Windows it is a handle, and becomes a descriptor."""
    if sys.platform == "win32":
        import msvcrt

        os.set_handle_inheritable(descriptor, False)
        return msvcrt.open_osfhandle(descriptor, os.O_WRONLY)
    os.set_inheritable(descriptor, False)
    return descriptor


def _handle_signals(control: _Control) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        control.stop()

    def ignore(_number: int, _frame: FrameType | None) -> None:
        # A handler and not SIG_IGN, which programs that a task starts would inherit.
        return

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, ignore)
    if sys.platform == "win32":
        signal.signal(signal.SIGBREAK, ignore)
    else:
        # The supervisor started this process with it blocked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _keep_from_forks(*descriptors: int) -> None:
    """Leave a task's own forked children without our pipes and signal handlers."""
    if not hasattr(os, "register_at_fork"):
        return
    owner = os.getpid()
    thread = threading.local()

    def hold_back() -> None:
        # A child has our handlers until `forget` has run, and one that comes before that would be lost.
        thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def let_through() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, thread.mask)

    def forget() -> None:
        # Only in a child of this very process: a grandchild may use these numbers for files of its own.
        if os.getppid() != owner:
            return
        for descriptor in descriptors:
            with suppress(OSError):
                os.close(descriptor)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def begin() -> None:
        try:
            forget()
        finally:
            let_through()

    os.register_at_fork(before=hold_back, after_in_parent=let_through, after_in_child=begin)


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its supervisor dies, even while a task holds the interpreter.

    Elsewhere, and for a supervisor that died a moment ago, the end of the control pipe does it.
    """
    if sys.platform != "linux":
        return
    import ctypes

    parent = os.getppid()
    set_parent_death_signal = 1
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
