"""Celery's application over liteq's `Queue`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from threading import RLock
from typing import Any, NoReturn, Self

from liteq.app.attribution import declaring_from, declaring_place
from liteq.app.conf import MEMORY_URL
from liteq.app.guard import base_directory
from liteq.celery import canvas
from liteq.celery.absent import refuse_attribute
from liteq.celery.app.making import make_queue
from liteq.celery.app.registering import TaskRegistration
from liteq.celery.app.task import Task
from liteq.celery.conf import Settings
from liteq.celery.options import call_options, route_of
from liteq.celery.result import AsyncResult, EagerResult
from liteq.celery.settings import CHANGED_LATE, USED
from liteq.celery.state import applications, current_task, set_current, set_default_maker, shared
from liteq.errors import ConfigurationError, NotSupportedError
from liteq.queue import Queue
from liteq.registry import expect
from liteq.result import EagerResult as OwnEagerResult
from liteq.signals import Signal

__all__ = ["ABSENT_ARGUMENTS", "ABSENT_ATTRIBUTES", "Celery"]

_CONTROL = "there is no remote control yet; `liteq inspect`, `liteq jobs` and `liteq purge` look and act."
_COMMAND = "run `liteq -A your.module worker`, or use app.queue.start_workers()."
ABSENT_ATTRIBUTES = {
    "control": _CONTROL,
    "events": "there are no events yet.",
    "amqp": "there is no broker; a queue is a file.",
    "backend": "the queue's file keeps the results.",
    "loader": "modules are imported as Python does it.",
    "log": "logging is left to the program.",
    "pool": "there is no broker, and no connection to it.",
    "connection": "there is no broker, and no connection to it.",
    "connection_for_read": "there is no broker, and no connection to it.",
    "connection_for_write": "there is no broker, and no connection to it.",
    "producer_pool": "there is no broker, and no connection to it.",
    "start": _COMMAND,
    "worker_main": _COMMAND,
    "Worker": _COMMAND,
    "WorkController": _COMMAND,
    "Beat": "run `liteq -A your.module beat`, or use app.queue.start_scheduler().",
    "steps": "liteq's worker is another one.",
    "user_options": "liteq's commands take no others.",
    "setup_security": "a queue signs its jobs with conf.queue_options = {'signing_key': ...}.",
    "GroupResult": "workflows are not built yet.",
    "ResultSet": "workflows are not built yet.",
}
"""What Celery's application has and this one lacks, each with what to do instead."""
ABSENT_ARGUMENTS = {
    name: ABSENT_ATTRIBUTES[name] for name in ("loader", "amqp", "events", "log", "control")
} | {"tasks": "tasks are registered with app.task.", "fixups": "there are none."}


