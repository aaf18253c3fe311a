"""`Queue.schedules`: the schedules in a queue's store, and what can be done to them while programs run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from liteq.app.changing import CHANGE, Changing, refuse_custom
from liteq.app.comparing import next_tick
from liteq.app.guard import refuse_while_importing
from liteq.app.naming import nearest
from liteq.app.reconciling import TRIES
from liteq.app.recurring import (
    Recurring,
    begun,
    describe,
    make_template,
    never_runs,
    split_options,
    unknown_task,
)
from liteq.app.schedule_info import ScheduleInfo, info_of
from liteq.app.store import Store
from liteq.calls.checks import check_name
from liteq.calls.options import decode_options, encode_options
from liteq.errors import (
    ConfigurationError,
    DuplicateScheduleError,
    ScheduleError,
    StoreBusyError,
    UnknownScheduleError,
    UnknownTaskError,
)
from liteq.firing import decode_policy, encode_policy
from liteq.ids import new_id
from liteq.registry import Registry
from liteq.result import AsyncResult
from liteq.schedule import encode
from liteq.task import Task
from liteq.timetable import ScheduleRecord

__all__ = ["Schedules"]

_STAYS = {"name": "name", "task": "task", "signature": "task", "sig": "task"}
"""What of a schedule cannot be changed, by the names that users try."""


class Schedules:
    """The schedules in a queue's store, declared ones and others.

    Each method reads the store anew, and what it changes takes effect at once, whichever process fires them.
    Iterating yields a `ScheduleInfo` for each, in the order of their names; `len()` counts them,
    `name in q.schedules` tells whether there is one, and `q.schedules[name]` is `get(name)`.

    Args:
        store: the queue's hold on its store.
        registry: the queue's tasks.
    """

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._changing = Changing(store, registry)

    # ---- reading -----------------------------------------------------------------------------------

    def list(self) -> list[ScheduleInfo]:
        """Return all schedules, in the order of their names."""
        return [self._info(each) for each in self._store.transport().schedules()]

    def get(self, name: str) -> ScheduleInfo:
        """Return a schedule by name.

        Raises:
            UnknownScheduleError: there is none; the message names the nearest one.
        """
        return self._info(self._read(name))

    def __getitem__(self, name: str) -> ScheduleInfo:
        """Return a schedule by name; raises as `get` does."""
        return self.get(name)

    def __iter__(self) -> Iterator[ScheduleInfo]:
        return iter(self.list())

    def __len__(self) -> int:
        return len(self._store.transport().schedules())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._store.transport().schedules([name]))

    # ---- changing ----------------------------------------------------------------------------------

    def add(
        self,
        schedule: object,
        signature: object,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        **options: Any,
    ) -> ScheduleInfo:
        """Store a schedule that no module declares, and that stays until it is removed.

        Args:
            schedule: when it runs, as `Queue.add_periodic_task` takes it, but no object of your own.
            signature: what each tick enqueues: `task.s(...)`, a task, or a task's name.
            args: further positional arguments.
            kwargs: further arguments by name.
            name: its name; default the call as it is written.
            options: as for `Queue.add_periodic_task`.

        Raises:
            DuplicateScheduleError: there is a schedule of this name.
            UnknownTaskError: no program has registered the task so far.
            ScheduleError: no schedule, an impossible one, or one that would never run.
            SignatureError: the arguments do not fit the task.
            LiteqError: as `Queue.add_periodic_task`.
        """
        refuse_while_importing("q.schedules.add()")
        what = "q.schedules.add()"
        work = describe(
            what,
            self._store,
            schedule,
            signature,
            args=args,
            kwargs=kwargs,
            name=name,
            options=options,
            parameters=("args", "kwargs", "name"),
        )
        record = self._new_record(what, work)
        if not self._store.transport().save_schedules([record])[0]:
            raise DuplicateScheduleError(
                f"There is a schedule named {work.name!r} in {self._store.settings.url}; change it with "
                "q.schedules.change(), or give this one another name."
            )
        return self._info(record)

    def _new_record(self, what: str, work: Recurring) -> ScheduleRecord:
        """Return the record of recurring work that begins now."""
        refuse_custom(what, work.schedule)
        template = make_template(self._store, work, self._task(work))
        policy, now = template.completed(work.policy), self._store.clock.wall()
        schedule = begun(work.schedule, now)
        next_run = next_tick(schedule, policy, now)
        if next_run is None:
            raise ScheduleError(f"{what}: {never_runs(work.name, work.schedule, policy)}")
        spec, policy_text = encode(schedule), encode_policy(policy)
        return ScheduleRecord(
            name=work.name,
            task=work.task,
            spec=spec,
            policy=policy_text,
            job=template.protection.seal_template(template.job, work.name, spec, policy_text),
            next_run=next_run,
            created=now,
        )

    def change(
        self,
        name: str,
        /,
        *,
        schedule: object = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> ScheduleInfo:
        """Change a schedule; what is not given stays as it is.

        What a module declares comes back as it says when that declaration is changed.

        Args:
            name: its name, which stays, as its task does; for another, remove it and add one.
            schedule: when it runs from now on.
            args: the positional arguments from now on.
            kwargs: the arguments by name from now on.
            options: policies and options of the call; a policy given as None is the default again.

        Raises:
            UnknownScheduleError: there is none of this name.
            SignatureError: the arguments do not fit the task.
            ScheduleError: what it enqueues is not known, or it would never run.
            NotSupportedError: it is signed, and the key is not here.
            LiteqError: as `add`.
        """
        refuse_while_importing(CHANGE)
        if schedule is None and (options.get("relative") is not None or options.get("timezone") is not None):
            raise ConfigurationError(f"{CHANGE} takes relative and timezone together with schedule.")
        for option, part in _STAYS.items():
            if option in options:
                raise ConfigurationError(
                    f"{CHANGE} cannot change the {part} of a schedule; remove {name!r}, and add another."
                )
        split_options(CHANGE, options, ("schedule", "args", "kwargs"))

        def changed(record: ScheduleRecord) -> ScheduleRecord:
            return self._changing.changed(record, schedule, args, kwargs, options)

        return self._update(name, changed)

    def pause(self, name: str) -> ScheduleInfo:
        """Leave a schedule alone until it is resumed; its jobs that wait already are run.

        Raises:
            UnknownScheduleError: there is none of this name.
        """
        refuse_while_importing("q.schedules.pause()")
        return self._update(name, lambda record: replace(record, paused=True))

    def resume(self, name: str) -> ScheduleInfo:
        """Let a paused schedule run again, from its next tick on; those that it was paused for are left out.

        One that is broken is tried again, unless what it enqueues is not known.

        Raises:
            UnknownScheduleError: there is none of this name.
            ScheduleNotLoadedError: it is an object of your own, and no module that is imported here
                declares it.
        """
        refuse_while_importing("q.schedules.resume()")

        def resumed(record: ScheduleRecord) -> ScheduleRecord:
            if record.job is None:
                return replace(record, paused=False) if record.paused else record
            if not record.paused and record.broken is None:
                return record
            tick = self._changing.next_run(record, self._store.clock.wall())
            return replace(record, paused=False, broken=None, next_run=tick)

        return self._update(name, resumed)

    def run_now(self, name: str) -> AsyncResult[Any]:
        """Enqueue what a schedule enqueues, once and at once; its ticks stay as they are.

        Raises:
            UnknownScheduleError: there is none of this name.
            ScheduleError: it is broken, or its signature is not that of the key.
            NotSupportedError: it is signed or encrypted, and the key is not here.
        """
        refuse_while_importing("q.schedules.run_now()")
        record = self._read(name)
        job = record.job
        if job is None:
            raise ScheduleError(f"Schedule {name!r} cannot run: {record.broken or 'its call is not known.'}")
        protection = self._changing.protection(record, "run")
        job = protection.opened_template(job, name)
        options = decode_options(job.options)
        expires, now = decode_policy(record.policy).expires, self._store.clock.wall()
        job = job._replace(
            id=new_id(),
            expires=None if expires is None else now + expires,
            options=encode_options(options._replace(headers={**options.headers, "schedule": name})),
        )
        job = protection.seal(job)
        stored = self._store.transport().enqueue([job], now)
        return AsyncResult(
            job.id, self._store, not self._store.in_transaction(), stored[0] and job.ignore_result
        )

    def remove(self, name: str) -> None:
        """Remove a schedule; its jobs that wait already are run.

        One that a module declares is stored again when a program with that module starts.

        Raises:
            UnknownScheduleError: there is none of this name.
        """
        refuse_while_importing("q.schedules.remove()")
        check_name("name", name)
        if not self._store.transport().remove_schedules([name])[0]:
            self._read(name)

    # ---- the parts ---------------------------------------------------------------------------------

    def _info(self, record: ScheduleRecord) -> ScheduleInfo:
        settings = self._store.settings
        return info_of(record, settings.timezone, settings.codecs, settings.protection)

    def _read(self, name: str) -> ScheduleRecord:
        transport = self._store.transport()
        found = transport.schedules([check_name("name", name)])
        if not found:
            hint = nearest(name, [record.name for record in transport.schedules()])
            raise UnknownScheduleError(f"There is no schedule {name!r} in {self._store.settings.url}.{hint}")
        return found[0]

    def _update(self, name: str, change: Callable[[ScheduleRecord], ScheduleRecord]) -> ScheduleInfo:
        """Change a record, again where somebody else was faster."""
        for _ in range(TRIES):
            record = self._read(name)
            changed = change(record)
            if changed is record or self._store.transport().save_schedules([changed])[0]:
                return self._info(changed)
        raise StoreBusyError(
            f"Schedule {name!r} could not be changed, because others kept changing it; try again."
        )

    def _task(self, work: Recurring) -> Task[..., Any] | None:
        """Return the task of a call; None if only its name is known.

        Raises:
            UnknownTaskError: not even that.
        """
        tasks = self._changing.known()
        task = work.callee or tasks.get(work.task)
        if task is None:
            origins = [origin.task for origin in self._store.transport().origins()]
            if work.task not in origins:
                raise UnknownTaskError(unknown_task(work.task, [*tasks, *origins], self._store.settings.url))
        return task
