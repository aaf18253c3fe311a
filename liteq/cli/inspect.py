"""`liteq inspect`: the queues with their jobs by state, and the workers with what they run now."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import click

from liteq.cli.describing import tell_if_moved
from liteq.cli.output import print_json, print_table, stamp
from liteq.cli.parameters import json_option, target_argument
from liteq.cli.target import resolve
from liteq.job import LaneCount, WorkerRecord
from liteq.states import FAILURE, RETRY, REVOKED, SUCCESS
from liteq.transport import Transport

__all__ = ["inspect"]

QUEUES, WORKERS = "queues", "workers"


@click.command()
@target_argument
@click.argument("part", type=click.Choice([QUEUES, WORKERS]), required=False)
@json_option
def inspect(target: str, part: str | None, as_json: bool) -> None:
    """Count the jobs of the queue TARGET and show what each worker runs now, or only one of the two."""
    found: dict[str, list[dict[str, Any]]] = {}
    with resolve(target).open() as transport:
        tell_if_moved(transport)
        if part != WORKERS:
            found[QUEUES] = _queues(transport.count())
        if part != QUEUES:
            found[WORKERS] = [_worker(transport, record) for record in transport.workers()]
    if as_json:
        print_json(found)
        return
    if QUEUES in found:
        _print_queues(found[QUEUES])
    if len(found) == 2:
        click.echo()
    if WORKERS in found:
        _print_workers(found[WORKERS])


def _queues(lanes: Iterable[LaneCount]) -> list[dict[str, Any]]:
    stations: dict[str, Counter[str]] = {}
    states: dict[str, Counter[str]] = {}
    for lane in lanes:
        stations.setdefault(lane.queue, Counter())[lane.waiting] += lane.jobs
        states.setdefault(lane.queue, Counter())[lane.state] += lane.jobs
    return [
        {
            "queue": queue,
            "ready": counts["ready"],
            "delayed": counts["delayed"],
            "running": counts["leased"],
            "finished": counts["finished"],
            "states": dict(sorted(states[queue].items())),
        }
        for queue, counts in sorted(stations.items())
    ]


def _print_queues(queues: list[dict[str, Any]]) -> None:
    if not queues:
        click.echo("no jobs")
        return
    headers = ("QUEUE", "READY", "DELAYED", "RUNNING", RETRY, SUCCESS, FAILURE, REVOKED)
    counted = ("ready", "delayed", "running")
    rows = [
        (
            each["queue"],
            *(each[station] for station in counted),
            *(each["states"].get(state, 0) for state in headers[4:]),
        )
        for each in queues
    ]
    print_table(headers, rows)


def _worker(transport: Transport, record: WorkerRecord) -> dict[str, Any]:
    info = record.info
    return {
        "name": info.name,
        "hostname": info.hostname,
        "pid": info.pid,
        "supervisor": info.supervisor,
        "queues": None if info.queues is None else list(info.queues),
        "alive": record.alive,
        "started": stamp(record.started),
        "leases": record.leases,
        "running": _running(transport, record),
        "beside": len(record.running.beside or ()) if record.running is not None else 0,
    }


def _running(transport: Transport, record: WorkerRecord) -> Mapping[str, Any] | None:
    """Return the job that a worker runs, if that is known and has not ended meanwhile."""
    running = record.running
    if running is None or not record.trusted or record.alive is False:
        return None
    for claim in transport.leases(record.holder):
        if (claim.seq, claim.token) == (running.seq, running.token):
            seconds = round(max(0.0, time.monotonic() - running.since), 3)
            return {"id": claim.id, "task": claim.task, "seconds": seconds}
    return None


def _print_workers(workers: list[dict[str, Any]]) -> None:
    if not workers:
        click.echo("no workers")
        return
    alive = {True: "yes", False: "no", None: "?"}
    rows = []
    for each in workers:
        running = each["running"]
        shown = (
            "" if running is None else f"{running['task']}[{running['id']}] for {running['seconds']:.1f} s"
        )
        if running is not None and each["beside"]:
            shown += f", and {each['beside']} more"
        queues = "all" if each["queues"] is None else ",".join(each["queues"])
        rows.append((each["name"], each["pid"], alive[each["alive"]], queues, each["leases"], shown))
    print_table(("WORKER", "PID", "ALIVE", "QUEUES", "HOLDS", "RUNS"), rows)
