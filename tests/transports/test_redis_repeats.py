"""A call whose reply was lost is sent again, and is done once all the same."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis_server import RedisServer

from liteq.errors import StoreError
from liteq.job import Claim, ClaimRequest, Job, JobFilter, NewJob, TaskOrigin, Turn, WorkerInfo, WorkerRecord
from liteq.lifecycle import Outcome, Raised, Returned, Succeeded, decide
from liteq.retry import RetryPolicy
from liteq.states import PENDING, STARTED, SUCCESS
from liteq.testing.contract import TransportContract
from liteq.timetable import Firing, ScheduleRecord
from liteq.transport import Transport
from liteq.transports.redis.connection import Connection
from liteq.transports.redis.transport import RedisTransport

NOW = 1_700_000_000.0
ANY = ClaimRequest({"add": 1})
TICK = ScheduleRecord(
    name="tick", task="add", spec="s", policy="p", job=NewJob("", "add", b""), next_run=NOW, created=NOW
)


@pytest.fixture
def transport(redis_url: str) -> Iterator[RedisTransport]:
    with RedisTransport(redis_url, durability="normal") as transport:
        yield transport


def job(job_id: str, **fields: Any) -> NewJob:
    return NewJob(job_id, "add", b"payload", **fields)


def register(transport: RedisTransport) -> int:
    return transport.register(WorkerInfo("w", "h", 1, 1), 60.0, NOW)


def after(claim: Claim, outcome: Outcome) -> Any:
    return decide(claim, outcome, NOW, lambda: 0.5)


def failed(claim: Claim) -> Any:
    return after(claim, Raised(b"error", "it failed", RetryPolicy()))


def everything(transport: RedisTransport) -> object:
    return (
        transport.find(JobFilter(limit=1000)),
        transport.count(),
        transport.workers(),
        transport.schedules(),
        transport.origins(),
        transport.next_sweep(),
        transport.next_due(ANY),
        transport.next_tick(),
    )


# ---- the same call twice ---------------------------------------------------------------------------------


def prepare(transport: RedisTransport) -> tuple[int, list[Claim]]:
    """Store jobs at every station."""
    holder = register(transport)
    transport.enqueue([job("done"), job("failed"), job("runs")], NOW)
    claims = transport.claim(holder, ANY, NOW)
    transport.settle(holder, [after(claims[0], Succeeded(b"1")), failed(claims[1])], NOW)
    transport.enqueue([job("waits"), job("delayed", eta=NOW + 50), job("expires", expires=NOW + 5)], NOW)
    transport.save_schedules([TICK])
    return holder, claims


VERBS: dict[str, Callable[[RedisTransport, int, list[Claim]], object]] = {
    "enqueue one": lambda transport, *_: transport.enqueue([job("new")], NOW),
    "enqueue one again": lambda transport, *_: transport.enqueue([job("waits")], NOW),
    "enqueue in the place of a finished one": lambda transport, *_: transport.enqueue([job("done")], NOW),
    "enqueue many": lambda transport, *_: transport.enqueue([job("new"), job("waits"), job("done")], NOW),
    "register": lambda transport, *_: register(transport),
    "claim": lambda transport, holder, _: transport.turn(holder, NOW, (), ANY),
    "settle": lambda transport, holder, claims: transport.turn(
        holder, NOW, [after(claims[2], Succeeded(b"2")), failed(claims[0])]
    ),
    "settle and claim": lambda transport, holder, claims: transport.turn(
        holder, NOW, [after(claims[2], Returned()), failed(claims[0])], ANY
    ),
    "settle for somebody else": lambda transport, _, claims: transport.settle(
        0, [after(claims[2], Succeeded(b"2")), failed(claims[0])], NOW
    ),
    "update_state": lambda transport, _, claims: transport.update_state(
        claims[2].seq, claims[2].token, "PROGRESS", b"half"
    ),
    "renew": lambda transport, holder, _: transport.renew([holder], 60.0, NOW + 30),
    "expel": lambda transport, holder, _: transport.expel(holder, None),
    "revoke": lambda transport, *_: transport.revoke(["waits", "runs"], NOW, "not wanted"),
    "purge": lambda transport, *_: transport.purge(None, NOW),
    "requeue": lambda transport, *_: transport.requeue(["failed", "done"], NOW),
    "forget": lambda transport, *_: transport.forget("done"),
    "save_schedules": lambda transport, *_: transport.save_schedules([replace(TICK, name="b"), TICK]),
    "remove_schedules": lambda transport, *_: transport.remove_schedules(["tick", "nobody"]),
    "fire": lambda transport, *_: transport.fire(
        [Firing(replace(TICK, revision=1, next_run=NOW + 9), (job("ticked"),), ("waits",))], NOW
    ),
}


class Twice:
    """Sends each call that changes something twice, as if the first reply had been lost."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, script: str, args: Sequence[Any], *, mutates: bool = True) -> Any:
        first = self._connection.run(script, args, mutates=mutates)
        if mutates:
            assert self._connection.run(script, args, mutates=mutates) == first, script
        return first


