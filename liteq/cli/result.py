"""`liteq result`: what became of a job."""

from __future__ import annotations

import time

import click
from click.exceptions import Exit

from liteq.app.store import LOOK_EVERY
from liteq.cli.describing import carried, is_over, read_content, reason_of, state_of, summary
from liteq.cli.group import NO
from liteq.cli.output import clean, clean_lines, print_json, written
from liteq.cli.parameters import json_option, target_argument
from liteq.cli.target import resolve
from liteq.codec.contents import Contents
from liteq.job import Job
from liteq.states import FAILURE, PENDING, RETRY, REVOKED, SUCCESS
from liteq.transport import Transport

__all__ = ["print_outcome", "result", "wait_for"]


@click.command()
@target_argument
@click.argument("job_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Wait until the job is finished.")
@click.option("--timeout", type=click.FloatRange(min=0), help="Wait for at most this many seconds.")
@json_option
def result(target: str, job_id: str, wait: bool, timeout: float | None, as_json: bool) -> None:
    """Print what became of the job ID of the queue TARGET.

    The exit status is 0 if it succeeded; 1 if it failed, was revoked, is not finished or is unknown.
    """
    where = resolve(target)
    with where.open() as transport:
        job = transport.get([job_id])[0]
        known = job is not None
        if known and (wait or timeout is not None):
            job = wait_for(transport, job_id, timeout)
    if not known:
        click.echo(f"liteq: there is no job {clean(job_id)} in {transport.url} (any more).", err=True)
    print_outcome(job_id, job, known, as_json, where.contents)


def wait_for(transport: Transport, job_id: str, timeout: float | None) -> Job | None:
    """Return a stored job once it is finished, or as it is after `timeout` seconds.

    None means that it has ended without leaving a record.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    listener = transport.listen_for_result(job_id)
    try:
        while True:
            listener.arm()
            job = transport.get([job_id])[0]
            pause = LOOK_EVERY if deadline is None else min(LOOK_EVERY, deadline - time.monotonic())
            if job is None or is_over(job) or pause <= 0:
                return job
            if job.holder is None and job.expires is not None:
                pause = min(pause, max(0.001, job.expires - time.time()))
            listener.wait(pause)
    finally:
        listener.close()


def print_outcome(job_id: str, job: Job | None, known: bool, as_json: bool, contents: Contents) -> None:
    """Print a job's state and what it carries, and exit with the status that says so.

    Args:
        job_id: the job's id.
        job: its record, if there is one.
        known: there was a record; if it is gone, the job has succeeded and keeps no result.
        as_json: print JSON.
        contents: reads what it carries.
    """
    state = state_of(job) if job is not None else SUCCESS if known else PENDING
    if as_json:
        facts = {"id": job_id, "state": state} if job is None else {**summary(job), **carried(job, contents)}
        print_json({"exists": job is not None, **facts})
    elif known:
        click.echo(clean(state))
        if job is not None:
            _print_content(job, state, contents)
    if state != SUCCESS:
        raise Exit(NO)


def _print_content(job: Job, state: str, contents: Contents) -> None:
    content = read_content(job, contents)
    if content.unreadable is not None:
        click.echo(f"liteq: its result cannot be read here: {clean(content.unreadable)}", err=True)
    elif content.failure is not None:
        failure = content.failure
        click.echo(clean_lines(failure.traceback or f"{failure.dotted}: {failure.message}"))
    elif state in (FAILURE, RETRY, REVOKED):
        click.echo(clean(reason_of(job) or ""))
    elif state == SUCCESS or content.value is not None:
        click.echo(clean(written(content.value)))
