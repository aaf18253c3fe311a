"""A worker's turn: settle what is finished and claim what is next, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liteq.job import Claim, ClaimRequest, Transition, Turn
from liteq.transport import EXPIRED
from liteq.transports.redis.calls import Calls
from liteq.transports.redis.doorbell import Doorbells
from liteq.transports.redis.records import as_claim, pack

__all__ = ["Turns", "wanted"]


class Turns:
    """The turns that are taken through one transport.

    Args:
        calls: where they go.
        bells: told how many have heard of a result.
    """

    def __init__(self, calls: Calls, bells: Doorbells) -> None:
        self._calls = calls
        self._bells = bells
        self.seen: dict[int, int] = {}
        """By worker, how many turns of it the server has told of."""

    def take(
        self, holder: int, now: float, settlements: Sequence[Transition], request: ClaimRequest | None
    ) -> Turn:
        """Settle and claim.

        What one script should not move at once, as thousands of delayed jobs that are due together, several
        do: the first one settles, and the last one claims.
        """
        claimed, refused, more = self._send(holder, now, settlements, request)
        while more:
            claimed, _, more = self._send(holder, now, (), request)
        return Turn(claimed, [settlements[number - 1] for number in refused], holder not in self.seen)

    def _send(
        self, holder: int, now: float, settlements: Sequence[Transition], request: ClaimRequest | None
    ) -> tuple[list[Claim], list[int], bool]:
        caller = self._calls.caller()
        asked = False if request is None else (*wanted(request), request.budget, request.limit)
        facts = (
            holder,
            now,
            caller.answered.get(holder, 0),
            self.seen.get(holder, 0),
            [_told(to) for to in settlements],
            asked,
            EXPIRED,
        )
        told, refused, more, heard, turns = self._calls.send("turn", caller, pack(facts))
        caller.answered[holder] = caller.number
        self._note(holder, turns)
        if heard:
            self._bells.note_awaited(heard)
        claims = [as_claim(*told[at : at + 3]) for at in range(0, len(told), 3)]
        return claims, refused, bool(more)

    def _note(self, holder: int, turns: int) -> None:
        if turns > self.seen.get(holder, 0):
            self.seen[holder] = turns
        elif not turns:
            self.forget(holder)

    def forget(self, holder: int) -> None:
        """Forget a worker that is not registered any more."""
        self.seen.pop(holder, None)


def wanted(request: ClaimRequest) -> tuple[Any, Any]:
    """Return a request's tasks and queues as the scripts take them."""
    return dict(request.tasks), False if request.queues is None else list(request.queues)


def _told(to: Transition) -> tuple[Any, ...]:
    return (
        *(to.seq, to.token, str(to.state), to.at, False if to.due is None else to.due),
        *(to.attempts, to.retries, to.crashes, False if to.result is None else to.result),
        *(False if to.reason is None else to.reason, to.keep),
    )
