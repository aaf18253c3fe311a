"""Measure liteq and its peers by turns, and print the figures side by side.

Each turn is a process of its own in its peer's environment. All peers take a turn before any takes the next
one, so that they meet the same weather. `python -m peers.run`, with `tests` on Python's path.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.catalogue import PEERS, REDIS_DURABILITY, Peer, chosen
from peers.environments import UnavailableError, find_redis, prepare
from peers.processes import adopt_orphans, descendants, end_in_order, kill_descendants, stop
from peers.report import Findings, Report, aligned, piped

__all__ = ["main"]

SECTIONS = ("store", "work")
"""What is done in each round."""
TURN_PATIENCE = 240.0
"""Seconds for a turn, beside the time in which idle workers are watched."""
TURN_GRACE = 20.0
"""Seconds that a turn has to stop its workers and its server."""
FEWEST_JOBS = 50


@dataclass(frozen=True)
class Seat:
    """A peer that can be measured: its Python, and its Redis server if it needs one."""

    python: Path
    redis: str
    found: Findings


def main(given: Sequence[str] | None = None) -> None:
    """Do what the arguments say."""
    arguments = parse(given)
    end_in_order()
    adopt_orphans()
    environments = arguments.environments.absolute()
    try:
        seats, missing = seat(chosen(arguments.only), arguments, environments)
        measure(seats, arguments)
    finally:
        kill_descendants()
    plan = {
        "rounds": arguments.rounds,
        "jobs": arguments.jobs,
        "idle": arguments.idle,
        "redis": redis_version(next((seat.redis for seat in seats if seat.redis), "")),
        "redis_durability": arguments.redis,
    }
    report = Report([seat.found for seat in seats], missing, plan)
    print(report.as_text(piped if arguments.markdown else aligned))
    if arguments.json:
        arguments.json.write_text(json.dumps(report.as_record(), indent=2) + "\n", encoding="utf-8")


def parse(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(prog="bench-peers", description="Measure liteq and its peers by turns.")
    parser.add_argument("--environments", type=Path, required=True, help="where the virtual environments are")
    parser.add_argument(
        "--jobs",
        type=int,
        default=20_000,
        help="of the fastest peers; others do a share of them (20000)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (5)")
    parser.add_argument("--calls", type=int, default=60, help="of which the latency is taken in a round (60)")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds to watch idle workers (10)")
    parser.add_argument(
        "--only",
        type=names,
        default=[],
        metavar="NAMES",
        help=f"these peers, by the beginnings of their names: {', '.join(peer.name for peer in PEERS)}",
    )
    parser.add_argument(
        "--redis", choices=REDIS_DURABILITY, default="default", help="how durable Redis is to be (default)"
    )
    parser.add_argument(
        "--folder", type=Path, help="where to make the stores, on the disk in question (the temporary folder)"
    )
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    arguments = parser.parse_args(given)
    try:
        chosen(arguments.only)
    except ValueError as error:
        parser.error(str(error))
    if min(arguments.jobs, arguments.rounds, arguments.calls) < 1 or arguments.idle <= 0:
        parser.error("--jobs, --rounds, --calls and --idle must be positive.")
    return arguments


def names(text: str) -> list[str]:
    """Split names at commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def tell(what: str) -> None:
    """Say on standard error what is going on."""
    print(what, file=sys.stderr, flush=True)


def seat(
    peers: Sequence[Peer], arguments: argparse.Namespace, environments: Path
) -> tuple[list[Seat], dict[str, str]]:
    """Return the peers that can be measured, and why the others cannot."""
    seats: list[Seat] = []
    missing: dict[str, str] = {}
    redis = ""
    for peer in peers:
        try:
            python = prepare(peer, environments, tell)
            if peer.uses_redis and not redis:
                redis = find_redis(environments, tell)
        except UnavailableError as error:
            tell(f"{peer.name} is skipped: {error}")
            missing[peer.name] = str(error)
            # What built it may go on by itself.
            kill_descendants()
            continue
        jobs, singles = (
            max(FEWEST_JOBS, round(arguments.jobs * share))
            for share in (peer.share, peer.calls or peer.share)
        )
        seats.append(Seat(python, redis if peer.uses_redis else "", Findings(peer, jobs, singles)))
    return seats, missing


def measure(seats: Sequence[Seat], arguments: argparse.Namespace) -> None:
    """Have every peer take its turns."""
    # Idle workers first: this also loads what each peer needs, before anything is timed.
    for each in seats:
        tell(f"idle workers: {each.found.peer.name}")
        take_turn(each, "idle", arguments)
    for number in range(1, arguments.rounds + 1):
        for each in seats:
            for section in SECTIONS:
                # One that has failed would most likely use up its patience again.
                if not each.found.problems:
                    tell(f"round {number} of {arguments.rounds}, {section}: {each.found.peer.name}")
                    take_turn(each, section, arguments)


def take_turn(taker: Seat, section: str, arguments: argparse.Namespace) -> None:
    """Have a peer do a section, and note what came of it."""
    found = taker.found
    with tempfile.TemporaryDirectory(prefix="bench-peers-", dir=arguments.folder) as folder:
        command = [str(taker.python), "-m", "peers.turn", found.peer.module, section, "--folder", folder]
        command += ["--jobs", str(found.jobs), "--singles", str(found.singles)]
        command += ["--calls", str(arguments.calls), "--idle", str(arguments.idle)]
        command += ["--options", found.peer.options_text, "--parent", str(os.getpid())]
        if taker.redis:
            command += ["--redis", taker.redis, "--redis-durability", arguments.redis]
        record = run_turn(command, Path(folder, "said"), TURN_PATIENCE + arguments.idle)
    found.turns.append(record["figures"])
    found.problems += record["problems"]
    found.about = record.get("about") or found.about
    for problem in record["problems"]:
        tell(f"{found.peer.name} takes no further turn: {problem}")


def run_turn(command: Sequence[str], said: Path, patience: float) -> dict[str, Any]:
    """Run a turn to its end, within its time, and return its record."""
    # Nothing else of Python's path is for the peers.
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    # Whoever runs turns may have other processes, such as a server of a test's session.
    others = descendants(os.getpid())
    problem = ""
    with said.open("wb") as errors:
        turn = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment
        )
        try:
            printed = turn.communicate(timeout=patience)[0].decode(errors="replace").splitlines()
        except subprocess.TimeoutExpired:
            printed, problem = [], f"a turn took more than {patience:g} s"
        finally:
            stop([turn], TURN_GRACE)
            kill_descendants(others)
    try:
        record: dict[str, Any] = json.loads(printed[-1])
    except (IndexError, ValueError):
        lines = said.read_text(errors="replace").strip().splitlines()
        last = lines[-1][:200] if lines else "it said nothing"
        return {"figures": {}, "problems": [problem or f"a turn ended without figures: {last}"]}
    return record


def redis_version(binary: str) -> str:
    """Return the version of a Redis server."""
    if not binary:
        return "no Redis"
    printed = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)
    number = [word.removeprefix("v=") for word in printed.stdout.split() if word.startswith("v=")]
    return f"Redis {' '.join(number)}"


if __name__ == "__main__":
    main()
