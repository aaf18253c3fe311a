"""`liteq doctor`: everything about a queue that could bite."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict

import click
from click.exceptions import Exit

from liteq.app.naming import nearest
from liteq.cli.group import NO
from liteq.cli.output import clean, print_json, print_table
from liteq.cli.parameters import json_option, target_argument
from liteq.cli.target import resolve
from liteq.job import Finding
from liteq.transport import Transport

__all__ = ["doctor"]


@click.command()
@target_argument
@json_option
def doctor(target: str, as_json: bool) -> None:
    """Look at all about the queue TARGET that could bite: its file, its workers, its tasks.

    The exit status is 1 if something is amiss.
    """
    with resolve(target).open() as transport:
        findings = [*transport.diagnose(time.time()), *_tasks(transport)]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        mark = {True: "ok", False: "!!"}
        print_table(("", "CHECK", "FOUND"), [(mark[each.ok], each.check, each.detail) for each in findings])
        for finding in findings:
            if not finding.ok and finding.advice:
                click.echo(f"\n{clean(finding.check)}: {clean(finding.advice)}")
    if not all(finding.ok for finding in findings):
        raise Exit(NO)


def _tasks(transport: Transport) -> list[Finding]:
    """Find the jobs that wait for a task of which nobody has said where it lives."""
    known = [origin.task for origin in transport.origins()]
    waiting: Counter[str] = Counter()
    for lane in transport.count():
        if lane.waiting in ("ready", "delayed") and lane.task not in known:
            waiting[lane.task] += lane.jobs
    if not waiting:
        return [Finding("tasks", True, f"{len(known)} known, no job waits for another")]
    return [
        Finding(
            f"task {task}",
            False,
            f"{count} {'job waits' if count == 1 else 'jobs wait'}, and no program has registered it here",
            f"Start a worker with -A and the module that registers it, or purge them.{nearest(task, known)}",
        )
        for task, count in sorted(waiting.items())
    ]
