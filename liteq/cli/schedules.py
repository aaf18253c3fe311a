"""`liteq schedules`: lists, shows and changes recurring work."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from liteq.app.schedule_info import ScheduleInfo
from liteq.app.schedules import Schedules
from liteq.app.store import Store
from liteq.calls.policies import POLICY_OPTIONS
from liteq.cli.call import read_given, read_time, refuse_if_signed
from liteq.cli.describing import tell_if_moved
from liteq.cli.group import CannotError, ListingGroup
from liteq.cli.output import clean, moment, print_json, print_pairs, print_table, stamp, written
from liteq.cli.parameters import json_option, target_argument
from liteq.cli.target import resolve
from liteq.errors import LiteqError
from liteq.firing import CATCH_UP, OVERLAP
from liteq.queue import Queue

__all__ = ["schedules"]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

name_argument = click.argument("name")

_OPTIONS = (
    click.option("--args", metavar="JSON", help="The positional arguments, as a JSON list."),
    click.option("--kwargs", metavar="JSON", help="The arguments by name, as a JSON object."),
    click.option("--queue", help="The queue name that its jobs wait in."),
    click.option("--priority", type=int, help="From -32768 to 32767; a higher one runs first."),
    click.option("--expires", type=float, help="Seconds after its tick at which a job no longer starts."),
    click.option("--catch-up", type=click.Choice(CATCH_UP), help="What of missed ticks fires; default once."),
    click.option(
        "--overlap", type=click.Choice(OVERLAP), help="While the job before is unfinished; default allow."
    ),
    click.option("--jitter", type=float, help="Seconds by which a job may start later, at random."),
    click.option("--start", metavar="TIME", help="No tick before this time, as ISO 8601."),
    click.option("--end", metavar="TIME", help="No tick after this time."),
    click.option("--max-runs", type=click.IntRange(min=1), help="How many ticks fire in all."),
    click.option("--timezone", metavar="ZONE", help="The schedule's time zone; default the queue's, or UTC."),
)


def _described(function: FunctionT) -> FunctionT:
    """Add the options that describe recurring work."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.group(cls=ListingGroup)
def schedules() -> None:
    """List schedules, and add, change, pause, resume, run and remove them; it takes effect at once.

    `liteq schedules TARGET` is short for `liteq schedules list TARGET`. SCHEDULE is a number of seconds, a
    cron expression such as "0 3 * * *", or a time such as 2026-01-31T12:00:00Z. With a file as TARGET nothing
    is imported, and times without a zone are UTC.
    """


@schedules.command("list")
@target_argument
@json_option
def list_schedules(target: str, as_json: bool) -> None:
    """List the schedules of the queue TARGET, in the order of their names."""
    with _opened(target) as found:
        found.tell_if_moved()
        listed = found.list()
    if as_json:
        print_json([_facts(info) for info in listed])
    elif listed:
        headers = ("NAME", "SCHEDULE", "TASK", "NEXT RUN (UTC)", "LAST RUN (UTC)", "RUNS", "STATUS")
        print_table(headers, [_row(info) for info in listed])
        for info in listed:
            if info.broken is not None:
                click.echo(f"\n{clean(info.name)} is broken: {clean(info.broken)}")
    else:
        click.echo("no schedules")


@schedules.command()
@target_argument
@name_argument
@json_option
def show(target: str, name: str, as_json: bool) -> None:
    """Show everything about the schedule NAME of the queue TARGET."""
    with _opened(target) as found:
        _print(found.get(name), as_json)


@schedules.command()
@target_argument
@name_argument
@click.argument("schedule")
@click.argument("task")
@_described
@json_option
def add(target: str, name: str, schedule: str, task: str, as_json: bool, **options: Any) -> None:
    """Add the schedule NAME to the queue TARGET: at SCHEDULE, call TASK.

    It stays until it is removed, whatever programs declare.
    """
    with _opened(target, may_create=True) as found:
        found.refuse_if_signed(task)
        _print(found.add(_schedule(schedule), task, name=name, **_options(options)), as_json)


