"""The jobs of a schedule's ticks: made of its template, told what they are a tick of, and signed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from liteq.calls.options import decode_options, encode_options
from liteq.codec.protection import NOT_ENCRYPTED, Protection, is_sealed
from liteq.codec.signing import is_signed
from liteq.errors import EncryptionKeyError, ScheduleError
from liteq.firing import Policy
from liteq.ids import new_id
from liteq.job import NewJob
from liteq.retry import Random
from liteq.schedule import Schedule
from liteq.timetable import ScheduleRecord

__all__ = ["Code", "NoCode", "NotLoadedError", "protection_for", "tick_jobs"]


class NotLoadedError(Exception):
    """What a schedule needs is in no code that this process has loaded, and may be in another's."""


class Code(Protocol):
    """What the program's own code has to say about stored schedules, as far as it is loaded here."""

    def schedule(self, record: ScheduleRecord) -> Schedule | None:
        """Return the schedule that is declared under the record's name; None if none is, here."""

    def protection(self, task: str, *, load: bool) -> Protection:
        """Return what signs and encrypts the jobs of a task.

        Args:
            task: the task's name.
            load: whether it is worth importing the program's code, if that is not done yet.

        Raises:
            LookupError: the task is not loaded here.
        """


class NoCode:
    """Of a process that has loaded nothing."""

    def schedule(self, record: ScheduleRecord) -> Schedule | None:
        """Return None."""
        return None

    def protection(self, task: str, *, load: bool) -> Protection:
        """Raise LookupError."""
        raise LookupError(task)


def tick_jobs(
    record: ScheduleRecord,
    policy: Policy,
    ticks: Sequence[float],
    now: float,
    random: Random,
    protection: Protection,
) -> tuple[NewJob, ...]:
    """Return the jobs that some ticks of a schedule enqueue.

    Each finds the schedule's name and its tick (UTC seconds) as `schedule` and `tick` among its headers.

    Args:
        record: the schedule.
        policy: its policy.
        ticks: the ticks.
        now: the time.
        random: a source of floats in [0, 1).
        protection: signs and encrypts the jobs.

    Raises:
        LiteqError: the template makes no sense.
    """
    template = protection.opened_template(_template(record), record.name)
    options = decode_options(template.options)
    jobs = []
    for tick in ticks:
        headers = {**options.headers, "schedule": record.name, "tick": tick}
        # What is late begins now: spread as it would have been, and not expired before it could run.
        begins = max(tick, now)
        eta = begins + policy.jitter * random() if policy.jitter else None
        job = template._replace(
            id=new_id(),
            eta=eta,
            expires=None if policy.expires is None else (eta or begins) + policy.expires,
            options=encode_options(options._replace(headers=headers)),
        )
        jobs.append(protection.seal(job))
    return tuple(jobs)


def protection_for(record: ScheduleRecord, code: Code) -> Protection:
    """Return what has to sign and encrypt the jobs of a schedule, once its own seal is found good.

    Raises:
        ScheduleError: its signature is missing or wrong, or it is not encrypted, so it must not fire.
        NotLoadedError: it is signed or encrypted, and the key is not here.
    """
    template = _template(record)
    sealed = is_sealed(template)
    done, key = ("signed", "signing_key") if is_signed(template.options) else ("encrypted", "encryption_key")
    try:
        protection = code.protection(record.task, load=sealed)
    except LookupError:
        if sealed:
            raise NotLoadedError(f"it is {done}, and its task {record.task} is not loaded here") from None
        # Its jobs are not sealed either: whoever has the key does not run them.
        return Protection()
    if not protection.is_on:
        if sealed:
            raise NotLoadedError(f"it is {done}, and the queue of {record.task} has no {key} here")
        return protection
    refusal = protection.template_refusal(template, record.name, record.spec, record.policy)
    if refusal is not None:
        which = "an encryption_key" if refusal == NOT_ENCRYPTED else "a signing_key"
        raise ScheduleError(f"The queue of {record.task} has {which}, and {refusal}; add it anew.")
    try:
        protection.opened_template(template, record.name)
    except EncryptionKeyError as error:
        raise NotLoadedError(str(error)) from None
    return protection


def _template(record: ScheduleRecord) -> NewJob:
    if record.job is None:
        raise ScheduleError(f"What it enqueues of {record.task} is not known; add it anew.")
    return record.job
