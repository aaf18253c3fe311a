from __future__ import annotations

from collections.abc import Iterator

import pytest

from liteq.testing.contract import TransportContract
from liteq.transport import Transport
from liteq.transports.redis.transport import RedisTransport


class TestRedisTransport(TransportContract):
    @pytest.fixture
    def transport(self, redis_url: str) -> Iterator[Transport]:
        with RedisTransport(redis_url, durability="normal") as transport:
            yield transport

    @pytest.fixture
    def second(self, transport: Transport, redis_url: str) -> Iterator[Transport]:
        with RedisTransport(redis_url, durability="normal") as second:
            yield second