class StutteringTransport(RedisTransport):
    def __init__(self, url: str) -> None:
        super().__init__(url, durability="normal")
        self._calls._connection = Twice(self._connection)  # type: ignore[assignment]


class TestWhereEveryCallArrivesTwice(TransportContract):
    @pytest.fixture
    def transport(self, redis_url: str) -> Iterator[Transport]:
        with StutteringTransport(redis_url) as transport:
            yield transport

    @pytest.fixture
    def second(self, transport: Transport, redis_url: str) -> Iterator[Transport]:
        with StutteringTransport(redis_url) as second:
            yield second


@pytest.mark.parametrize("verb", VERBS)
def test_a_call_that_arrives_twice_changes_what_one_would(
    transport: RedisTransport, redis_url: str, verb: str
) -> None:
    once = VERBS[verb](transport, *prepare(transport))
    stands = everything(transport)
    transport._connection.command("FLUSHALL")
    with StutteringTransport(redis_url) as twice:
        assert plain(VERBS[verb](twice, *prepare(twice))) == plain(once)
        assert plain(everything(twice)) == plain(stands)


def plain(told: Any) -> Any:
    """Return an answer without the numbers that no two stores share."""
    if isinstance(told, Job | Claim | Turn | tuple) and hasattr(told, "_fields"):
        fields = {name: getattr(told, name) for name in told._fields if name not in ("token", "holder")}
        return {name: plain(value) for name, value in fields.items()}
    if isinstance(told, list | tuple):
        return [plain(one) for one in told]
    if isinstance(told, WorkerRecord):
        return replace(told, holder=0)
    return 0 if type(told) is int and told > 10**9 else told


@pytest.mark.parametrize(
    "verb", ["enqueue one", "enqueue many", "claim", "update_state", "revoke", "purge", "fire"]
)
def test_a_call_that_arrives_after_a_later_one_of_its_caller_is_not_done(
    transport: RedisTransport, verb: str
) -> None:
    holder, claims = prepare(transport)
    caller = transport._calls.caller()
    number = caller.number
    transport.enqueue([job("later")], NOW)
    transport.turn(holder, NOW, (), ANY._replace(limit=1))
    stands = everything(transport)

    caller.number = number - 1
    with pytest.raises(StoreError, match="came after a later one"):
        VERBS[verb](transport, holder, claims)
    assert everything(transport) == stands


def test_a_claim_whose_reply_never_came_is_told_again(transport: RedisTransport) -> None:
    holder = register(transport)
    transport.enqueue([job("a"), job("b"), job("c")], NOW)
    caller = transport._calls.caller()
    lost = transport.turn(holder, NOW, (), ANY._replace(limit=2)).claimed
    del caller.answered[holder]

    again = transport.turn(holder, NOW + 1, (), ANY).claimed

    assert again == lost
    assert [claim.id for claim in transport.turn(holder, NOW + 2, (), ANY).claimed] == ["c"]
    assert transport.settle(holder, [after(claim, Succeeded(None)) for claim in again], NOW) == []


def test_a_claim_whose_reply_never_came_is_given_back_by_a_turn_that_asks_for_none(
    transport: RedisTransport,
) -> None:
    holder = register(transport)
    transport.enqueue([job("a"), job("b")], NOW)
    caller = transport._calls.caller()
    known = transport.turn(holder, NOW, (), ANY._replace(limit=1)).claimed
    answered = dict(caller.answered)
    transport.turn(holder, NOW, (), ANY)
    caller.answered = answered

    assert transport.turn(holder, NOW + 1, [after(known[0], Succeeded(None))]) == ([], [], False)

    assert transport.leases(holder) == []
    [found] = transport.get(["b"])
    assert found is not None
    assert (found.state, found.attempts, found.due) == (PENDING, 0, NOW)
    assert [claim.id for claim in transport.claim(holder, ANY, NOW + 1)] == ["b"]