class Celery(TaskRegistration):
    """A Celery program's application; its jobs are in one queue file.

    Nothing is opened, and no setting is final, before the first use: a call, a result, `queue`.

    Args:
        main: a name, shown only: tasks are named after their module, as everywhere in liteq.
        backend: where results are, as Celery has it; the broker's file keeps them here.
        broker: the queue's file: a path, `sqlite:///path`, or `memory://`. A relative path starts in the
            working directory of this moment.
        include: modules that workers and beat import.
        set_as_current: make it the `current_app`.
        config_source: as for `config_from_object`.
        namespace: as for `config_from_object`.
        task_cls: the class of its tasks.
        changes: further settings, as a dict.
        autofinalize: of no effect.
        strict_typing: of no effect: arguments are always checked.
        settings: further settings by name; and what Celery takes and liteq lacks, which is refused.

    Attributes:
        main: the name.
        conf: the settings.
        on_after_configure: sent once, with the application as `sender`, before schedules are first stored.
        on_after_finalize: sent once, right after that.
        known_tasks: the tasks by name, those that shared modules have excepted.

    Raises:
        NotSupportedError: a broker or backend that is a server.
        ConfigurationError: a value that a setting cannot have.
    """

    task_cls: Any = Task

    def __init__(
        self,
        main: str | None = None,
        *,
        backend: str | None = None,
        broker: str | os.PathLike[str] | None = None,
        include: Sequence[str] | None = None,
        set_as_current: bool = True,
        config_source: Any = None,
        namespace: str | None = None,
        task_cls: Any = None,
        changes: Mapping[str, Any] | None = None,
        autofinalize: bool = True,
        strict_typing: bool = True,
        **settings: Any,
    ) -> None:
        self.main = main
        self.namespace = namespace
        self.task_cls = task_cls or self.task_cls
        self.on_after_configure = Signal("on_after_configure")
        self.on_after_finalize = Signal("on_after_finalize")
        self.known_tasks: dict[str, Task] = {}
        self.shared_tasks: dict[Any, Task] = {}
        self.conf = Settings(self._change, self._beat_schedule)
        self._directory = base_directory()
        self._lock = RLock()
        self._queue: Queue | None = None
        self._is_making = False
        self._periodic: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self._beat_place: Any = None
        self._discovered: list[tuple[Any, str | None]] = []
        for name in settings.keys() & ABSENT_ARGUMENTS.keys():
            if settings.pop(name) is not None:
                raise NotSupportedError(f"Celery() does not take {name!r}: {ABSENT_ARGUMENTS[name]}")
        given = {"broker_url": broker, "result_backend": backend, "include": include}
        self.conf.update({name: value for name, value in given.items() if value is not None})
        self.conf.update(changes or {}, **settings)
        if config_source is not None:
            self.config_from_object(config_source)
        applications.add(self)
        expect(self)
        if set_as_current:
            self.set_current()

    # ---- the queue -------------------------------------------------------------------------------

    @property
    def queue(self) -> Queue:
        """The queue, made at first use: all that liteq has beyond Celery.

        Raises:
            ConfigurationError: no broker, or a setting that has a value it cannot have.
            DuplicateTaskError: two tasks of one name.
        """
        if self._queue is None or len(self.shared_tasks) < len(shared):
            with self._lock:
                self._take_shared()
                if self._queue is None:
                    self._queue = self._make_queue()
        return self._queue

    @property
    def finalized(self) -> bool:
        """Whether the queue is made."""
        return self._queue is not None

    def finalize(self, auto: bool = False) -> None:
        """Make the queue and register the tasks there, if that has not been done and there are any."""
        if self._is_making:
            return
        own = len(self.known_tasks) > len(self.shared_tasks) or self._periodic
        # One that has nothing of its own, and no broker, is of no use to anybody.
        if own or self.conf.peek("beat_schedule") or (shared and self.conf.broker_url is not None):
            self.queue  # noqa: B018 (makes it)

    def __liteq_queue__(self) -> Queue:
        """Return the queue for a worker or beat, with the modules imported that the settings name."""
        self.import_default_modules()
        return self.queue

    def _make_queue(self) -> Queue:
        self._is_making = True
        try:
            return self._made_queue()
        finally:
            self._is_making = False

    def _made_queue(self) -> Queue:
        queue = make_queue(self, self.conf, self._directory)
        for task in [*self.known_tasks.values()]:
            self._register(queue, task)
        queue.declarations.stand_for(self, self.on_after_configure, self.on_after_finalize)
        for place, args, kwargs in self._periodic:
            with declaring_from(place):
                queue.add_periodic_task(*args, **kwargs)
        schedules = self.conf.peek("beat_schedule")
        if schedules:
            with declaring_from(self._beat_place or declaring_place()):
                queue.conf.beat_schedule = schedules
        return queue

    def _change(self, name: str, value: Any) -> None:
        """Let a setting take effect that is being changed."""
        if name == "beat_schedule":
            self._beat_place = declaring_place()
            # Where there is no queue yet, a mistake is to be told at once all the same.
            (self._queue or Queue(MEMORY_URL)).conf.beat_schedule = value
        elif self._queue is not None and name in USED and name not in CHANGED_LATE:
            if self.conf[name] == value:
                return
            if not self._queue.store.crosses_processes:
                raise ConfigurationError(
                    f"conf.{name} comes too late: the jobs of {self!r} are in memory, and would be lost; set "
                    "it before the first use."
                )
            # It is made anew at the next use.
            self._queue.close()
            self._queue = None

    def _beat_schedule(self) -> dict[str, Any] | None:
        if self._queue is not None:
            return self._queue.conf.beat_schedule
        self._beat_place = self._beat_place or declaring_place()
        return None

    # ---- calling ---------------------------------------------------------------------------------

    def send_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Enqueue a call of a task by its name; see `liteq.Queue.send_task`."""
        queue = self.queue
        if name not in queue.registry.tasks:
            options = {**route_of(name, self.conf.task_routes), **options}
        return self.hand_out(queue.send_task(name, args, kwargs, **call_options(options)))

    def hand_out(self, result: Any) -> Any:
        """Return a result of liteq's as one of Celery's."""
        if not isinstance(result, OwnEagerResult):
            return AsyncResult.of(result, self)
        eager = EagerResult(result, self)
        if self.conf.task_eager_propagates:
            eager.get(disable_sync_subtasks=False)
        return eager

    def AsyncResult(self, id: str, *args: Any, **kwargs: Any) -> AsyncResult:  # noqa: A002, N802 (Celery's names)
        """Return the result of a job by its id."""
        return AsyncResult(id, *args, **{**kwargs, "app": self})

    def signature(self, *args: Any, **kwargs: Any) -> canvas.Signature:
        """Return a signature; see `liteq.celery.canvas.signature`."""
        return canvas.signature(*args, **{**kwargs, "app": self})

    # ---- recurring work --------------------------------------------------------------------------

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        """Declare that a call is made again and again; see `liteq.Queue.add_periodic_task`."""
        sig = sig.name if isinstance(sig, Task) else sig
        given = (schedule, sig, args, kwargs or {}, name)
        place = declaring_place()
        if self._queue is not None:
            self._queue.add_periodic_task(*given, **options)
            return
        # Where there is no queue yet, a mistake is to be told at once all the same.
        Queue(MEMORY_URL).add_periodic_task(*given, **options)
        self._periodic.append((place, given, options))

    # ---- the rest --------------------------------------------------------------------------------

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Take settings from an object, or a module by its name, when one is first asked for.

        Args:
            obj: the object, or its name.
            silent: a module that cannot be imported is no error.
            force: read it at once.
            namespace: what the names of settings begin with there, as `CELERY` in `CELERY_BROKER_URL`.
        """
        self.conf.add_source(obj, namespace or self.namespace, silent)
        if force:
            self.conf.peek("broker_url")

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> None:
        """Take settings from the module that a variable of the environment names."""
        module = os.environ.get(variable_name)
        if module:
            self.config_from_object(module, silent, force)
        elif not silent:
            raise ConfigurationError(f"The variable {variable_name} is not set, and was to name a module.")

    @property
    def current_task(self) -> Any:
        """The task whose job runs in this thread, or None."""
        return current_task._get_current_object()

    @property
    def timezone(self) -> Any:
        """The zone of schedules."""
        return self.queue.settings.timezone

    def now(self) -> datetime:
        """Return the time, in the zone of schedules."""
        return datetime.now(self.timezone)

    def set_current(self) -> None:
        """Make this the `current_app`."""
        set_current(self)

    set_default = set_current

    def close(self) -> None:
        """Close the queue; the next use opens it again."""
        if self._queue is not None:
            self._queue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> NoReturn:
        refuse_attribute(self, name, ABSENT_ATTRIBUTES)

    def __repr__(self) -> str:
        return f"<Celery {self.main or 'application'}>"


set_default_maker(lambda: Celery("default", set_as_current=False))
