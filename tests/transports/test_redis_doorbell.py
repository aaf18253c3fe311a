"""Sleepers that a Redis server rings: at once, in any process, and again after an outage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from redis_server import RedisServer

from liteq.transports.redis.connection import Connection
from liteq.transports.redis.doorbell import Doorbells
from liteq.urls import read_redis_url

PATIENCE = 10.0
MOMENT = 0.02


@pytest.fixture
def bells() -> Iterator[Callable[[RedisServer], Doorbells]]:
    made: list[tuple[Doorbells, Connection]] = []

    def make(server: RedisServer) -> Doorbells:
        connection = Connection(read_redis_url(server.url()), PATIENCE)
        made.append((Doorbells(connection), connection))
        return made[-1][0]

    yield make
    for each, connection in made:
        each.close()
        connection.close()


Bells = Callable[[RedisServer], Doorbells]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "liteq-doorbell"]


def test_nobody_is_rung_for_what_does_not_concern_them(redis_server: RedisServer, bells: Bells) -> None:
    ours = bells(redis_server)
    some, schedules = ours.listen_jobs(["a", "b"]), ours.listen_schedules()
    result = ours.listen_result("1")
    for listener in (some, schedules, result):
        listener.arm()
        # The first ring is for what may have come before the subscription.
        listener.wait(MOMENT)
        listener.arm()

    redis_server.ask("PUBLISH", "{liteq}:jobs", "c\nd")
    redis_server.ask("PUBLISH", "{liteq}:done:2", "")
    assert [listener.wait(MOMENT) for listener in (some, schedules, result)] == [False] * 3

    for listener, channel, said in (
        (some, "{liteq}:jobs", "c\nb"),
        (schedules, "{liteq}:schedules", ""),
        (result, "{liteq}:done:1", ""),
    ):
        listener.arm()
        redis_server.ask("PUBLISH", channel, said)
        assert listener.wait(PATIENCE)


def test_one_thread_and_one_connection_serve_all(redis_server: RedisServer, bells: Bells) -> None:
    ours = bells(redis_server)
    before = redis_server.ask("CLIENT", "LIST", "TYPE", "pubsub").count(b"id=")
    assert not threads()

    listeners = [ours.listen_jobs(None), *(ours.listen_result(str(number)) for number in range(20))]
    for listener in listeners:
        listener.arm()

    assert len(threads()) == 1
    assert redis_server.ask("CLIENT", "LIST", "TYPE", "pubsub").count(b"id=") == before + 1
    for listener in listeners:
        listener.close()


def test_a_closed_listener_costs_the_server_nothing(redis_server: RedisServer, bells: Bells) -> None:
    ours = bells(redis_server)
    listener, other = ours.listen_result("1"), ours.listen_result("2")
    listener.arm()
    assert redis_server.ask("PUBSUB", "NUMSUB", "{liteq}:done:1").endswith(b":1\r\n")

    listener.close()
    # Confirmed only once what was said before has been heard.
    ours.listen_result("3").arm()

    assert redis_server.ask("PUBSUB", "NUMSUB", "{liteq}:done:1").endswith(b":0\r\n")
    other.close()


def test_who_sleeps_through_a_restart_is_rung_when_the_server_is_back(
    start_redis: Callable[..., RedisServer], bells: Bells
) -> None:
    server = start_redis()
    ours = bells(server)
    listener = ours.listen_jobs(None)
    listener.arm()
    listener.wait(MOMENT)

    listener.arm()
    server.kill()
    server.start()
    assert listener.wait(PATIENCE)

    listener.arm()
    server.ask("PUBLISH", "{liteq}:jobs", "a")
    assert listener.wait(PATIENCE)


def test_nobody_waits_long_for_a_server_that_is_not_there(
    start_redis: Callable[..., RedisServer], bells: Bells
) -> None:
    server = start_redis()
    ours = bells(server)
    server.stop()
    listener = ours.listen_result("1")
    listener.arm()

    assert listener.wait(MOMENT) is False
    assert ours.is_awaited() is False
    listener.close()


def test_a_user_who_may_not_listen_is_told_once(
    redis_server: RedisServer, bells: Bells, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.ask("ACL", "SETUSER", "deaf", "on", ">pw", "~*", "resetchannels", "+@all")
    connection = Connection(read_redis_url(redis_server.url(username="deaf", password="pw")), PATIENCE)
    ours = Doorbells(connection)
    try:
        listener = ours.listen_jobs(None)
        give_up = time.monotonic() + PATIENCE
        while not caplog.records and time.monotonic() < give_up:
            listener.arm()
            listener.wait(MOMENT)
        assert ["nobody can be woken" in record.getMessage() for record in caplog.records] == [True]
    finally:
        ours.close()
        connection.close()
        redis_server.ask("ACL", "DELUSER", "deaf")


def test_results_are_awaited_as_the_server_says(redis_server: RedisServer, bells: Bells) -> None:
    ours = bells(redis_server)
    assert not ours.is_awaited()
    ours.note_awaited(2)
    assert ours.is_awaited()
    ours.note_awaited(0)
    assert not ours.is_awaited()


def test_the_thread_ends_with_its_transport_and_wakes_all_who_sleep(
    redis_server: RedisServer, bells: Bells
) -> None:
    ours = bells(redis_server)
    listeners = [ours.listen_jobs(None), ours.listen_result("1")]
    for listener in listeners:
        listener.arm()

    ours.close()
    ours.close()

    assert not threads()
    assert [listener.wait(PATIENCE) for listener in listeners] == [True, True]
    assert not ours.is_awaited()
    for listener in listeners:
        listener.close()
