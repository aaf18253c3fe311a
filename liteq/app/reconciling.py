"""Brings what programs declare into the store: at the start of workers, and of a scheduler.

What is declared is stored with a digest of what it says. As long as that is the same, the store's own record
stands, with all that was changed, paused and fired since. Once the declaration says something else, it is
stored anew, and goes on from the last run; what is paused stays paused. What is stored, and declared by code
that this process has loaded, but not any more, is removed. All else is left alone: what was made at run time,
and what is declared by code that is not loaded here.

A declaration may name a task that is not loaded where it is made. So its call is made anew by a program that
has the task, also when the task has changed, and never by one that knows less than who has made it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from liteq.app.attribution import is_loaded, module_of
from liteq.app.declaring import (
    Declaration,
    Declarations,
    all_declarations,
    declarations_on,
    duplicate,
    is_again,
)
from liteq.app.digests import BY_NAME, LOADED, UNKNOWN, call_digest, digest_of, joined, parted
from liteq.app.recurring import begun, make_template, sealed, unknown_task
from liteq.codec.signing import Signer, is_signed, template_id
from liteq.errors import LiteqError, StoreBusyError
from liteq.firing import Policy, encode_policy, first_run
from liteq.job import NewJob
from liteq.registry import collect_tasks
from liteq.schedule import Interval, Schedule, decode, encode
from liteq.task import Task
from liteq.timetable import ScheduleRecord
from liteq.transport import Transport

__all__ = ["Changes", "Declaring", "Wanted", "diff", "next_tick", "reconcile", "reconcile_declared"]

TRIES = 50
"""How often a change is tried again because somebody else was faster; each time, others have got on."""


class Declaring(Protocol):
    """A queue, as far as its declarations go."""

    @property
    def declarations(self) -> Declarations:
        """What is declared with it."""


class Wanted(NamedTuple):
    """A schedule as it is declared."""

    name: str
    task: str
    schedule: Schedule
    """With a zone; an interval without an anchor, unless it is declared with one."""
    policy: Policy
    job: NewJob | None
    """What each tick enqueues, unsigned; None if it is broken."""
    signer: Signer | None
    owner: str
    digest: str
    """Of what the declaration says."""
    broken: str | None = None
    made: str = LOADED
    """How much was known of the task, and the digest of the call that came of it."""

    @property
    def declaration(self) -> str:
        """What its record says of it."""
        return joined(self.digest, self.made)


class Changes(NamedTuple):
    """What has to be done to the store so that it has what is declared."""

    save: list[ScheduleRecord]
    remove: list[str]


def reconcile_declared(transport: Transport, url: str, queue: Declaring | None = None) -> None:
    """Bring into a store what this process declares for it.

    That is what the queues on this store declare. Where none of them is, it is what all queues of this
    process do: their modules were named to serve this store.

    Args:
        transport: the store, open.
        url: where it is, as `Queue.url` says it.
        queue: a queue on it, if there is one at hand.

    Raises:
        ConfigurationError: something that is declared cannot be, or two schedules have one name.
        StoreError: the store cannot serve.
    """
    registry = None
    if queue is not None:
        registry = queue.declarations.registry
        declaring = declarations_on(queue.declarations.store)
    else:
        everything = all_declarations()
        declaring = [each for each in everything if each.store.is_at(url)]
        declaring = declaring or [each for each in everything if each.store.crosses_processes]
    if not declaring:
        return
    for declarations in declaring:
        declarations.configure()
    declared = _merged(declaring, None if queue is None else queue.declarations)
    tasks = collect_tasks(url, registry)
    known = list(tasks)
    if any(each.work.task not in tasks and each.work.callee is None for _, each in declared):
        known += [origin.task for origin in transport.origins()]
    wanted = [_wanted(declarations, each, tasks, known, url) for declarations, each in declared]
    for each in wanted:
        task = tasks.get(each.task)
        if task is not None and task.origin is not None:
            transport.declare(task.origin)
    reconcile(transport, wanted)


def reconcile(
    transport: Transport,
    wanted: Sequence[Wanted],
    loaded: Callable[[str], bool] = is_loaded,
    clock: Callable[[], float] = time.time,
) -> None:
    """Store what is declared; tried again where somebody else changes the same schedules.

    Args:
        transport: the store.
        wanted: what is declared here.
        loaded: tells whether the code that something belongs to would declare it here.
        clock: tells the time.

    Raises:
        StoreError: the store cannot serve.
    """
    # Imported here because programs that only enqueue have no use for it.
    import logging

    logger = logging.getLogger("liteq.schedules")
    tried: set[tuple[str, int]] = set()
    for _ in range(TRIES):
        stored = transport.schedules()
        before = {record.name: record for record in stored}
        changes = diff(stored, wanted, loaded, clock())
        gone = _remove(transport, [before[name] for name in changes.remove], tried, logger.info)
        saved = transport.save_schedules(changes.save) if changes.save else []
        for record, done in zip(changes.save, saved, strict=True):
            if done:
                logger.info("Schedule %a is stored as %s declares it.", record.name, _owner(record))
                _warn(logger.warning, before.get(record.name), record)
        if all(saved) and gone:
            _warn_of_what_stands(logger.warning, before, wanted)
            return
    raise StoreBusyError("The schedules could not be stored, because others kept changing them; try again.")


def _remove(
    transport: Transport,
    records: Sequence[ScheduleRecord],
    tried: set[tuple[str, int]],
    tell: Callable[..., None],
) -> bool:
    """Remove schedules, unless they have changed; tell whether none of them has."""
    # One that is still there as it was cannot be removed, because its row is damaged.
    which = [each for record in records if (each := (record.name, record.revision)) not in tried]
    if not which:
        return True
    tried.update(which)
    done = transport.remove_schedules([name for name, _ in which], [revision for _, revision in which])
    gone = [ascii(name) for (name, _), removed in zip(which, done, strict=True) if removed]
    if gone:
        tell("Removed, as they are declared no more: %s.", ", ".join(gone))
    return all(done)


def _warn_of_what_stands(
    warn: Callable[..., None], stored: Mapping[str, ScheduleRecord], wanted: Sequence[Wanted]
) -> None:
    """Tell of what is declared and not stored, because its name was taken at run time."""
    for each in wanted:
        if _is_made_at_run_time(stored.get(each.name)):
            warn(
                "Schedule %a was added at run time and is left alone; what %s declares under that name is "
                "not stored. Give one of the two another name, or remove the one that was added (liteq "
                "schedules remove) and start again.",
                *(each.name, module_of(each.owner)),
            )


def _warn(warn: Callable[..., None], before: ScheduleRecord | None, record: ScheduleRecord) -> None:
    """Tell of what nobody may have meant."""
    name = record.name
    if before is not None and _owner(before) != _owner(record):
        warn(
            "Schedule %a was declared by %s so far, and runs now as %s declares it. If both are to run, give "
            "each a name of its own.",
            *(name, _owner(before), _owner(record)),
        )
    if record.broken is not None:
        warn("Schedule %a is broken: %s", name, record.broken)
    elif record.next_run is None:
        warn("Schedule %a has no tick to come, and will not run.", name)


def diff(
    stored: Iterable[ScheduleRecord], wanted: Sequence[Wanted], loaded: Callable[[str], bool], now: float
) -> Changes:
    """Decide what has to be done to the store so that it has what is declared. Pure.

    Args:
        stored: what it has.
        wanted: what is declared here.
        loaded: tells whether the code that something belongs to would declare it here.
        now: the time.
    """
    there = {record.name: record for record in stored}
    names = {each.name for each in wanted}
    save = [record for each in wanted if (record := _decided(each, there.get(each.name), now)) is not None]
    remove = [
        record.name
        for record in there.values()
        if record.module is not None and record.name not in names and loaded(record.module)
    ]
    return Changes(save, remove)


def next_tick(
    schedule: Schedule, policy: Policy, now: float, last_run: float | None = None, runs: int = 0
) -> float | None:
    """Return the next tick of a schedule that begins, or is changed, now; None if it has had all its runs."""
    if policy.max_runs is not None and runs >= policy.max_runs:
        return None
    return first_run(schedule, policy, now, last_run)


# ---- one schedule ----------------------------------------------------------------------------------


def _decided(wanted: Wanted, stored: ScheduleRecord | None, now: float) -> ScheduleRecord | None:
    """Return a schedule as it is to be stored; None if it is as it should be."""
    if stored is None:
        return _stored(wanted, ScheduleRecord(**_blank(wanted), created=now), now)
    if _is_made_at_run_time(stored):
        return None
    if not _is_known_better(stored, wanted):
        same = stored.declaration == wanted.declaration and stored.broken == wanted.broken
        if not same or not _is_genuine(wanted.signer, stored):
            return _stored(wanted, stored, now)
    owner = _kept_owner(stored.module, wanted.owner)
    return None if owner == stored.module else replace(stored, module=owner)


def _is_made_at_run_time(stored: ScheduleRecord | None) -> bool:
    return stored is not None and stored.module is None


def _is_known_better(stored: ScheduleRecord, wanted: Wanted) -> bool:
    """Tell whether a program that knows more of the task has stored this declaration as it stands."""
    digest, made = parted(stored.declaration)
    if digest != wanted.digest or _knowledge(made) <= _knowledge(wanted.made):
        return False
    # Who has the key of the task's queue is not known where the task is not.
    return wanted.signer is None or _is_genuine(wanted.signer, stored)


def _knowledge(made: str) -> int:
    return (UNKNOWN + BY_NAME + LOADED).find(made[:1])


def _blank(wanted: Wanted) -> dict[str, Any]:
    return {"name": wanted.name, "task": "", "spec": "", "policy": "", "job": None, "next_run": None}


def _stored(wanted: Wanted, before: ScheduleRecord, now: float) -> ScheduleRecord:
    """Return what is declared as it is to be stored in the place of what was there."""
    schedule = _continued(wanted.schedule, before.spec) or begun(wanted.schedule, now)
    spec, policy = encode(schedule), encode_policy(wanted.policy)
    broken, next_run = wanted.broken, None
    if broken is None:
        goes_on = spec == before.spec and policy == before.policy and not before.paused
        next_run = before.next_run if goes_on and before.broken is None else None
        try:
            next_run = next_run or next_tick(schedule, wanted.policy, now, before.last_run, before.runs)
        except Exception as error:
            # Anything: the schedule may be an object of the user's own.
            broken = f"{type(error).__name__}: {error}"
    return replace(
        before,
        task=wanted.task,
        spec=spec,
        policy=policy,
        job=None if wanted.job is None else sealed(wanted.job, wanted.name, spec, policy, wanted.signer),
        next_run=next_run,
        broken=broken,
        module=_kept_owner(before.module, wanted.owner),
        declaration=wanted.declaration,
    )


def _continued(schedule: Schedule, spec: str) -> Schedule | None:
    """Return the schedule with the anchor that it has in the store, if it is the same; else None."""
    if not isinstance(schedule, Interval) or not spec:
        return None
    try:
        before = decode(spec)
    except LiteqError:
        return None
    if not isinstance(before, Interval) or before.anchor is None:
        return None
    again = schedule.anchored(before.anchor)
    # Only one that runs at full days and hours has anything to do with a time zone.
    same = again == before if again.relative else not before.relative and again.seconds == before.seconds
    return again if same else None


def _kept_owner(before: str | None, now: str) -> str:
    """Return to whom a schedule belongs: to its module, if that declares it as it is imported."""
    return before if before is not None and now.startswith(f"{before}\n") else now


def _is_genuine(signer: Signer | None, record: ScheduleRecord) -> bool:
    """Tell whether what is stored is signed with its queue's key, or unsigned where there is none."""
    job = record.job
    if job is None:
        return True
    if signer is None:
        return not is_signed(job.options)
    return signer.refusal(job._replace(id=template_id(record.name, record.spec, record.policy))) is None


