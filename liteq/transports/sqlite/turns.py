"""A worker's turn: settle what is finished, claim what is next; on a full disk, settle at least."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

from liteq.errors import StoreFullError
from liteq.job import Claim, ClaimRequest, Transition, Turn
from liteq.transports.sqlite import claiming, registry
from liteq.transports.sqlite.claiming import Holder, new_token
from liteq.transports.sqlite.connection import Database
from liteq.transports.sqlite.doorbell import LOOK_INTERVAL, Doorbells
from liteq.transports.sqlite.lanes import Lanes
from liteq.transports.sqlite.reserve import Reserve
from liteq.transports.sqlite.settling import settle
from liteq.transports.sqlite.trouble import full

__all__ = ["Turns"]


class Turns:
    """The turns of the workers of one process.

    Args:
        database: the file.
        lanes: the names of its lanes.
        bells: rung for what a turn has changed.
        reserve: room for settlements on a full disk.
    """

    def __init__(self, database: Database, lanes: Lanes, bells: Doorbells, reserve: Reserve) -> None:
        self._database = database
        self._lanes = lanes
        self._bells = bells
        self._reserve = reserve

    def take(
        self, holder: int, now: float, settlements: Sequence[Transition], request: ClaimRequest | None
    ) -> Turn:
        """Settle and claim; where there is no room for both, settle out of the reserve and claim nothing.

        Raises:
            StoreFullError: there is nothing to settle, or even the reserve did not do.
        """
        if self._reserve.has_room_to_claim():
            try:
                return self._take(holder, now, settlements, request)
            except StoreFullError:
                if not settlements:
                    raise
            # Without the claim it may fit.
            with contextlib.suppress(StoreFullError):
                return self._take(holder, now, settlements, None)
        elif not settlements:
            raise full(self._database.path)
        return self._reserve.settle(partial(self._settle, now, settlements))

    def _take(
        self, holder: int, now: float, settlements: Sequence[Transition], request: ClaimRequest | None
    ) -> Turn:
        claimed: list[Claim] = []
        refused: list[Transition] = []
        with self._database.write(settling=request is None) as unit:
            cursor = unit.connection.cursor()
            if settlements:
                refused = settle(cursor, settlements, now)
            expired = claiming.expire_waiting(cursor, now)
            claiming.promote_due(cursor, now)
            if request is not None and registry.renew_if_needed(cursor, holder, now):
                lease = Holder(holder, new_token())
                claimed = claiming.claim(unit.connection, self._lanes, request, lease, now)
        self.ring(settlements, expired, now)
        return Turn(claimed, refused)

    def _settle(self, now: float, settlements: Sequence[Transition]) -> Turn:
        """Settle and do nothing else, which takes the least room."""
        with self._database.write(settling=True) as unit:
            refused = settle(unit.connection.cursor(), settlements, now)
        self.ring(settlements, [], now)
        return Turn([], refused)

    def ring(self, settlements: Sequence[Transition], expired: list[str], now: float) -> None:
        """Wake those who wait for what is settled or has expired, after the commit."""
        finished = [to.id for to in settlements if to.due is None] + expired
        if finished:
            self._bells.ring_for_results(finished)
        soon = [to for to in settlements if to.due is not None and to.due <= now + LOOK_INTERVAL]
        if soon:
            # Whichever queue they are of: a worker that does not serve it goes back to sleep.
            self._bells.ring_for_all_jobs()