@schedules.command()
@target_argument
@name_argument
@click.option("--schedule", help="When it runs from now on.")
@_described
@click.option(
    "--reset",
    metavar="POLICY",
    multiple=True,
    type=click.Choice([option.replace("_", "-") for option in POLICY_OPTIONS]),
    help="Give a policy, such as max-runs, its default again; may be given again.",
)
@json_option
def change(
    target: str, name: str, schedule: str | None, reset: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Change the schedule NAME of the queue TARGET; what is not given stays as it is.

    What a module declares comes back as it says when that declaration is changed.
    """
    given = {option: value for option, value in _options(options).items() if value is not None}
    dropped = [option.replace("-", "_") for option in reset]
    both = next((option for option in dropped if option in given), None)
    if both is not None:
        raise click.UsageError(f"give --{both.replace('_', '-')} or reset it, not both")
    if schedule is not None:
        given["schedule"] = _schedule(schedule)
    if "timezone" in given and schedule is None:
        raise click.UsageError("--timezone goes together with --schedule")
    if not given and not dropped:
        raise click.UsageError("say what is to be changed")
    with _opened(target) as found:
        _print(found.change(name, **given, **dict.fromkeys(dropped)), as_json)


@schedules.command()
@target_argument
@name_argument
@json_option
def pause(target: str, name: str, as_json: bool) -> None:
    """Leave the schedule NAME of the queue TARGET alone until it is resumed."""
    with _opened(target) as found:
        _print(found.pause(name), as_json)


@schedules.command()
@target_argument
@name_argument
@json_option
def resume(target: str, name: str, as_json: bool) -> None:
    """Let the paused schedule NAME of the queue TARGET go on, from its next tick."""
    with _opened(target) as found:
        _print(found.resume(name), as_json)


@schedules.command()
@target_argument
@name_argument
@json_option
def run(target: str, name: str, as_json: bool) -> None:
    """Enqueue what the schedule NAME of the queue TARGET enqueues, now, and print the job's id."""
    with _opened(target) as found:
        job_id = found.run_now(name).id
    print_json({"id": job_id}) if as_json else click.echo(job_id)


@schedules.command()
@target_argument
@name_argument
@json_option
def remove(target: str, name: str, as_json: bool) -> None:
    """Remove the schedule NAME from the queue TARGET; its jobs that wait already are run.

    One that a module declares is stored again when a program with that module starts.
    """
    with _opened(target) as found:
        found.remove(name)
    print_json({"removed": name}) if as_json else click.echo(f"{clean(name)} is removed")


# ---- the store -------------------------------------------------------------------------------------


class _Opened(Schedules):
    """The schedules of a target."""

    def refuse_if_signed(self, task: str) -> None:
        """Refuse to add what no worker would run, as far as the latest jobs tell."""
        if not self._store.settings.protection.is_on:
            refuse_if_signed(self._store.transport(), task)

    def tell_if_moved(self) -> None:
        """Say where they are, if the target was moved."""
        tell_if_moved(self._store.transport())


@contextmanager
def _opened(target: str, may_create: bool = False) -> Iterator[_Opened]:
    """Open a target; the file of an application is made where that is asked for."""
    where = resolve(target)
    app = Queue(where.url) if where.app is None else where.app
    create = may_create and where.app is not None
    store = Store(app.settings, lambda _: where.open(create=create))
    try:
        yield _Opened(store, app.registry)
    except LiteqError as error:
        raise CannotError(_as_command(" ".join(str(error).split()))) from error
    finally:
        store.close()


def _as_command(message: str) -> str:
    """Return what is said of `q.schedules` as said of these commands."""
    message = _METHOD.sub(lambda found: f"liteq schedules {found[1]}", message)
    # The line begins with the program's name anyway.
    return message.removeprefix("liteq ")


_METHOD = re.compile(r"q\.schedules\.([a-z]+)(?:_now)?\(\)")


# ---- reading the command line ------------------------------------------------------------------------


def _schedule(text: str) -> float | datetime | str:
    """Return the number of seconds, the time, or the cron expression that a text is."""
    readers: tuple[Callable[[str], float | datetime], ...] = (float, datetime.fromisoformat)
    for read in readers:
        with suppress(ValueError):
            return read(text)
    return text


def _options(options: dict[str, Any]) -> dict[str, Any]:
    given = dict(options)
    for option in ("start", "end"):
        if given[option] is not None:
            given[option] = read_time(f"--{option}", given[option])
    given["args"] = read_given("", None, "--args", given["args"], list)
    given["kwargs"] = read_given("", None, "--kwargs", given["kwargs"], dict)
    return given


# ---- what is printed -------------------------------------------------------------------------------


def _row(info: ScheduleInfo) -> tuple[object, ...]:
    last, following = (None if each is None else each.timestamp() for each in (info.last_run, info.next_run))
    words = info.description
    short = words if len(words) <= 60 else f"{words[:57]}..."
    return (info.name, short, info.task, moment(following), moment(last), info.runs, info.status)


def _facts(info: ScheduleInfo) -> dict[str, Any]:
    policy = None if info.policy is None else info.policy._asdict()
    for bound in ("start", "end") if policy is not None else ():
        assert policy is not None
        policy[bound] = stamp(policy[bound])
    return {
        "name": info.name,
        "schedule": info.description,
        "task": info.task,
        "next_run": _stamp(info.next_run),
        "last_run": _stamp(info.last_run),
        "runs": info.runs,
        "status": info.status,
        "broken": info.broken,
        "paused": info.paused,
        "module": info.module,
        "last_job": info.last_job,
        "queue": info.queue,
        "priority": info.priority,
        "args": None if info.args is None else [*info.args],
        "kwargs": None if info.kwargs is None else dict(info.kwargs),
        "policy": policy,
    }


def _stamp(when: datetime | None) -> str | None:
    return None if when is None else stamp(when.astimezone(UTC).timestamp())


def _print(info: ScheduleInfo, as_json: bool) -> None:
    facts = _facts(info)
    if as_json:
        print_json(facts)
        return
    policy = facts.pop("policy")
    unreadable = "cannot be read here"
    # What is broken from the start has nothing stored of its call.
    missing = unreadable if info.broken is None else "not known, as it is broken"
    for part in ("args", "kwargs"):
        facts[part] = missing if facts[part] is None else written(facts[part])
    facts |= {"policy": unreadable} if policy is None else policy
    print_pairs([(name, _shown(value)) for name, value in facts.items()])


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