def _owner(record: ScheduleRecord) -> str:
    return "nobody" if record.module is None else module_of(record.module)


# ---- what is declared ------------------------------------------------------------------------------


def _merged(
    declaring: Sequence[Declarations], first: Declarations | None
) -> list[tuple[Declarations, Declaration]]:
    """Return all declarations, those of one queue first; one that is made twice, once."""
    found: dict[str, tuple[Declarations, Declaration]] = {}
    for declarations in sorted(declaring, key=lambda each: each is not first):
        for declaration in declarations.all():
            name = declaration.work.name
            _, other = found.setdefault(name, (declarations, declaration))
            if other is not declaration and not is_again(declaration, other):
                raise duplicate(declaration, other)
    return list(found.values())


def _wanted(
    declarations: Declarations,
    declaration: Declaration,
    tasks: Mapping[str, Task[..., Any]],
    known: list[str],
    url: str,
) -> Wanted:
    work = declaration.work
    task = work.callee or tasks.get(work.task)
    policy, job, signer, broken = work.policy, None, declarations.store.settings.signer, None
    made = BY_NAME if task is None else LOADED
    if task is None and work.task not in known:
        broken, made = unknown_task(work.task, known, url), UNKNOWN
    else:
        try:
            template = make_template(declarations.store, work, task)
            job, signer = template.job, template.signer
            if policy.expires is None:
                policy = policy._replace(expires=template.expires)
            made += call_digest(work, policy, job)
        except LiteqError as error:
            broken = str(error)
    return Wanted(
        name=work.name,
        task=work.task,
        schedule=work.schedule,
        policy=policy,
        job=job,
        signer=signer,
        owner=declaration.place.owner,
        digest=digest_of(work),
        broken=broken,
        made=made,
    )
