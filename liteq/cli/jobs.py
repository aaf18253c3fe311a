"""`liteq jobs`: lists and shows jobs, and puts failed ones back."""

from __future__ import annotations

import time
from typing import Any

import click
from click.exceptions import Exit

from liteq.cli.describing import (
    Content,
    carried,
    options_of,
    read_arguments,
    read_content,
    reason_of,
    state_of,
    summary,
    tell_if_moved,
)
from liteq.cli.group import NO, ListingGroup
from liteq.cli.output import clean, clean_lines, moment, print_json, print_pairs, print_table, written
from liteq.cli.parameters import json_option, named_states, queues_option, target_argument
from liteq.cli.target import resolve
from liteq.job import Job, JobFilter
from liteq.states import FAILURE
from liteq.transport import Transport

__all__ = ["jobs"]

AT_ONCE = 1000
"""How many jobs are put back in one transaction."""
EVERYTHING = 2**31 - 1

task_option = click.option("--task", "tasks", multiple=True, help="Of this task; may be given again.")


@click.group(cls=ListingGroup)
def jobs() -> None:
    """List and show jobs, and put failed ones back.

    `liteq jobs TARGET` is short for `liteq jobs list TARGET`.
    """


@jobs.command("list")
@target_argument
@click.option(
    "--state", "states", multiple=True, callback=named_states, help="In this state; may be given again."
)
@task_option
@queues_option
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many.")
@json_option
def list_jobs(
    target: str,
    states: tuple[str, ...],
    tasks: tuple[str, ...],
    queues: tuple[str, ...] | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the jobs of the queue TARGET, the newest first."""
    which = JobFilter(states=states or None, tasks=tasks or None, queues=queues, limit=limit)
    with resolve(target).open() as transport:
        tell_if_moved(transport)
        found = transport.find(which)
    if as_json:
        print_json([summary(job) for job in found])
    elif found:
        headers = ("ID", "STATE", "TASK", "QUEUE", "ENQUEUED (UTC)", "ATTEMPTS", "REASON")
        print_table(headers, [_row(job) for job in found])
    else:
        click.echo("no jobs")


def _row(job: Job) -> tuple[object, ...]:
    reason = reason_of(job) or ""
    short = reason if len(reason) <= 60 else f"{reason[:57]}..."
    return (job.id, state_of(job), job.task, job.queue, moment(job.enqueued), job.attempts, short)


@jobs.command()
@target_argument
@click.argument("job_id", metavar="ID")
@json_option
def show(target: str, job_id: str, as_json: bool) -> None:
    """Show everything about the job ID of the queue TARGET, its arguments and its result included."""
    where = resolve(target)
    with where.open() as transport:
        job = transport.get([job_id])[0]
        holder = None if job is None or job.holder is None else _worker_name(transport, job.holder)
    if job is None:
        click.echo(f"liteq: there is no job {job_id} in {transport.url}.", err=True)
        raise Exit(NO)
    arguments = read_arguments(job, where.contents)
    if as_json:
        facts = {
            "worker": holder,
            "arguments": arguments._asdict(),
            "options": options_of(job, where.contents),
        }
        print_json({**summary(job), **facts, **carried(job, where.contents)})
        return
    content = read_content(job, where.contents)
    pairs = [(name, _shown(value)) for name, value in summary(job).items()]
    if arguments.unreadable is None:
        pairs += [("args", written(arguments.args)), ("kwargs", written(arguments.kwargs))]
    else:
        pairs += [("arguments", f"cannot be read here: {arguments.unreadable}")]
    pairs += [(name, _shown(value)) for name, value in options_of(job, where.contents).items()]
    print_pairs([*pairs, ("worker", holder or ""), *_content(content)])
    failure = content.failure
    if failure is not None and failure.traceback:
        click.echo(f"\n{clean_lines(failure.traceback)}")


def _worker_name(transport: Transport, holder: int) -> str:
    names = {record.holder: f"{record.info.name} (pid {record.info.pid})" for record in transport.workers()}
    return names.get(holder, f"number {holder}")


def _content(content: Content) -> list[tuple[str, str]]:
    if content.unreadable is not None:
        return [("result", f"cannot be read here: {content.unreadable}")]
    if content.failure is not None:
        return [("exception", f"{content.failure.dotted}: {content.failure.message}")]
    return [("result", written(content.value))] if content.is_there else []


def _shown(value: object) -> str:
    if value is None or value == {}:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


@jobs.command()
@target_argument
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All jobs that ended FAILURE, instead of IDs.")
@task_option
@queues_option
@json_option
def retry(
    target: str,
    job_ids: tuple[str, ...],
    everything: bool,
    tasks: tuple[str, ...],
    queues: tuple[str, ...] | None,
    as_json: bool,
) -> None:
    """Put jobs of the queue TARGET back that ended FAILURE or REVOKED, with exactly the payload they had.

    Name them by ID, or take all that failed with --all, which --task and -Q narrow down. The exit status is
    1 if one of the IDs cannot be put back.
    """
    if everything == bool(job_ids):
        raise click.UsageError("give the IDs of jobs, or --all")
    if (tasks or queues) and not everything:
        raise click.UsageError("--task and -Q go with --all")
    with resolve(target).open() as transport:
        tell_if_moved(transport)
        if everything:
            failed = JobFilter(states=[FAILURE], tasks=tasks or None, queues=queues, limit=EVERYTHING)
            job_ids = tuple(job.id for job in transport.find(failed))
        outcome = _put_back(transport, job_ids)
    back = [job_id for job_id, done in outcome.items() if done]
    refused = [job_id for job_id, done in outcome.items() if not done]
    if as_json:
        print_json({"retried": back, "refused": refused})
    else:
        click.echo(f"{len(back)} {'job' if len(back) == 1 else 'jobs'} put back")
        for job_id in refused:
            click.echo(f"liteq: {clean(job_id)} is not a job that ended FAILURE or REVOKED.", err=True)
    if refused and not everything:
        raise Exit(NO)


def _put_back(transport: Transport, job_ids: tuple[str, ...]) -> dict[str, Any]:
    outcome: dict[str, bool] = {}
    for start in range(0, len(job_ids), AT_ONCE):
        some = job_ids[start : start + AT_ONCE]
        outcome.update(zip(some, transport.requeue(some, time.time()), strict=True))
    return outcome
