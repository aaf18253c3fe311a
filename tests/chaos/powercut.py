"""Power cuts: what a disk may hold afterwards is opened by liteq, and compared with what had been promised.

A run is recorded with everything that it writes and syncs. Then the power is cut at every sync, just before
and just after it, and at random moments between; what was not synced is there, missing or torn by chance.
Every such disk has to open, be whole, and hold exactly what the file held after some commit. With `full`
that is the last commit that had returned, or the one that was under way. With `normal` it is no older than
the last sync of the WAL, nor than the last round of the maintainer, which comes each second. With `OFF`,
which liteq does not offer, losses must be found, or this proof would find nothing.
"""

from __future__ import annotations

import pickle
import random
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.calls import why_not
from chaos.disk import Disk
from chaos.filecheck import broken_rules, differences, dump, finish_all
from chaos.nursery import Nursery, workplace
from chaos.powercut_run import DATABASE, WAL, Run
from chaos.proof import Proof
from liteq.transports.sqlite.transport import SqliteTransport

__all__ = ["Tally", "cover", "prove"]

OFTEN = 10
"""Each so many cuts, everything that was found is also worked off, and the side folder is gone as well."""


def prove(size: int, seed: int) -> Proof:
    """Cut the power so many times at `full`, half as often at `normal`, and a tenth as often at `OFF`."""
    if why := why_not():
        return Proof("powercut", seed, {"skipped": why})
    full = cover("full", size, seed)
    normal = cover("normal", max(1, size // 2), seed)
    off = cover("off", max(10, size // 10), seed)
    problems = [*full.problems, *normal.problems]
    if not off.caught:
        problems.append("without any sync nothing was lost: this proof finds nothing")
    figures = {
        "cuts at full": full.cuts,
        "lost": full.lost,
        "cuts at normal": normal.cuts,
        "commits lost at most": normal.lost,
        "seconds of them at most": f"{normal.seconds:.1f}",
        "cuts at OFF": off.cuts,
        "of them caught": off.caught,
        "runs": full.runs + normal.runs + off.runs,
    }
    return Proof("powercut", seed, figures, problems)


@dataclass
class Tally:
    """What came of the cuts of one durability."""

    cuts: int = 0
    runs: int = 0
    lost: int = 0
    """The most commits that had returned and were gone."""
    seconds: float = 0.0
    """How long before the cut the first of them had returned, at most."""
    caught: int = 0
    """Disks on which something was wrong or lost that should not be."""
    problems: list[str] = field(default_factory=list)

    def judge(self, what: str, problems: Sequence[str]) -> None:
        self.cuts += 1
        self.caught += bool(problems)
        self.problems += [f"{what}: {problem}" for problem in problems]


def cover(
    durability: str, cuts: int, seed: int, *, fault: str = "", forgets: Collection[str] = (), steps: int = 60
) -> Tally:
    """Cut the power so many times.

    Args:
        durability: `full`, `normal` or `off`.
        cuts: how many.
        seed: what makes the same again.
        fault: the name of a seeded fault in liteq; "" for none.
        forgets: the files whose syncs the disk does not do, though it says so.
        steps: how many things are done in each run.
    """
    tally = Tally()
    with workplace() as folder, Nursery("chaos.powercut_run") as nursery:
        while tally.cuts < cuts:
            run_seed = seed * 1000 + tally.runs
            run = _record(nursery, folder, run_seed, durability, steps, fault)
            tally.runs += 1
            dice = random.Random(run_seed)
            disk = Disk(forgets)
            played = 0
            for position in _positions(run, dice, cuts - tally.cuts):
                disk.play(run.events[played:position])
                played = position
                thorough = tally.cuts % OFTEN == 0
                found = _Found(folder / "found", disk.cut(dice), thorough)
                where = f"{durability}, run {run_seed}, cut after {position} of {len(run.events)} events"
                tally.judge(where, _examine(run, position, found, durability, tally))
    return tally


def _record(nursery: Nursery, folder: Path, seed: int, durability: str, steps: int, fault: str) -> Run:
    place = folder / "run"
    place.mkdir()
    target = folder / "record"
    arguments = (str(place), seed, durability, steps, fault, str(target))
    ended = nursery.run("chaos.powercut_run:record", *arguments)
    if ended.trouble:
        raise RuntimeError(f"the run {seed} does not even work undisturbed:\n{ended.trouble}")
    shutil.rmtree(place)
    run: Run = pickle.loads(target.read_bytes())
    return run


def _positions(run: Run, dice: random.Random, most: int) -> list[int]:
    """Choose where to cut: before and after each sync (without any: each commit), and as often anywhere."""
    kinds = {event.kind for event in run.events} & {"sync", "sync directory"} or {"commit"}
    bounding = [number for number, event in enumerate(run.events) if event.kind in kinds]
    bounds = sorted({*bounding, *(number + 1 for number in bounding)})
    if len(bounds) > most:
        bounds = dice.sample(bounds, most)
    elsewhere = [dice.randint(0, len(run.events)) for _ in bounds]
    return sorted([*bounds, *elsewhere[: most - len(bounds)]])


class _Found:
    """A disk after a cut, put into a folder and opened again."""

    def __init__(self, folder: Path, files: dict[str, bytes], thorough: bool) -> None:
        self._path = folder / DATABASE
        self._thorough = thorough
        if thorough:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        for kind in ("", "-wal", "-shm", "-journal"):
            (folder / f"{DATABASE}{kind}").unlink(missing_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)

    def look(self) -> tuple[list[str], list[str]]:
        """Open it; return what it holds, and what is wrong with it."""
        try:
            with (
                SqliteTransport(self._path, durability="normal", busy_timeout=2.0) as transport,
                transport._database.read() as connection,
            ):
                problems = broken_rules(connection)
                state = dump(connection, exact=True)
            if self._thorough and not problems:
                problems += finish_all(self._path)
        except Exception as error:
            return [], [f"it cannot be opened any more: {type(error).__name__}: {error}"]
        return state, problems


def _examine(run: Run, position: int, found: _Found, durability: str, tally: Tally) -> list[str]:
    """Compare what was found with what had been promised."""
    state, problems = found.look()
    if problems:
        return problems
    returned, kept = _promised(run, position, durability)
    newest = min(returned + 1, len(run.states) - 1)
    number = next((number for number in range(newest, -1, -1) if run.states[number] == state), None)
    if number is None:
        beside = differences(state, run.states[kept])
        return [f"it holds what the file never held; beside commit {kept}: {beside}"]
    if number < returned:
        tally.lost = max(tally.lost, returned - number)
        at = {event.count: event.at for event in run.events if event.kind == "commit"}
        tally.seconds = max(tally.seconds, run.events[position - 1].at - at[number + 1])
    if number < kept:
        return [f"commit {kept} had to be there, and it is as after commit {number}"]
    return []


def _promised(run: Run, position: int, durability: str) -> tuple[int, int]:
    """Return the last commit that had returned before a cut, and the last that must have survived it."""
    returned = kept = 0
    for event in run.events[:position]:
        if event.kind == "commit":
            returned = event.count
        elif event.kind == "sync" and event.name == WAL:
            kept = max(kept, returned)
        elif event.kind == "tended":
            kept = max(kept, event.count)
    return returned, kept if durability == "normal" else returned
