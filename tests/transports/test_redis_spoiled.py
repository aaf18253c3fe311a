"""Random damage to the keys of a queue: every verb answers, or says what is wrong in an error of ours."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis
from msgpack import packb, unpackb
from redis_server import RedisServer

from liteq.errors import LiteqError
from liteq.job import Claim, ClaimRequest, JobFilter, NewJob, WorkerInfo
from liteq.lifecycle import Returned, Succeeded, decide
from liteq.timetable import Firing, ScheduleRecord
from liteq.transports.redis.transport import RedisTransport

NOW = 1_700_000_000.0
ANY = ClaimRequest({"add": 1, "mul": 1})
IDS = [str(number) for number in range(12)]
WORKER = WorkerInfo("w", "h", 1, 1)
ROUNDS = 60
TEXTS = [
    *(
        b"",
        b"x",
        b"-1",
        b"1.5",
        b"1e400",
        b"nan",
        b"9007199254740993",
        b"5",
        b"0:",
        b"999:a",
        b"3:adddefault",
    ),
    *(b"\xc1", b"\xdc\xff\xff", packb([]), packb({}), packb([None] * 19), packb([1] * 19), packb([""] * 19)),
]
VALUES: list[Any] = [None, False, True, -1, 0, 2, 1.5, 1e308, float("inf"), 2**53, b"x", [1], {b"a": 1}]


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Any]:
    with redis.Redis(unix_socket_path=str(redis_server.socket)) as client:
        yield client


def job(draw: random.Random, job_id: str) -> NewJob:
    return NewJob(
        job_id,
        draw.choice(["add", "mul"]),
        b"payload",
        queue=draw.choice(["default", "x"]),
        eta=draw.choice([None, NOW + 5]),
        expires=draw.choice([None, NOW + 7]),
    )


def fill(transport: RedisTransport, draw: random.Random) -> tuple[int, list[Claim]]:
    holder = transport.register(WORKER, 60.0, NOW)
    transport.enqueue([job(draw, job_id) for job_id in IDS[:8]], NOW)
    transport.save_schedules(
        [ScheduleRecord(name="t", task="add", spec="s", policy="p", job=job(draw, ""), next_run=NOW)]
    )
    claims = transport.claim(holder, ANY._replace(limit=3), NOW)
    transport.settle(holder, [decide(claim, Succeeded(b"1"), NOW, draw.random) for claim in claims[:1]], NOW)
    return holder, claims


def spoil(client: Any, draw: random.Random) -> None:
    """Change one thing somewhere."""
    name = draw.choice(sorted(client.keys("*")))
    kind = client.type(name)
    text, dice = draw.choice(TEXTS), draw.random()
    if dice < 0.1:
        client.delete(name)
    elif dice < 0.15:
        client.delete(name)
        client.rpush(name, text)
    elif kind == b"hash":
        field = draw.choice(sorted(client.hkeys(name)))
        if dice < 0.3:
            client.hdel(name, field)
        elif name.endswith(b":jobs") and dice < 0.8:
            with suppress(ValueError, TypeError):
                record = unpackb(client.hget(name, field), raw=True)
                record[draw.randrange(len(record))] = draw.choice(VALUES)
                client.hset(name, field, packb(record, use_bin_type=False))
        else:
            client.hset(name, draw.choice([field, text]), text)
    elif kind == b"zset":
        member = draw.choice([text, *client.zrange(name, 0, -1)])
        client.zadd(name, {member: draw.choice([-1, 0, 1.5, 3, 1e300, float("inf")])})
    elif kind == b"set":
        client.sadd(name, text)
    elif kind == b"string":
        client.set(name, text)


def verbs(
    transport: RedisTransport, draw: random.Random, holder: int, claims: list[Claim]
) -> list[Callable[[], object]]:
    def ends(of: list[Claim]) -> list[Any]:
        return [decide(claim, draw.choice([Succeeded(b"1"), Returned()]), NOW, draw.random) for claim in of]

    return [
        lambda: transport.enqueue([job(draw, "0")], NOW + 1),
        lambda: transport.enqueue([job(draw, job_id) for job_id in IDS], NOW + 1),
        lambda: transport.turn(holder, NOW + 10, ends(claims), ANY),
        lambda: transport.claim(holder, ANY, NOW + 1),
        lambda: transport.find(JobFilter()),
        lambda: transport.find(JobFilter(states=["PENDING"], tasks=["add"], done_since=1.0)),
        lambda: transport.get(IDS),
        lambda: [
            transport.settle(0, ends(transport.leases(each.holder)), NOW) for each in transport.workers()
        ],
        lambda: [transport.sweep(NOW + 20), transport.sweep(NOW + 1e7)],
        lambda: [transport.next_sweep(), transport.next_due(ANY), transport.next_tick(), transport.count()],
        lambda: [transport.revoke(IDS, NOW, "x"), transport.requeue(IDS, NOW), transport.purge(["x"], NOW)],
        lambda: transport.forget("1"),
        lambda: [transport.update_state(each.seq, each.token, "P", b"") for each in claims],
        lambda: transport.renew([holder], 60.0, NOW),
        lambda: [transport.is_registered(holder), transport.expel(holder, None)],
        lambda: transport.register(WORKER, 60.0, NOW),
        lambda: [transport.due_schedules(NOW), transport.save_schedules(transport.schedules())],
        lambda: transport.fire(
            [Firing(each, (job(draw, "f"),), ("2",)) for each in transport.schedules()], NOW
        ),
        lambda: transport.remove_schedules(["t"]),
        lambda: [transport.origins(), transport.diagnose(NOW), transport.export(None, 100)],
    ]


@pytest.mark.parametrize("seed", range(5))
def test_every_verb_answers_or_says_what_is_wrong(redis_server: RedisServer, client: Any, seed: int) -> None:
    draw = random.Random(seed)
    with RedisTransport(redis_server.url(), durability="normal") as transport:
        for _ in range(ROUNDS):
            client.flushall()
            holder, claims = fill(transport, draw)
            for _ in range(draw.randint(1, 4)):
                spoil(client, draw)
            calls = verbs(transport, draw, holder, claims)
            draw.shuffle(calls)
            for call in calls:
                with suppress(LiteqError):
                    call()
        client.flushall()
        fill(transport, draw)
