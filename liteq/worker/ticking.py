"""The jobs of a schedule's ticks: made of its template, told what they are a tick of, and signed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from liteq.calls.options import decode_options, encode_options
from liteq.codec.signing import Signer, is_signed, template_id
from liteq.errors import ScheduleError
from liteq.firing import Policy
from liteq.ids import new_id
from liteq.job import NewJob
from liteq.retry import Random
from liteq.schedule import Schedule
from liteq.timetable import ScheduleRecord

__all__ = ["Code", "NoCode", "NotLoadedError", "sign_template", "signer_for", "tick_jobs"]


class NotLoadedError(Exception):
    """What a schedule needs is in no code that this process has loaded, and may be in another's."""


class Code(Protocol):
    """What the program's own code has to say about stored schedules, as far as it is loaded here."""

    def schedule(self, record: ScheduleRecord) -> Schedule | None:
        """Return the schedule that is declared under the record's name; None if none is, here."""

    def signer(self, task: str, *, load: bool) -> Signer | None:
        """Return who signs the jobs of a task; None for nobody.

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

    def signer(self, task: str, *, load: bool) -> Signer | None:
        """Raise LookupError."""
        raise LookupError(task)


def tick_jobs(
    record: ScheduleRecord,
    policy: Policy,
    ticks: Sequence[float],
    now: float,
    random: Random,
    signer: Signer | None,
) -> tuple[NewJob, ...]:
    """Return the jobs that some ticks of a schedule enqueue.

    Each finds the schedule's name and its tick (UTC seconds) as `schedule` and `tick` among its headers.

    Args:
        record: the schedule.
        policy: its policy.
        ticks: the ticks.
        now: the time.
        random: a source of floats in [0, 1).
        signer: signs the jobs; None for nobody.

    Raises:
        LiteqError: the template makes no sense.
    """
    template = _template(record)
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
        jobs.append(job if signer is None else _signed(job, signer, job.id))
    return tuple(jobs)


def signer_for(record: ScheduleRecord, code: Code) -> Signer | None:
    """Return who has to sign the jobs of a schedule, once its own signature is found good.

    Raises:
        ScheduleError: its signature is missing or wrong, so it must not fire.
        NotLoadedError: it is signed, and the key is not here.
    """
    template = _template(record)
    signed = is_signed(template.options)
    try:
        signer = code.signer(record.task, load=signed)
    except LookupError:
        if signed:
            raise NotLoadedError(f"it is signed, and its task {record.task} is not loaded here") from None
        # Its jobs are not signed either: whoever has the key does not run them.
        return None
    if signer is None:
        if signed:
            raise NotLoadedError(f"it is signed, and the queue of {record.task} has no signing_key here")
        return None
    refusal = signer.refusal(template._replace(id=template_id(record.name, record.spec, record.policy)))
    if refusal is not None:
        raise ScheduleError(f"The queue of {record.task} has a signing_key, and {refusal}; add it anew.")
    return signer


def sign_template(template: NewJob, schedule: str, spec: str, policy: str, signer: Signer) -> NewJob:
    """Return what a schedule enqueues with a signature of it and of the schedule.

    Args:
        template: signed or not.
        schedule: the schedule's name.
        spec: when it runs, as it is stored.
        policy: its policy, as it is stored.
        signer: signs.
    """
    bare = template._replace(options=encode_options(decode_options(template.options)))
    return _signed(bare, signer, template_id(schedule, spec, policy))


def _template(record: ScheduleRecord) -> NewJob:
    if record.job is None:
        raise ScheduleError(f"What it enqueues of {record.task} is not known; add it anew.")
    return record.job


def _signed(job: NewJob, signer: Signer, job_id: str) -> NewJob:
    options = signer.sign(job_id, job.task, job.queue, job.codec, job.payload, job.options, job.max_crashes)
    return job._replace(options=options)
