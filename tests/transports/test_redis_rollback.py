"""A server that has lost its last moments is noticed, and no lease stays with a worker that ended it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from redis_server import RedisServer

from liteq.job import ClaimRequest, NewJob, WorkerInfo
from liteq.lifecycle import Succeeded, decide
from liteq.transports.redis.transport import RedisTransport

NOW = 1_800_000_000.0
ANY = ClaimRequest({"add": 1})
WORKER = WorkerInfo("worker", "host", 100, 99)


@pytest.fixture
def transport(redis_server: RedisServer) -> Iterator[RedisTransport]:
    with RedisTransport(redis_server.url(), durability="normal") as transport:
        yield transport


@pytest.fixture
def remember(redis_server: RedisServer) -> Iterator[Callable[[], Callable[[], None]]]:
    """Take a copy of all that the server has; what it returns puts that back, and forgets what came later."""
    with redis.Redis(unix_socket_path=str(redis_server.socket)) as client:

        def copy() -> Callable[[], None]:
            kept = {key: client.dump(key) for key in client.scan_iter()}

            def put_back() -> None:
                client.flushall()
                for key, value in kept.items():
                    client.restore(key, 0, value)

            return put_back

        yield copy


Remember = Callable[[], Callable[[], None]]


def test_a_lease_that_comes_back_is_taken_from_the_worker_that_had_ended_it(
    transport: RedisTransport, remember: Remember
) -> None:
    holder = transport.register(WORKER, 60.0, NOW)
    transport.enqueue([NewJob("job", "add", b"")], NOW)
    [claim] = transport.claim(holder, ANY, NOW)
    forget_the_rest = remember()
    ended = decide(claim, Succeeded(b"done"), NOW, lambda: 0.5)
    assert transport.turn(holder, NOW, [ended], ANY) == ([], [], False)

    forget_the_rest()

    # So that one that sleeps takes a turn.
    assert transport.next_due(ANY) == 0.0
    assert transport.turn(holder, NOW, (), ANY) == ([], [], True)
    assert not transport.is_registered(holder)
    assert [(gone.holder, gone.alive, gone.leases) for gone in transport.workers()] == [(holder, False, 1)]
    assert [lease.id for lease in transport.leases(holder)] == ["job"]
    assert transport.next_due(ANY) is None


def test_what_a_worker_has_finished_meanwhile_is_stored_if_its_lease_is_still_there(
    transport: RedisTransport, remember: Remember
) -> None:
    holder = transport.register(WORKER, 60.0, NOW)
    transport.enqueue([NewJob("job", "add", b"")], NOW)
    [claim] = transport.claim(holder, ANY, NOW)
    forget_the_rest = remember()
    transport.turn(holder, NOW, (), ANY)

    forget_the_rest()

    ended = decide(claim, Succeeded(b"done"), NOW, lambda: 0.5)
    assert transport.turn(holder, NOW, [ended], None).refused == []
    [job] = transport.get(["job"])
    assert job is not None
    assert job.result == b"done"
    assert transport.workers() == []


def test_a_worker_of_which_nothing_was_lost_stays_registered(
    transport: RedisTransport, remember: Remember
) -> None:
    holder = transport.register(WORKER, 60.0, NOW)
    transport.turn(holder, NOW, (), ANY)
    forget_the_rest = remember()
    transport.enqueue([NewJob("job", "add", b"")], NOW)

    forget_the_rest()

    assert transport.next_due(ANY) is None
    assert transport.turn(holder, NOW, (), ANY) == ([], [], False)
    assert transport.is_registered(holder)
