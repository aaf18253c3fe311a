"""Brings what programs declare into the store: at the start of workers, and of a scheduler.

What has to be done is decided in `liteq.app.comparing`; here it is done, and tried again where somebody else
was faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from liteq.app.attribution import is_loaded, module_of
from liteq.app.comparing import Wanted, diff, is_made_at_run_time
from liteq.app.declaring import (
    Declaration,
    Declarations,
    all_declarations,
    declarations_on,
    duplicate,
    is_again,
)
from liteq.app.digests import BY_NAME, LOADED, UNKNOWN, call_digest, digest_of
from liteq.app.recurring import make_template, unknown_task
from liteq.errors import LiteqError, StoreBusyError
from liteq.registry import collect_tasks
from liteq.task import Task
from liteq.timetable import ScheduleRecord
from liteq.transport import Transport

__all__ = ["Declaring", "reconcile", "reconcile_declared"]

TRIES = 50
"""How often a change is tried again because somebody else was faster; each time, others have got on."""


class Declaring(Protocol):
    """A queue, as far as its declarations go."""

    @property
    def declarations(self) -> Declarations:
        """What is declared with it."""


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
        if is_made_at_run_time(stored.get(each.name)):
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
    policy, job, protection, broken = work.policy, None, declarations.store.settings.protection, None
    made = BY_NAME if task is None else LOADED
    if task is None and work.task not in known:
        broken, made = unknown_task(work.task, known, url), UNKNOWN
    else:
        try:
            template = make_template(declarations.store, work, task)
            job, protection = template.job, template.protection
            policy = template.completed(policy)
            made += call_digest(work, policy, job, protection.cipher)
        except LiteqError as error:
            broken = str(error)
    return Wanted(
        name=work.name,
        task=work.task,
        schedule=work.schedule,
        policy=policy,
        job=job,
        protection=protection,
        owner=declaration.place.owner,
        digest=digest_of(work, declarations.store.settings.cipher),
        broken=broken,
        made=made,
    )
