"""A user's program as a type checker sees it; `test_typing.py` runs mypy on it."""

from __future__ import annotations

from sqlite3 import Connection
from typing import Any, assert_type

from liteq import (
    AsyncConnection,
    AsyncCursor,
    AsyncResult,
    Queue,
    Request,
    Signature,
    Task,
    as_completed,
)

q = Queue("memory://", durability="normal")


@q.task
def add(x: int, y: int = 2) -> int:
    return x + y


@q.task(name="shout", queue="slow", max_retries=None, autoretry_for=(ValueError,), time_limit=5)
def shout(text: str, *, loud: bool = False) -> str:
    return text


@q.task(bind=True, priority=3)
def scale(self: Task[..., Any], factor: float) -> list[float]:
    assert_type(self.request, Request)
    return [factor]


@q.task
async def fetch(url: str) -> bytes:
    return url.encode()


@q.task(bind=True, max_retries=1)
async def fetch_again(self: Task[..., Any], url: str, *, times: int = 2) -> bytes:
    assert_type(await fetch(url), bytes)
    return b""


assert_type(add(1, 2), int)
assert_type(fetch.delay("a"), AsyncResult[bytes])
assert_type(fetch_again.delay("a", times=3), AsyncResult[bytes])
assert_type(fetch.s("a"), Signature[AsyncResult[bytes]])
assert_type(add.delay(1, y=2), AsyncResult[int])
assert_type(add.delay(1).get(timeout=5), int)
assert_type(shout.delay("a", loud=True), AsyncResult[str])
assert_type(scale.delay(2.0), AsyncResult[list[float]])
assert_type(scale(2.0), list[float])
assert_type(add.options(countdown=10, priority=5).delay(1, 2), AsyncResult[int])
assert_type(add.apply_async((1, 2), queue="b"), AsyncResult[int])
assert_type(add.s(1), Signature[AsyncResult[int]])
assert_type(q.enqueue_many(add.s(i) for i in range(3)), list[AsyncResult[int]])
assert_type(q.AsyncResult("id"), AsyncResult[Any])

with q.transaction() as connection:
    assert_type(connection, Connection)
    assert_type(add.using(connection).delay(1), AsyncResult[int])

fetch.delay(1)  # type: ignore[arg-type]
fetch_again.delay()  # type: ignore[call-arg]


async def call() -> None:
    assert_type(await add.adelay(1, y=2), AsyncResult[int])
    assert_type(await add.aapply_async((1,)), AsyncResult[int])
    assert_type(await add.options(priority=5).adelay(1), AsyncResult[int])
    assert_type(await add.s(1).adelay(), AsyncResult[int])
    assert_type(await add.delay(1), int)
    assert_type(await add.delay(1).aget(timeout=5), int)
    assert_type(await q.aenqueue_many(add.s(i) for i in range(3)), list[AsyncResult[int]])
    assert_type(await q.asend_task("add", (1,)), AsyncResult[Any])
    async with q.atransaction() as connection:
        assert_type(connection, AsyncConnection)
        assert_type(await connection.execute("SELECT 1"), AsyncCursor)
        assert_type(await connection.run(lambda lent: lent.total_changes), int)
    async for result in as_completed([add.delay(1)], timeout=5):
        assert_type(result, AsyncResult[int])
        assert_type(await result, int)
    await add.adelay("1")  # type: ignore[arg-type]
    await add.options(priority=5).adelay()  # type: ignore[call-arg]


for result in as_completed([add.delay(1)]):
    assert_type(result, AsyncResult[int])

add.delay("1")  # type: ignore[arg-type]
add.delay(1, z=2)  # type: ignore[call-arg]
add.options(countdwn=10)  # type: ignore[call-arg]
add.options(priority=5).delay()  # type: ignore[call-arg]
scale.delay()  # type: ignore[call-arg]
shout.delay("a", loud="yes")  # type: ignore[arg-type]
