"""What a worker needs of its server before it works is waited for, as often as the server goes away."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from redis_server import RedisServer

from liteq.app.opening import when_served
from liteq.errors import StoreUnreachableError
from liteq.transports.redis.transport import RedisTransport


def test_what_is_asked_of_a_server_that_is_away_is_answered_when_it_is_back(
    start_redis: Callable[..., RedisServer],
) -> None:
    server = start_redis()
    has_failed = threading.Event()
    answers = []

    def ask() -> list[tuple[str, str]]:
        try:
            return transport.describe()
        except StoreUnreachableError:
            has_failed.set()
            raise

    with RedisTransport(server.url(), durability="normal", busy_timeout=0.05) as transport:
        server.stop()
        waiting = threading.Thread(target=lambda: answers.append(when_served(ask)))
        waiting.start()
        assert has_failed.wait(10)
        server.start()
        waiting.join(20)

        assert answers == [transport.describe()]


def test_who_is_told_that_it_is_over_gives_a_server_up(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    with RedisTransport(server.url(), durability="normal", busy_timeout=0.05) as transport:
        server.stop()
        with pytest.raises(StoreUnreachableError):
            when_served(transport.count, over=lambda: True)