def test_what_others_have_taken_meanwhile_is_not_told_again(transport: RedisTransport) -> None:
    holder = register(transport)
    transport.enqueue([job("a"), job("b")], NOW)
    caller = transport._calls.caller()
    lost = transport.turn(holder, NOW, (), ANY).claimed
    transport.settle(0, [after(lost[0], Succeeded(None))], NOW)
    del caller.answered[holder]

    assert transport.turn(holder, NOW, (), ANY).claimed == lost[1:]


def test_a_settlement_whose_reply_never_came_counts_when_it_is_made_anew(transport: RedisTransport) -> None:
    holder = register(transport)
    transport.enqueue([job("a"), job("b", ignore_result=True), job("c")], NOW)
    caller = transport._calls.caller()
    claims = transport.turn(holder, NOW, (), ANY).claimed
    answered = dict(caller.answered)
    ends = [
        after(claims[0], Succeeded(b"1")),
        after(claims[1], Succeeded(None)),
        after(claims[2], Returned()),
    ]
    transport.turn(holder, NOW, ends)
    caller.answered = answered

    assert transport.turn(holder, NOW, ends).refused == []


def test_threads_are_callers_of_their_own(transport: RedisTransport) -> None:
    names = [{transport._calls.caller().name}]
    thread = threading.Thread(target=lambda: names.append({transport._calls.caller().name}))
    thread.start()
    thread.join()
    assert names[0].isdisjoint(names[1])


# ---- a connection that breaks ----------------------------------------------------------------------------


class Cutter:
    """A door to a server that shuts in the face of the replies to chosen commands."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.path = folder / "cut.sock"
        self.word = b"\0"
        self.cuts = 0
        self._server = server
        self._rest = ExitStack()
        self._listener = self._rest.enter_context(socket.socket(socket.AF_UNIX))
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._server.socket))
            for each in (client, server):
                self._rest.callback(each.close)
            asked: list[bytes] = []
            for pair in ((client, server, asked, False), (server, client, asked, True)):
                self._threads.append(threading.Thread(target=self._pass, args=pair))
                self._threads[-1].start()

    def _pass(self, source: socket.socket, sink: socket.socket, asked: list[bytes], replies: bool) -> None:
        while True:
            try:
                data = source.recv(1 << 20)
                if replies and data and self.cuts and any(self.word in words for words in asked):
                    self.cuts -= 1
                    data = b""
                if not replies:
                    asked[:] = [data]
                if not data:
                    break
                sink.sendall(data)
            except OSError:
                break
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for thread in self._threads:
            thread.join(10)
        self._rest.close()


@pytest.fixture
def cutter(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cutter]:
    cutter = Cutter(redis_server, redis_server.socket.parent)
    yield cutter
    cutter.close()
    cutter.path.unlink()


def test_what_breaks_before_the_reply_is_done_once(cutter: Cutter, redis_url: str) -> None:
    with (
        RedisTransport(f"unix://{cutter.path}", durability="normal") as transport,
        RedisTransport(redis_url, durability="normal") as other,
    ):
        transport.declare(TaskOrigin("add", "m", "/r", "/d"))
        holder = register(transport)
        for number in range(5):
            cutter.word, cutter.cuts = b"payload", 2
            assert transport.enqueue([job(f"job {number}")], NOW) == [True]
            assert cutter.cuts == 0
        cutter.word, cutter.cuts = b"add", 2
        claims = transport.claim(holder, ANY, NOW)
        assert cutter.cuts == 0
        assert [claim.id for claim in claims] == [f"job {number}" for number in range(5)]
        assert other.leases(holder) == claims
        cutter.word, cutter.cuts = b"SUCCESS", 1
        assert transport.settle(holder, [after(claim, Succeeded(b"1")) for claim in claims[:4]], NOW) == []
        assert cutter.cuts == 0
        assert [found.state for found in other.find(JobFilter())] == [STARTED, *[SUCCESS] * 4]
        cutter.word, cutter.cuts = b"worker two", 1
        holders = {transport.register(WorkerInfo("worker two", "h", 1, 1), 60.0, NOW)}
        assert cutter.cuts == 0
        assert {record.holder for record in other.workers()} == holders | {holder}
