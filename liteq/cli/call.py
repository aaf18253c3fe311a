"""`liteq call`: enqueues a task by name."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import click

from liteq.app.naming import nearest
from liteq.calls.checks import check_name
from liteq.calls.options import Placement, place
from liteq.cli.output import print_json
from liteq.cli.parameters import json_option, target_argument
from liteq.cli.result import print_outcome, wait_for
from liteq.cli.target import resolve
from liteq.codec import encode_call
from liteq.codec.accepting import Codecs
from liteq.codec.protection import is_sealed
from liteq.codec.signing import is_signed
from liteq.errors import NotSupportedError, PayloadTooLargeError
from liteq.ids import new_id
from liteq.job import JobFilter, NewJob
from liteq.queue import Queue
from liteq.transport import Transport

__all__ = ["call", "read_given", "read_time", "refuse_if_signed"]

LATEST_JOBS = 50
"""How many of the last jobs are looked at to find one of the task."""
MAX_PAYLOAD = 1 << 20
"""The most bytes of arguments where no application says otherwise; as `Queue` has it."""


@click.command()
@target_argument
@click.argument("task")
@click.argument("words", metavar="[ARGS]...", nargs=-1)
@click.option("-k", "named", metavar="NAME=VALUE", multiple=True, help="An argument by name.")
@click.option("--args", "args_json", metavar="JSON", help="All positional arguments, as a JSON list.")
@click.option("--kwargs", "kwargs_json", metavar="JSON", help="All arguments by name, as a JSON object.")
@click.option("--queue", help="The queue name to wait in.")
@click.option("--priority", type=int, help="From -32768 to 32767; a higher one runs first.")
@click.option("--countdown", type=float, help="Seconds before which it does not start.")
@click.option("--eta", metavar="TIME", help="The time before which it does not start, as ISO 8601.")
@click.option("--expires", metavar="WHEN", help="Seconds or a time after which it no longer starts.")
@click.option(
    "--serializer", help="The codec of the arguments, such as json; default the task's, or msgpack."
)
@click.option("--id", "task_id", help="The job's id; an unfinished job of that id is left as it is.")
@click.option("--wait", is_flag=True, help="Wait for the result, and print it.")
@click.option("--timeout", type=click.FloatRange(min=0), help="Wait for at most this many seconds.")
@json_option
def call(
    target: str,
    task: str,
    words: tuple[str, ...],
    named: tuple[str, ...],
    args_json: str | None,
    kwargs_json: str | None,
    wait: bool,
    timeout: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Enqueue a call of TASK in the queue TARGET, and print the job's id.

    ARGS and VALUE are JSON where they can be read as JSON, else strings. Write -- before arguments that begin
    with a dash. With a file as TARGET nothing is imported: the arguments are not checked, and the task's own
    options (queue, priority, serializer, max_crashes ...) are not known, nor is a signing key. With an
    application they are.
    """
    args = read_given("ARGS", [_value(word) for word in words], "--args", args_json, list)
    kwargs = read_given("-k", dict(map(_pair, named)), "--kwargs", kwargs_json, dict)
    options["eta"] = None if options["eta"] is None else read_time("--eta", options["eta"])
    options["expires"] = None if options["expires"] is None else _seconds_or_time(options["expires"])
    where = resolve(target)
    with where.open() if where.app is None else where.app.transport as transport:
        if where.app is None:
            job_id = _call_by_name(transport, check_name("TASK", task), args, kwargs, options)
        else:
            job_id = _call_in(where.app, task, args, kwargs, options)
        if not wait and timeout is None:
            print_json({"id": job_id}) if as_json else click.echo(job_id)
            return
        job = wait_for(transport, job_id, timeout)
    print_outcome(job_id, job, True, as_json, where.contents)


# ---- enqueueing ------------------------------------------------------------------------------------


def _call_in(
    app: Queue, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]
) -> str:
    return app.registry.get(task).apply_async(args, kwargs, **options).id


def _call_by_name(
    transport: Transport, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]
) -> str:
    """Store a call of a task that is not known here; return the job's id."""
    placed = place(f"The call of {task}", Placement(), options, UTC)
    codec = Codecs().writer(options["serializer"] or "msgpack", None)
    payload = encode_call(codec, args, kwargs)
    if len(payload) > MAX_PAYLOAD:
        raise PayloadTooLargeError(
            f"The encoded arguments of {task} take {len(payload):,} bytes, and {MAX_PAYLOAD:,} are allowed. "
            "Nothing was stored. Pass a path or a key instead of the data."
        )
    refuse_if_signed(transport, task)
    now = time.time()
    job = NewJob(
        id=new_id() if placed.task_id is None else placed.task_id,
        task=task,
        payload=payload,
        codec=codec.name,
        queue=placed.queue,
        priority=placed.priority,
        eta=placed.eta if placed.countdown is None else now + placed.countdown,
        expires=placed.expires if placed.expires_in is None else now + placed.expires_in,
    )
    known = [origin.task for origin in transport.origins()]
    if task not in known:
        hint = nearest(task, known)
        click.echo(f"liteq: no program has registered {task!r} in {transport.url} so far.{hint}", err=True)
    if not transport.enqueue([job], now)[0]:
        click.echo(f"liteq: job {job.id} exists and is unfinished; it is left as it is.", err=True)
    return job.id


def refuse_if_signed(transport: Transport, task: str) -> None:
    """Refuse to enqueue what no worker would run, as far as the latest jobs tell."""
    found = transport.find(JobFilter(limit=LATEST_JOBS))
    latest = next((job for job in found if job.task == task), None)
    if latest is not None and is_sealed(latest):
        done = "signed" if is_signed(latest.options) else "encrypted"
        raise NotSupportedError(
            f"The jobs of {task} in {transport.url} are {done}, and only its application has the key. "
            "Nothing was stored. Name the application as TARGET (package.module or package.module:q)."
        )


# ---- reading the command line ------------------------------------------------------------------------


def _value(text: str) -> Any:
    """Return what JSON makes of a text, else the text itself."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(constant: str) -> NoReturn:
    # Python's reader takes NaN and Infinity, which are words here.
    raise ValueError(constant)


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise click.UsageError(f"-k takes NAME=VALUE, not {text!r}")
    return name, _value(value)


def read_given(single: str, values: Any, option: str, text: str | None, kind: type[Any]) -> Any:
    """Return what was given one by one or as one JSON text."""
    if text is None:
        return values
    if values:
        raise click.UsageError(f"give {single} or {option}, not both")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{option} is not JSON: {error}") from error
    if not isinstance(value, kind):
        raise click.UsageError(f"{option} must be a JSON {'list' if kind is list else 'object'}")
    return value


def read_time(option: str, text: str) -> datetime:
    """Return the time that an option gives as ISO 8601."""
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"{option} takes a time such as 2026-01-31T12:00:00Z, not {text!r}") from error


def _seconds_or_time(text: str) -> float | datetime:
    try:
        return float(text)
    except ValueError:
        return read_time("--expires", text)
