"""More than one script should move at once, and more than the server has room for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis_server import RedisServer

from liteq.errors import PayloadTooLargeError, StoreFullError
from liteq.job import ClaimRequest, JobFilter, NewJob, WorkerInfo
from liteq.lifecycle import Returned, Succeeded, decide
from liteq.states import PENDING, REVOKED, STARTED, SUCCESS
from liteq.transports.redis.records import lane_of
from liteq.transports.redis.scripts import FOLDER, Script
from liteq.transports.redis.transport import RedisTransport

NOW = 1_700_000_000.0
ANY = ClaimRequest({"add": 1, "mul": 1})
ALL = ANY._replace(limit=100_000, budget=100_000)
MANY = 4_500
"""More than a script of one step moves, and more than one command takes."""


@pytest.fixture
def transport(redis_url: str) -> Iterator[RedisTransport]:
    with RedisTransport(redis_url, durability="normal") as transport:
        yield transport


def jobs(number: int, **fields: Any) -> list[NewJob]:
    return [NewJob(f"job {index}", "add", b"payload", **fields) for index in range(number)]


def register(transport: RedisTransport) -> int:
    return transport.register(WorkerInfo("w", "h", 1, 1), 60.0, NOW)


def states(transport: RedisTransport) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for lane in transport.count():
        counted[lane.state] += lane.jobs
    return dict(counted)


def test_thousands_of_jobs_go_through_every_station(transport: RedisTransport) -> None:
    assert transport.enqueue(jobs(MANY), NOW) == [True] * MANY
    assert transport.enqueue(jobs(MANY), NOW) == [False] * MANY
    holder = register(transport)
    claims = transport.claim(holder, ALL, NOW)
    assert [claim.id for claim in claims] == [f"job {index}" for index in range(MANY)]
    assert transport.leases(holder) == claims
    assert (
        transport.settle(holder, [decide(claim, Returned(), NOW, lambda: 0.5) for claim in claims], NOW) == []
    )
    claims = transport.claim(holder, ALL, NOW)
    ends = [decide(claim, Succeeded(b"1"), NOW, lambda: 0.5) for claim in claims]
    assert transport.settle(holder, ends, NOW) == []
    assert transport.settle(holder, ends, NOW) == ends
    assert states(transport) == {SUCCESS: MANY}
    assert transport.find(JobFilter(states=[PENDING])) == []
    assert len(transport.find(JobFilter(limit=10 * MANY))) == MANY
    while transport.sweep(NOW + 1e6):
        pass
    assert transport.count() == []
    assert transport._connection.command("EXISTS", "{liteq}:jobs", "{liteq}:bodies", "{liteq}:ids") == 0


def test_delayed_jobs_that_are_due_together_are_claimed_in_their_order(transport: RedisTransport) -> None:
    transport.enqueue(jobs(MANY, eta=NOW + 5), NOW)
    transport.enqueue([NewJob("urgent", "add", b"", priority=1, eta=NOW + 9)], NOW)
    holder = register(transport)
    [claim] = transport.claim(holder, ANY._replace(limit=1), NOW + 4.9) or [None]
    assert claim is None
    [first, second] = transport.claim(holder, ANY._replace(limit=2), NOW + 10)
    assert (first.id, second.id) == ("urgent", "job 0")
    assert {lane.waiting: lane.jobs for lane in transport.count()} == {"leased": 2, "ready": MANY - 1}


def test_what_was_settled_with_such_a_turn_is_settled_once(transport: RedisTransport) -> None:
    holder = register(transport)
    transport.enqueue([NewJob("runs", "add", b"")], NOW)
    [claim] = transport.claim(holder, ANY, NOW)
    transport.enqueue(jobs(MANY, eta=NOW + 5), NOW)
    end = decide(claim, Succeeded(b"1"), NOW, lambda: 0.5)
    stale = end._replace(token=1)
    turn = transport.turn(holder, NOW + 5, [stale, end], ANY._replace(limit=1))
    assert turn.refused == [stale]
    assert [found.id for found in turn.claimed] == ["job 0"]


def test_jobs_that_expire_together_are_all_revoked_before_others_are_claimed(
    transport: RedisTransport,
) -> None:
    transport.enqueue(jobs(MANY, expires=NOW + 5), NOW)
    transport.enqueue([NewJob("last", "add", b"")], NOW)
    assert [claim.id for claim in transport.claim(register(transport), ANY, NOW + 5)] == ["last"]
    assert states(transport) == {REVOKED: MANY, STARTED: 1}


def test_thousands_of_jobs_are_revoked_put_back_and_purged(transport: RedisTransport) -> None:
    transport.enqueue(jobs(MANY), NOW)
    names = [f"job {index}" for index in range(MANY)]
    assert transport.revoke([*names, "job 0"], NOW, "not wanted") == [*[True] * MANY, False]
    assert transport.requeue([*names, "unknown"], NOW) == [*[True] * MANY, False]
    assert transport.purge(["default"], NOW) == MANY
    assert states(transport) == {REVOKED: MANY}


@pytest.mark.parametrize("limit", [1, 7, 300])
def test_many_lanes_are_claimed_as_if_they_were_one(transport: RedisTransport, limit: int) -> None:
    expected = []
    for number in range(600):
        job = NewJob(
            f"job {number}",
            "add" if number % 3 else "mul",
            b"",
            queue=f"queue {number * 7 % 11}",
            priority=number * 5 % 4,
        )
        expected.append(job)
        transport.enqueue([job], NOW + number // 50)
    expected.sort(key=lambda job: (-job.priority, int(job.id[4:])))
    holder = register(transport)
    claimed: list[str] = []
    while batch := transport.claim(holder, ANY._replace(limit=limit), NOW + 100):
        claimed += (claim.id for claim in batch)
    assert claimed == [job.id for job in expected]


SERVED = [None, ["queue 3"], [f"queue {number}" for number in range(0, 2000, 3)]]


@pytest.mark.parametrize("queues", SERVED)
def test_a_claim_takes_from_its_own_lanes_among_a_thousand_others(
    transport: RedisTransport, queues: list[str] | None
) -> None:
    others = [NewJob(f"other {number}", f"other {number}", b"", queue="queue 3") for number in range(500)]
    own = [NewJob(f"own {number}", "add", b"", queue=f"queue {number}") for number in range(500)]
    transport.enqueue([*others, *own], NOW)
    expected = [job.id for job in own if queues is None or job.queue in queues]
    request = ClaimRequest({"add": 1, "mul": 1}, queues, limit=1000, budget=100_000)

    assert transport.next_due(request) == 0.0
    assert [claim.id for claim in transport.claim(register(transport), request, NOW)] == expected
    assert transport.next_due(request) is None


COUNTING = """
local looked = 0
local function call(...)
  local answer = redis.call(...)
  looked = looked + (type(answer) == 'table' and #answer or 1)
  return answer
end
local P = string.sub(KEYS[1], 1, -6)
local function parts(lane)
  local colon = string.find(lane, ':', 1, true)
  local length = tonumber(string.sub(lane, 1, colon - 1))
  return string.sub(lane, colon + length + 1), string.sub(lane, colon + 1, colon + length)
end
"""
"""Stands before `lanes.lua`, and counts what the server brings."""


@pytest.mark.parametrize("queues", [None, ["queue 3"]])
def test_a_worker_does_not_pay_for_lanes_that_only_others_serve(
    transport: RedisTransport, queues: list[str] | None
) -> None:
    transport.enqueue([NewJob(str(n), f"other {n}", b"", queue="queue 3") for n in range(500)], NOW)
    transport.enqueue([NewJob("own", "add", b"", queue="queue 3")], NOW)
    connection = transport._connection
    lanes = (FOLDER / "lanes.lua").read_text()
    ask = "local found = open_lanes({add = 1, mul = 1}, cjson.decode(ARGV[1])) return {looked, unpack(found)}"
    script = Script(f"{COUNTING}{lanes}{ask}".encode(), connection.key)

    looked, *found = connection.run_script(script, (json.dumps(queues or False),))

    assert found == [lane_of("queue 3", "add")]
    assert looked < 10


def test_a_job_that_is_too_costly_stops_the_claim_from_many_lanes(transport: RedisTransport) -> None:
    for number in range(20):
        transport.enqueue(
            [NewJob(str(number), "mul" if number == 5 else "add", b"", queue=str(number % 4))], NOW
        )
    request = ClaimRequest({"add": 1, "mul": 1000}, budget=100)
    holder = register(transport)
    assert [claim.id for claim in transport.claim(holder, request, NOW)] == ["0", "1", "2", "3", "4"]
    assert [claim.id for claim in transport.claim(holder, request, NOW)] == ["5"]


def test_large_payloads_and_results_come_in_several_replies(transport: RedisTransport) -> None:
    payload = bytes(3 << 20)
    names = [str(number) for number in range(7)]
    for name in names:
        transport.enqueue([NewJob(name, "add", payload, queue=name[:1])], NOW)
    holder = register(transport)
    first = transport.claim(holder, ANY, NOW)
    claims = list(first)
    while batch := transport.claim(holder, ANY, NOW):
        claims += batch
    assert 1 <= len(first) < len(names)
    assert [claim.id for claim in claims] == names
    assert transport.leases(holder) == claims
    assert [found and found.id for found in transport.get([*names, "8"])] == [*names, None]
    assert [found.id for found in transport.find(JobFilter())] == names[::-1]
    assert [found.id for found in transport.find(JobFilter(limit=5, tasks=["add"]))] == names[:1:-1]
    assert {len(claim.payload) for claim in claims} == {len(payload)}


def test_a_job_that_is_larger_than_a_reply_should_be_is_claimed_alone(transport: RedisTransport) -> None:
    payload = bytes(20 << 20)
    for name in "ab":
        transport.enqueue([NewJob(name, "add", payload)], NOW)
    holder = register(transport)
    assert [[claim.id for claim in transport.claim(holder, ANY, NOW)] for _ in range(3)] == [["a"], ["b"], []]
    assert len(transport.get(["a", "b"])) == 2


def test_more_than_a_server_takes_at_once_is_refused_before_it_is_sent(transport: RedisTransport) -> None:
    for amount, payload in ((1, bytes(270 << 20)), (30, bytes(9 << 20))):
        jobs = [NewJob(str(number), "add", payload) for number in range(amount)]
        with pytest.raises(PayloadTooLargeError, match="come to 283 MB"):
            transport.enqueue(jobs, NOW)
    assert transport.count() == []


def test_jobs_that_became_ready_before_1970_have_their_place_too(transport: RedisTransport) -> None:
    moments = [-5.0, -1000.0, 0.0, -0.5, 3.0, -5.5]
    for moment in moments:
        transport.enqueue([NewJob(str(moment), "add", b"")], moment)
    claims = transport.claim(register(transport), ANY._replace(limit=3), 10.0)
    claims += transport.claim(register(transport), ANY, 10.0)
    assert [claim.due for claim in claims] == sorted(moments)


def test_a_server_without_room_takes_no_jobs_and_lets_workers_finish_theirs(
    start_redis: Callable[..., RedisServer],
) -> None:
    server = start_redis("--maxmemory-policy", "noeviction")
    with RedisTransport(server.url(), durability="normal") as transport:
        holder = register(transport)
        transport.enqueue(jobs(20), NOW)
        claims = transport.claim(holder, ANY._replace(limit=10), NOW)
        server.ask("CONFIG", "SET", "maxmemory", "1")

        for attempt in (1, 30):
            with pytest.raises(StoreFullError):
                transport.enqueue(jobs(attempt), NOW)
            with pytest.raises(StoreFullError):
                transport.enqueue([NewJob(f"new {attempt}", "add", b"")], NOW)
        ends = [decide(claim, Succeeded(b"1"), NOW, lambda: 0.5) for claim in claims]
        assert transport.turn(holder, NOW, ends, None).refused == []
        server.ask("CONFIG", "SET", "maxmemory", "0")
        assert transport.enqueue([NewJob("new", "add", b"")], NOW) == [True]
        assert states(transport) == {SUCCESS: 10, PENDING: 11}
        assert [found.id for found in transport.find(JobFilter(limit=1))] == ["new"]
