"""Workers and producers on hosts, a server on another one, what befalls them, and the checker afterwards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from chaos.checker import check_history
from chaos.crew import Crew, CrewError, Member
from chaos.ground import drain
from chaos.history import Ended, Event, Refused, Returned, read_history
from chaos.stores import ProofStore
from chaos.stories import Case

from hosts.network import Host

__all__ = ["BUSY", "RECOVERY", "Report", "Trial"]

VISIBILITY = 1.5
"""Seconds that a lease lasts without renewal."""
BUSY = 1.5
"""Seconds that a call waits for a server that does not answer."""
LATE = 4.0
"""Seconds by which such a call may be late on a machine that has other things to do."""
RECOVERY = 5.0
"""Seconds within which everybody works again once the server can be reached."""
STOPS_WITHIN = 30.0
"""Seconds in which a program ends that is asked to stop while it cannot reach the server."""
PATIENCE = 30.0
OUTCOMES_WAIT = 60.0
"""Seconds for which an outcome may wait for a server; until it is stored, its job has not ended there."""
CALM = 0.35
"""Seconds of processor time that the programs of a host may take in each second of an outage."""
ROLES = ("producer", "small supervisor")
"""What runs on each host."""


@dataclass
class Report:
    """What a trial came to.

    Attributes:
        name: which.
        figures: what was counted and measured, in the order in which it is printed.
        told: how often each rule found something that the setting lets happen.
        problems: what broke a promise, one sentence each.
    """

    name: str
    figures: dict[str, str] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counted = ", ".join(f"{value} {what}" for what, value in self.figures.items())
        verdict = "held" if not self.problems else f"BROKEN ({len(self.problems)})"
        return f"{self.name}: {verdict}; {counted}"


class Trial:
    """Programs on hosts that share a queue; a context manager.

    Args:
        name: what the report calls it.
        folder: where everybody writes down what happens.
        store: the queue.
        hosts: where the programs run.
        environment: what `chaos.shop` is to know beside it.
        lossy: the rules that may find something, because the server may lose what it has answered for.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        store: ProofStore,
        hosts: Sequence[Host],
        environment: Mapping[str, str] | None = None,
        lossy: Sequence[str] = (),
    ) -> None:
        self.report = Report(name)
        self.late = LATE
        """Seconds by which a call that raises may be late."""
        self._store = store
        self._lossy = lossy
        self._stack = ExitStack()
        self.crews: dict[str, Crew] = {}
        settings = {"CHAOS_VISIBILITY": str(VISIBILITY), "CHAOS_BUSY": str(BUSY), "CHAOS_DURABILITY": "full"}
        for host in hosts:
            own = folder / host.name
            own.mkdir()
            known = {**settings, **(environment or {}), **host.environment}
            self.crews[host.name] = self._stack.enter_context(Crew(own, store, known, host.within))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    # ---- what everybody does ---------------------------------------------------------------------

    def start(self) -> None:
        """Start the programs, and wait until jobs that each host has called for are done on each."""
        for number, crew in enumerate(self.crews.values()):
            for role in ROLES:
                crew.start(role, number)
        self._until_all_work(0.0)

    def go_on(self, seconds: float) -> None:
        """Let everybody go on for so many seconds.

        Raises:
            CrewError: a process ended that nobody had told to.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for crew in self.crews.values():
                crew.listen(0.02)

    @contextmanager
    def outage(self, *names: str) -> Iterator[None]:
        """Measure what the programs of these hosts, by default of all, do in an outage for them."""
        spent = {name: self.crews[name].spent() for name in names or self.crews}
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        shares = [(self.crews[name].spent() - before) / seconds for name, before in spent.items()]
        self.report.figures["s of outage"] = f"{seconds:.1f}"
        self.report.figures["of a processor in it"] = f"{max(shares):.0%}"
        if max(shares) > CALM:
            self.report.problems.append(f"a host took {max(shares):.0%} of a processor during the outage")

    def recover(self, reachable: float) -> None:
        """Wait until everybody works again since the server could be reached; that must not take long."""
        self._until_all_work(reachable)
        times = {
            "s to the first call": self._first(Returned, reachable),
            "s to the first completion": self._first(Ended, reachable),
        }
        for what, moments in times.items():
            longest = max(moments.values()) - reachable
            self.report.figures[what] = f"{longest:.2f}"
            if longest > RECOVERY:
                self.report.problems.append(f"it took {longest:.2f} {what} after it could be")

    def stop_one(self, name: str, role: str = "small supervisor") -> None:
        """Ask one program to stop where it cannot reach the server, and see it end."""
        crew = self.crews[name]
        [member] = [member for member in crew.members if member.role == role]
        began = time.monotonic()
        crew.dismiss(member, STOPS_WITHIN)
        self.report.figures["s to stop meanwhile"] = f"{time.monotonic() - began:.1f}"

    def replace(self, name: str, seed: int = 7) -> None:
        """Start anew what does not run on a host any more."""
        crew = self.crews[name]
        for role in ROLES:
            if not any(not member.condemned for member in _those(crew, role)):
                crew.start(role, seed)

    # ---- the end ---------------------------------------------------------------------------------

    def finish(self) -> Report:
        """Let everybody end and what is left be done, and check everything."""
        try:
            self._end_all()
        except CrewError as error:
            self.report.problems.append(str(error))
        for crew in self.crews.values():
            crew.end()
        case = Case(
            sorted(chain.from_iterable(self._histories().values()), key=lambda event: event.mono),
            self._store.contents(),
            visibility_timeout=VISIBILITY,
            busy_timeout=BUSY,
            answers_get_lost=True,
            outcomes_wait=OUTCOMES_WAIT,
        )
        for violation in check_history(case):
            if violation.rule in self._lossy:
                self.report.told[violation.rule] += 1
            else:
                self.report.problems.append(str(violation))
        self._count(case)
        return self.report

    def _end_all(self) -> None:
        crews = list(self.crews.values())
        for crew in crews:
            crew.wait_until(lambda crew=crew: not _condemned(crew), "the killed do not die")
            for member in _those(crew, "producer"):
                crew.dismiss(member)
        for crew in crews[1:]:
            for member in list(crew.members):
                crew.dismiss(member)
        if not _those(crews[0], "small supervisor"):
            crews[0].start("small supervisor")
        drain(crews[0])
        for member in list(crews[0].members):
            crews[0].dismiss(member)

    def _count(self, case: Case) -> None:
        waits = [event.waited for event in case.history if isinstance(event, Refused)]
        if max(waits, default=0.0) > BUSY + self.late:
            self.report.problems.append(f"a call raised only after {max(waits):.1f} s, and not {BUSY:g}")
        stories = case.stories.values()
        repeats = sum(max(0, sum(bool(a.effects) for a in story.attempts) - 1) for story in stories)
        jobs = sum(story.was_stored for story in stories)
        counts = {
            "jobs": jobs,
            "calls refused": len(waits),
            "leases superseded": len({a.began.holder for s in stories for a in s.attempts if a.expelled}),
            "effects repeated": repeats,
            "jobs lost": self.report.told["lost"] if "lost" in self._lossy else 0,
        }
        self.report.figures |= {what: f"{count:,}" for what, count in counts.items()}

    # ---- looking ---------------------------------------------------------------------------------

    def _until_all_work(self, since: float) -> None:
        deadline = time.monotonic() + PATIENCE
        while any(len(self._first(kind, since)) < len(self.crews) for kind in (Returned, Ended)):
            self.go_on(0.1)
            if time.monotonic() > deadline:
                logs = "\n".join(crew.log() for crew in self.crews.values())
                raise CrewError(f"not all hosts work: {logs}")

    def _first(self, kind: type[Event], since: float) -> dict[str, float]:
        """Return for each host when the first event of a kind happened there after a moment."""
        found = {
            name: [event.mono for event in history if isinstance(event, kind) and event.mono > since]
            for name, history in self._histories().items()
        }
        return {name: moments[0] for name, moments in found.items() if moments}

    def _histories(self) -> dict[str, list[Event]]:
        return {name: read_history(crew.folder) for name, crew in self.crews.items()}


def _condemned(crew: Crew) -> list[Member]:
    return [member for member in crew.members if member.condemned]


def _those(crew: Crew, role: str) -> list[Member]:
    return [member for member in crew.members if member.role == role]
