"""Crash and failure at every call: of SQLite's file layer, and of liteq's own on its side folder.

At each call that a verb makes, in turn, the process dies (of a write also halfway and after it), or the
call fails with EIO or ENOSPC, once or with all that follow it. After a death the file has to be as
`points` demands. After a failure the verb has either succeeded or raised an error of liteq's that says so;
the file is as before the step or after it; and the same process goes on working once the fault is gone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from chaos.faults import FILE_LAYER, SYSTEM, Trouble
from chaos.filecheck import broken_rules, finish_all
from chaos.nursery import Ended, Nursery, Report, can_fork, workplace
from chaos.performing import Job, Rehearsal, after_death, connect, fresh_copy, perform, say, stock_in
from chaos.proof import Proof
from chaos.verbs import LATER, VERBS, OwnStatementError, Scene
from chaos.vfs import FileLayer
from liteq.errors import StoreError, StoreFullError

__all__ = ["cover", "prove", "why_not"]

Work = tuple[str, int, str, str]
"""The verb, the seed of the stock, whose calls are broken, and a seeded fault."""


def prove(size: int, seed: int) -> Proof:
    """Break each call of each verb in every way, `size` times over with other jobs each time."""
    return cover(list(VERBS), rounds=size, seed=seed)


def why_not() -> str:
    """Say why calls cannot be broken on this system; "" if they can."""
    if not can_fork():
        return "this system has no fork"
    if not Path("/proc/self/fd").exists():
        return "this system does not tell which file a descriptor is of"
    with Nursery() as nursery:
        trouble = nursery.run("chaos.calls:try_layer").trouble.strip()
    return trouble and f"no file layer can be put under sqlite3 here: {trouble.splitlines()[-1]}"


def cover(
    verbs: Sequence[str],
    rounds: int,
    seed: int,
    *,
    fault: str = "",
    sample: int | None = None,
) -> Proof:
    """Break the calls of these verbs.

    Args:
        verbs: their names.
        rounds: over all of it.
        seed: what makes the same again.
        fault: the name of a seeded fault; "" for none.
        sample: how many points of each verb and source are taken; None for all.
    """
    if why := why_not():
        return Proof("calls", seed, {"skipped": why})
    calls = found = visited = 0
    problems: list[str] = []
    with workplace() as folder, Nursery("chaos.calls") as nursery:
        for stock_seed in range(seed, seed + rounds):
            stock = stock_in(folder, stock_seed)
            for verb in verbs:
                for source in (FILE_LAYER, SYSTEM):
                    breaks = _Breaks(nursery, stock, folder, (verb, stock_seed, source, fault))
                    calls += len(breaks.calls)
                    points = breaks.points()
                    if sample is not None and sample < len(points):
                        points = random.Random(f"{seed} {verb} {source}").sample(points, sample)
                    found += len(points)
                    for point, mode in points:
                        reached, told = breaks.break_at(point, mode)
                        visited += reached
                        where = f"{verb}, {mode} at {breaks.where(point)} (stock {stock_seed})"
                        problems += [f"{where}: {what}" for what in told]
    if visited != found:
        problems.append(f"{found - visited} of {found} points were not reached")
    figures = {"verbs": len(verbs), "calls": calls, "points": found, "visited": visited, "rounds": rounds}
    return Proof("calls", seed, figures, problems)


class _Breaks:
    """All that befalls one verb at the calls of one source."""

    def __init__(self, nursery: Nursery, stock: Path, folder: Path, work: Work) -> None:
        self._nursery = nursery
        self._stock = stock
        self._folder = folder
        self._work = work
        verb, seed, *_ = work
        self._rehearsal = Rehearsal(nursery, fresh_copy(stock, folder), verb, seed)
        ended = nursery.run("chaos.calls:count", str(fresh_copy(stock, folder)), *work)
        if ended.trouble:
            raise RuntimeError(f"{verb} does not even work undisturbed:\n{ended.trouble}")
        self.calls: list[tuple[str, list[str]]] = ended.reports[-1]

    def points(self) -> list[tuple[int, str]]:
        """Return each call with each thing that can befall it."""
        return [(number, mode) for number, (_, modes) in enumerate(self.calls, 1) for mode in modes]

    def where(self, point: int) -> str:
        """Say which call a point is."""
        return f"call {point}, {self.calls[point - 1][0]}"

    def break_at(self, point: int, mode: str) -> tuple[bool, list[str]]:
        """Let one thing happen; return whether it did, and what is wrong afterwards."""
        path = fresh_copy(self._stock, self._folder)
        ended = self._nursery.run("chaos.calls:do", str(path), *self._work, point, mode)
        if mode.startswith("die"):
            return ended.killed, after_death(path, ended, self._rehearsal)
        return "reached" in ended.reports, self._after_failure(path, ended, full=mode.startswith("ENOSPC"))

    def _after_failure(self, path: Path, ended: Ended, full: bool) -> list[str]:
        if ended.trouble or ended.killed:
            return [ended.trouble or "it died"]
        [outcome] = [report for report in ended.reports if isinstance(report, dict)]
        problems: list[str] = list(outcome["problems"])
        if full and outcome["raised"] and not outcome["full"]:
            problems.append(f"a full disk is not told as such: {outcome['raised']}")
        misfit = self._rehearsal.misfit(outcome["state"], ended)
        if misfit:
            problems.append(misfit + (f" (it raised {outcome['raised']})" if outcome["raised"] else ""))
        try:
            return problems + finish_all(path)
        except Exception as error:
            return [*problems, f"the file cannot be worked with any more: {type(error).__name__}: {error}"]


# ---- in the child ------------------------------------------------------------------------------------


def try_layer(report: Report) -> None:
    """Find out whether the file layer can be had."""
    FileLayer()


def count(report: Report, path: str, verb: str, seed: int, source: str, fault: str) -> None:
    """Do a verb undisturbed; report its calls."""
    trouble = Trouble(source, Path(path))
    perform(Job(verb, path, seed, fault), trouble, report)
    report(trouble.calls)


def do(
    report: Report, path: str, verb: str, seed: int, source: str, fault: str, point: int, mode: str
) -> None:
    """Do a verb while something befalls one of its calls; report what came of it."""
    trouble = Trouble(source, Path(path), point, mode)
    job = Job(verb, path, seed, fault)
    raised: BaseException | None = None
    try:
        perform(job, trouble, report)
    except Exception as error:
        raised = error
    if trouble.reached:
        report("reached")
    own = isinstance(raised, OwnStatementError)
    problems = []
    if raised is not None and not own and not isinstance(raised, StoreError):
        problems.append(f"it raised no error of the store but {type(raised).__name__}: {raised}")
    if trouble.layer is not None:
        problems += [f"the file layer itself failed: {error!r}" for error in trouble.layer.broken]
    # What counts is the state before anything else is written.
    state = say(Path(path))
    problems += _go_on(job.scene)
    report(
        {
            "problems": problems,
            "state": state,
            "raised": "" if raised is None else f"{type(raised).__name__}: {raised}",
            "full": own or isinstance(raised, StoreFullError),
        }
    )


def _go_on(scene: Scene) -> list[str]:
    """Go on in the same process, as if nothing had happened; return what does not work."""
    try:
        stored = scene.transport.enqueue([scene.job("probe")], LATER)
        with scene.transport.transaction() as connection:
            connection.execute("CREATE TABLE probes (a)")
            scene.transport.enqueue([scene.job("second probe")], LATER)
        found = scene.transport.get(["probe", "second probe"])
        scene.transport.diagnose(LATER)
        scene.close()
        with closing(connect(scene.path)) as connection:
            problems = broken_rules(connection)
    except Exception as error:
        return [f"the process cannot go on afterwards: {type(error).__name__}: {error}"]
    if stored != [True] or None in found:
        problems.append("a job that is stored afterwards is not there")
    return problems
