"""Changing a stored schedule: what a change makes of its record, and who may make it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Any

from liteq.app.comparing import next_tick
from liteq.app.declaring import find_declared
from liteq.app.recurring import begun, check_headers, check_size, read_schedule, split_options
from liteq.app.store import Store
from liteq.calls.calling import call_arguments
from liteq.calls.options import Placement, decode_options, encode_options, place
from liteq.calls.policies import make_policy
from liteq.codec import decode_call, encode_call
from liteq.codec.protection import NOT_ENCRYPTED, Protection, is_sealed
from liteq.codec.signing import is_signed
from liteq.errors import LiteqError, NotSupportedError, ScheduleError
from liteq.firing import Policy, decode_policy, encode_policy
from liteq.job import NewJob
from liteq.registry import Registry, collect_tasks
from liteq.schedule import Custom, Schedule, decode, encode
from liteq.task import Task
from liteq.timetable import ScheduleRecord

__all__ = ["CHANGE", "Changing", "refuse_custom"]

CHANGE = "q.schedules.change()"


class Changing:
    """Knows what it takes to change the schedules of a store.

    Args:
        store: the queue's hold on its store.
        registry: the queue's tasks.
    """

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    def changed(
        self,
        record: ScheduleRecord,
        schedule: object,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any],
    ) -> ScheduleRecord:
        """Return what a change makes of a record; see `Schedules.change`.

        Raises:
            LiteqError: as `Schedules.change`.
        """
        zone, now = self._store.settings.timezone, self._store.clock.wall()
        policies, call, form = split_options(CHANGE, options)
        before = decode_policy(record.policy)
        given = make_policy(CHANGE, policies, zone)._asdict()
        policy = before._replace(**{name: given[name] for name in options if name in Policy._fields})
        spec, next_run, broken = record.spec, record.next_run, record.broken
        if schedule is not None:
            changed = begun(read_schedule(CHANGE, schedule, form, _own_zone(record) or zone), now)
            refuse_custom(CHANGE, changed)
            spec = encode(changed)
            next_run = next_tick(changed, policy, now, record.last_run, record.runs)
            if next_run is None:
                raise ScheduleError(
                    f"{CHANGE}: {record.name!r} would never run: {changed} has no tick to come."
                )
            # What was wrong with the times is wrong no more; without a call it stays what it is.
            broken = broken if record.job is None else None
        elif policy != before and broken is None:
            next_run = next_tick(self._schedule(record), policy, now, record.last_run, record.runs)
        moved = replace(record, spec=spec, policy=encode_policy(policy), next_run=next_run, broken=broken)
        return replace(moved, job=self._changed_job(record, moved, args, kwargs, call))

    def _changed_job(
        self,
        record: ScheduleRecord,
        moved: ScheduleRecord,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        call: Mapping[str, Any],
    ) -> NewJob | None:
        """Return what a schedule enqueues from now on."""
        before = record.job
        if before is None:
            if args is None and kwargs is None and not call:
                return before
            raise ScheduleError(
                f"{CHANGE}: what {record.name!r} enqueues is not known: {record.broken or 'it is broken.'}"
            )
        as_before = (moved.spec, moved.policy) == (record.spec, record.policy)
        if args is None and kwargs is None and not call and as_before:
            return before
        protection = self.protection(record, "change")
        plain = protection.opened_template(before, record.name)
        task = self.known().get(record.task)
        job = plain._replace(options=encode_options(decode_options(plain.options)))
        written = {name: call[name] for name in ("serializer", "compression") if name in call}
        if args is not None or kwargs is not None or written:
            job = job._replace(**self._payload(plain, task, args, kwargs, written))
        if call:
            base = Placement(job.queue, job.priority, job.ignore_result)
            base = base._replace(job_options=decode_options(job.options), blob=job.options)
            placed = place(CHANGE, base, call, self._store.settings.timezone)
            check_headers(CHANGE, self._store, placed.blob)
            if task is not None:
                task.check_limits(placed.job_options, CHANGE)
            job = job._replace(
                queue=placed.queue,
                priority=placed.priority,
                ignore_result=placed.ignore_result,
                options=placed.blob,
            )
        return protection.seal_template(job, record.name, moved.spec, moved.policy)

    def _payload(
        self,
        job: NewJob,
        task: Task[..., Any] | None,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        written: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the payload of changed arguments, or of the same ones encoded otherwise, and its codec."""
        codecs = self._store.settings.codecs if task is None else task.store.settings.codecs
        old_args, old_kwargs = decode_call(codecs.get(job.codec), job.payload)
        new_args, new_kwargs = call_arguments(
            job.task, old_args if args is None else args, old_kwargs if kwargs is None else kwargs
        )
        if task is None:
            codec = codecs.changed(job.codec, written.get("serializer"), written.get("compression"))
            payload = encode_call(codec, new_args, new_kwargs)
            check_size(job.task, self._store, payload)
            return {"payload": payload, "codec": codec.name}
        made = task.new_job(new_args, new_kwargs, task.place(written), sealed=False)
        return {"payload": made.payload, "codec": made.codec}

    def known(self) -> Mapping[str, Task[..., Any]]:
        """Return the tasks of this process by name."""
        return collect_tasks(self._store.settings.url, self._registry)

    def protection(self, record: ScheduleRecord, action: str) -> Protection:
        """Return what seals the jobs of a schedule, once its own seal is found good.

        Raises:
            NotSupportedError: it is signed or encrypted, and the key is not here.
            ScheduleError: its signature is missing or wrong, or it is not encrypted and should be.
        """
        job = record.job
        task = self.known().get(record.task)
        protection = (self._store if task is None else task.store).settings.protection
        if job is None:
            return protection
        if not protection.is_on:
            if is_sealed(job):
                kind, key = (
                    ("signed", "signing_key") if is_signed(job.options) else ("encrypted", "encryption_key")
                )
                raise NotSupportedError(
                    f"Schedule {record.name!r} is {kind}, and the key to {action} it is not here. Use the "
                    f"application that has the {key}."
                )
            return protection
        refusal = protection.template_refusal(job, record.name, record.spec, record.policy)
        if refusal is not None:
            key = "an encryption_key" if refusal == NOT_ENCRYPTED else "a signing_key"
            raise ScheduleError(
                f"The queue of {record.task} has {key}, and of schedule {record.name!r} {refusal}; "
                "remove it, and add it anew."
            )
        return protection

    def _schedule(self, record: ScheduleRecord) -> Schedule:
        """Return when a schedule runs; an object of the user's own from where it is declared."""
        return find_declared(record) or decode(record.spec)

    def next_run(self, record: ScheduleRecord, now: float) -> float | None:
        """Return the next tick of a schedule that goes on now.

        Raises:
            ScheduleNotLoadedError: it is an object of the user's own, which no module here declares.
        """
        policy = decode_policy(record.policy)
        return next_tick(self._schedule(record), policy, now, record.last_run, record.runs)


def _own_zone(record: ScheduleRecord) -> tzinfo | None:
    """Return the time zone that a schedule has had so far, which other times on its clock go on in."""
    try:
        return decode(record.spec).timezone
    except LiteqError:
        return None


def refuse_custom(what: str, schedule: Schedule) -> None:
    """Raise if a schedule is an object of the user's own, which only a declaration can bring along."""
    if isinstance(schedule, Custom):
        raise ScheduleError(
            f"{what}: {schedule} is an object of your own, which cannot be stored; declare it in a module, "
            "with q.add_periodic_task()."
        )
