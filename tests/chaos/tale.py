"""Histories made by hand, for the tests of the checker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chaos.checker import check_history
from chaos.history import (
    Began,
    Born,
    Called,
    Effect,
    Ended,
    Event,
    Expelled,
    JobSpec,
    Returned,
    Sent,
    evidence,
)
from chaos.rows import Contents, Row
from chaos.stories import Case

__all__ = ["Tale"]

SECOND = 1_000_000_000


class Tale:
    """A history that is told one event after another, each a second later, and the file at its end.

    Workers are called `a`, `b` and so on; the process id of each is its place in the alphabet, and so is its
    holder number. Their supervisor has the process id 100.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.events: list[Event] = []
        self.rows: list[Row] = []
        self.orders: list[str] = []
        self.paid: list[tuple[str, str]] = []
        self.add(Born(who="boss", pid=100, parent=1, role="supervisor"))
        for who in "abc":
            self.add(Born(who=who, pid=self.pid(who), parent=100, role="worker"))

    @staticmethod
    def pid(who: str) -> int:
        """Return a worker's process id."""
        return ord(who) - ord("a") + 1

    def add(self, event: Event) -> float:
        """Let something happen now; return when that was."""
        self.now += 1
        self.events.append(replace(event, at=self.now, mono=self.now))
        return self.now

    # ---- what callers do -------------------------------------------------------------------------

    def asked(self, tag: str = "job", order: str | None = None, **spec: Any) -> None:
        """Let a call be made, and not return."""
        self.add(Called(who="caller", call=tag, jobs=(JobSpec(tag=tag, **spec),), order=order))

    def called(self, tag: str = "job", order: str | None = None, job_id: str = "", **spec: Any) -> None:
        """Let a call be made, and return."""
        self.asked(tag, order, **spec)
        self.add(Returned(who="caller", call=tag, ids=(job_id or f"id-{tag}",)))

    # ---- what workers do -------------------------------------------------------------------------

    def began(self, who: str, tag: str = "job", token: int = 0, job_id: str = "", **counts: int) -> int:
        """Let a worker begin a job, claimed just now or under an older token; return the token."""
        token = token or int((self.now + 0.5) * SECOND)
        named = job_id or f"id-{tag}"
        self.add(Began(who=who, tag=tag, id=named, token=token, holder=self.pid(who), **counts))
        return token

    def ended(self, who: str, token: int, tag: str = "job", state: str = "SUCCESS") -> None:
        """Let an attempt end, after its effect if it succeeds."""
        if state == "SUCCESS":
            self.add(Effect(who=who, tag=tag, token=token))
        self.add(Ended(who=who, tag=tag, token=token, state=state))

    def ran(self, who: str, tag: str = "job", state: str = "SUCCESS", **counts: int) -> str:
        """Let a worker run a job from its beginning to its end; return the evidence that it leaves."""
        token = self.began(who, tag, **counts)
        self.ended(who, token, tag, state)
        return self.evidence(who, token, tag, counts.get("attempt", 1))

    def evidence(self, who: str, token: int, tag: str = "job", attempt: int = 1) -> str:
        """Return what an attempt leaves."""
        return evidence(tag, attempt, self.pid(who), token)

    def killed(self, who: str) -> None:
        """Let a worker be killed."""
        self.add(Sent(who="killer", pid=self.pid(who), signal="KILL", role="worker"))

    def expelled(self, who: str, over: float = 60.0, done: bool | None = True) -> None:
        """Let a worker lose its leases, so many seconds after they had run out."""
        seen = self.now + 1 - over
        self.add(Expelled(who="boss", holder=self.pid(who), seen=seen))
        if done is not None:
            self.add(Expelled(who="boss", holder=self.pid(who), seen=seen, done=done))

    # ---- the file --------------------------------------------------------------------------------

    def stored(self, tag: str = "job", state: str = "SUCCESS", **fields: Any) -> None:
        """Let the file have a job."""
        self.rows.append(Row(**{"tag": tag, "id": f"id-{tag}", "state": state, **fields}))

    def found(self, **options: Any) -> Sequence[str]:
        """Return the names of the rules that are broken, each once."""
        contents = Contents(rows=self.rows, orders=self.orders, paid=self.paid)
        case = Case(self.events, contents, **options)
        return sorted({violation.rule for violation in check_history(case)})
