"""The part of a queue that is about recurring work: what its users declare, and what is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from liteq.app.declaring import Declarations
from liteq.app.queue_conf import QueueConf
from liteq.app.schedules import Schedules
from liteq.app.store import Store
from liteq.errors import ConfigurationError
from liteq.registry import Registry
from liteq.signals import Signal
from liteq.task import Task

__all__ = ["PeriodicWork"]

TaskT = TypeVar("TaskT", bound=Task[..., Any])


class PeriodicWork:
    """What `Queue` has for recurring work.

    Attributes:
        registry: the queue's tasks.
        store: the queue's hold on its store.
        declarations: the recurring work that is declared with it.
    """

    registry: Registry
    store: Store
    declarations: Declarations

    def add_periodic_task(
        self,
        schedule: object,
        sig: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        """Declare that a call is made again and again.

        Nothing is stored yet: what a program declares is brought into the store when it starts workers or a
        scheduler, or is imported by `liteq worker` or `liteq beat`. Declared again with the same name, in the
        same place, it replaces what was declared there.

        Args:
            schedule: when: seconds or a `timedelta`, `crontab(...)`, a cron expression such as
                `"*/5 * * * *"`, `solar(...)`, a `datetime` for once, or an object with `next_after(t)`.
            sig: the call: `task.s(...)`, a task, or a task's name.
            args: further positional arguments, before those of the call.
            kwargs: further arguments by name.
            name: the schedule's name; default the call as it is written.
            options: policies (see `PolicyOptions`), options of the call (see `CallOptions`, without `eta`,
                `countdown` and `task_id`), `timezone` for the schedule (default the queue's), and
                `relative=True` for an interval that keeps to full days, hours, minutes or seconds.

        Raises:
            ScheduleError: no schedule, or an impossible one.
            DuplicateScheduleError: another schedule of this program has this name.
            SignatureError: the arguments do not fit the task.
            EncodingError: an argument cannot be encoded.
            PayloadTooLargeError: the arguments or the headers take more than the queue's `max_payload`.
            NotSupportedError: an option that is not built yet.
            ConfigurationError: an unknown option, or a value that it cannot have.
        """
        what = "add_periodic_task()"
        self.declarations.declare(what, schedule, sig, args, kwargs, name, options)

    def periodic(
        self,
        schedule: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> Callable[[TaskT], TaskT]:
        """Declare that a task is called again and again: `@q.periodic(10.0)` above `@q.task`.

        Args and errors are those of `add_periodic_task`.
        """
        return self.declarations.periodic(schedule, args, kwargs, name, options)

    @cached_property
    def schedules(self) -> Schedules:
        """The schedules in the store, to be listed, added, changed, paused, resumed, run and removed."""
        return Schedules(self.store, self.registry)

    @property
    def conf(self) -> QueueConf:
        """The configuration by Celery's name: `conf.beat_schedule`, and the settings to read."""
        return self._conf

    @conf.setter
    def conf(self, value: object) -> None:
        raise ConfigurationError(f"q.conf cannot be replaced by {value!r}; set q.conf.beat_schedule.")

    @cached_property
    def _conf(self) -> QueueConf:
        return QueueConf(self.store.settings, self.declarations)

    @property
    def on_after_configure(self) -> Signal:
        """Sent once, before declarations are first brought into the store; receivers may declare more."""
        return self.declarations.on_after_configure

    @property
    def on_after_finalize(self) -> Signal:
        """Sent once, right after `on_after_configure`."""
        return self.declarations.on_after_finalize
