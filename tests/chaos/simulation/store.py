"""The stores of the simulation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Protocol

from redis_server import RedisServer

from chaos.simulation.ledger import Ledger
from chaos.simulation.surroundings import Surroundings
from liteq.job import Claim, ClaimRequest, NewJob, Running, Transition, Turn, WorkerInfo, WorkerRecord
from liteq.transport import Transport
from liteq.transports.memory import MemoryTransport

__all__ = ["MAKERS", "Maker", "Observed", "Store"]


class Observed(Transport):
    """A transport with an observer at the port; what others do may come between two verbs."""

    _machine: Surroundings

    @property
    def _ledger(self) -> Ledger:
        return self._machine.ledger

    def enqueue(self, jobs: Sequence[NewJob], now: float) -> list[bool]:
        answers = super().enqueue(jobs, now)
        self._ledger.stored(jobs, answers, now, self._machine.acts)
        return answers

    def register(self, worker: WorkerInfo, visibility_timeout: float, now: float) -> int:
        holder = super().register(worker, visibility_timeout, now)
        self._ledger.registered.add(holder)
        self._machine.signs[holder] = self._machine.awake
        return holder

    def turn(
        self,
        holder: int,
        now: float,
        settlements: Sequence[Transition] = (),
        request: ClaimRequest | None = None,
    ) -> Turn:
        self._machine.meanwhile(holder)
        turn = super().turn(holder, now, settlements, request)
        if request is not None and holder in self._ledger.registered:
            self._machine.signs[holder] = self._machine.awake
        self._ledger.turned(holder, now, settlements, request, turn)
        self._machine.perhaps_die()
        return turn

    def update_state(self, seq: int, token: int, state: str, result: bytes | None) -> bool:
        answer = super().update_state(seq, token, state, result)
        self._ledger.reported(seq, token, state, result, answer)
        return answer

    def renew(self, holders: Collection[int], visibility_timeout: float, now: float) -> None:
        super().renew(holders, visibility_timeout, now)
        for holder in holders:
            self._machine.signs[holder] = self._machine.awake

    def workers(self) -> list[WorkerRecord]:
        return [self._machine.seen(record) for record in super().workers()]

    def expel(self, holder: int, seen_expires: float | None) -> bool:
        self._machine.meanwhile(holder)
        answer = super().expel(holder, seen_expires)
        if answer and holder in self._ledger.registered:
            self._ledger.registered.remove(holder)
            self._machine.expelled(holder)
        return answer

    def running(self, holder: int) -> Running | None:
        self._machine.meanwhile(holder)
        running = super().running(holder)
        # The slot takes down the machine's own time, which no run has in common with another.
        return running and running._replace(since=self._machine.by_holder[holder].shown_at)

    def leases(self, holder: int) -> list[Claim]:
        self._machine.meanwhile(holder)
        return super().leases(holder)

    def revoke(self, job_ids: Sequence[str], now: float, reason: str) -> list[bool]:
        answers = super().revoke(job_ids, now, reason)
        self._ledger.revoked(job_ids, now, reason, answers)
        return answers

    def purge(self, queues: Sequence[str] | None, now: float) -> int:
        answer = super().purge(queues, now)
        self._ledger.purged(queues, now, answer)
        return answer

    def requeue(self, job_ids: Sequence[str], now: float) -> list[bool]:
        answers = super().requeue(job_ids, now)
        self._ledger.requeued(job_ids, now, answers)
        return answers

    def forget(self, job_id: str) -> bool:
        answer = super().forget(job_id)
        self._ledger.forgotten(job_id, answer)
        return answer

    def sweep(self, now: float, limit: int = 1000) -> int:
        answer = super().sweep(now, limit)
        self._ledger.swept(now, answer)
        return answer


class Store(Observed, MemoryTransport):
    """The memory transport, observed."""


class Maker(Protocol):
    """Makes the store of a machine: empty, whatever was in the one before."""

    def __call__(self, machine: Surroundings) -> Observed:
        """Return the store; it is used until the next one is made."""


def _in_memory(machine: Surroundings) -> Store:
    store = Store()
    store._machine = machine
    return store


@contextmanager
def _memory() -> Iterator[Maker]:
    yield _in_memory


class _OnRedis:
    """Makes stores on a server that is emptied for each."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._open: Observed | None = None

    def __call__(self, machine: Surroundings) -> Observed:
        from liteq.transports.redis.transport import RedisTransport

        class OnRedis(Observed, RedisTransport):
            """The Redis transport, observed."""

        self.close()
        self._server.ask("FLUSHALL")
        self._open = OnRedis(self._server.url(), durability="normal")
        self._open._machine = machine
        return self._open

    def close(self) -> None:
        if self._open is not None:
            self._open.close()


@contextmanager
def _redis() -> Iterator[Maker]:
    with RedisServer() as server, closing(_OnRedis(server)) as maker:
        yield maker


MAKERS: Mapping[str, Callable[[], AbstractContextManager[Maker]]] = {"memory": _memory, "redis": _redis}
"""By the kind of store, what makes a maker; what it has made is gone with it."""
