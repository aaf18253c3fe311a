"""How long those wait for a result who say how long, while the server stays silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from redis_server import RedisServer

from liteq import Queue, ResultTimeoutError, StoreUnreachableError
from liteq.result import AsyncResult

PATIENCE = 10


@pytest.fixture
def result(start_redis: Callable[..., RedisServer]) -> Iterator[AsyncResult[None]]:
    """The result of a job on a server that is frozen after it was enqueued."""
    server = start_redis()
    with Queue(server.url(), durability="normal", busy_timeout=PATIENCE) as queue:

        @queue.task
        def nothing() -> None: ...

        job = nothing.delay()
        server.freeze()
        yield job
        # Threads that ask it go on meanwhile, and are waited for.
        server.thaw()


def test_who_waits_for_a_result_waits_for_a_silent_server_no_longer(result: AsyncResult[None]) -> None:
    with pytest.raises(StoreUnreachableError) as caught:
        result.get(timeout=0.05)
    assert f"within {PATIENCE} s" not in str(caught.value)


def test_who_awaits_a_result_awaits_a_silent_server_no_longer(result: AsyncResult[None]) -> None:
    with pytest.raises(ResultTimeoutError, match="did not say within"):
        asyncio.run(result.aget(timeout=0.05))
