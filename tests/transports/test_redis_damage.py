"""Keys that somebody has changed by hand: what can go on goes on, and what cannot says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest
from msgpack import packb, unpackb

from liteq.errors import LiteqError
from liteq.job import Claim, ClaimRequest, JobFilter, NewJob, WorkerInfo
from liteq.lifecycle import Returned, Succeeded, decide
from liteq.states import FAILURE, PENDING, STARTED
from liteq.timetable import Firing, ScheduleRecord
from liteq.transports.redis.records import DAMAGED, lane_of
from liteq.transports.redis.schedules import DAMAGE
from liteq.transports.redis.transport import RedisTransport

NOW = 1_700_000_000.0
ANY = ClaimRequest({"add": 1})
GARBAGE = [b"", b"garbage", b"\xc1", packb([]), packb({"a": 1}), packb([None] * 19), packb([b"x"] * 19)]
PLACES = range(19)
VALUES = [None, False, -1, 1.5, b"text", b"\xff\xfe", 2**53, [1], float("inf")]


@pytest.fixture
def transport(redis_url: str) -> Iterator[RedisTransport]:
    with RedisTransport(redis_url, durability="normal") as transport:
        yield transport


def job(job_id: str, **more: Any) -> NewJob:
    return NewJob(job_id, "add", b"payload", **more)


def register(transport: RedisTransport) -> int:
    return transport.register(WorkerInfo("w", "h", 1, 1), 60.0, NOW)


def key(transport: RedisTransport, name: str) -> bytes:
    return transport._connection.key.removesuffix(b"liteq") + name.encode()


def seq_of(transport: RedisTransport, job_id: str) -> bytes:
    return transport._connection.command("ZSCORE", key(transport, "ids"), job_id)  # type: ignore[no-any-return]


def spoil(transport: RedisTransport, job_id: str, record: bytes) -> None:
    transport._connection.command("HSET", key(transport, "jobs"), seq_of(transport, job_id), record)


def changed(transport: RedisTransport, job_id: str, place: int, value: object) -> bytes:
    written = transport._connection.command("HGET", key(transport, "jobs"), seq_of(transport, job_id))
    record = unpackb(written, raw=True)
    record[place] = value
    return packb(record, use_bin_type=False)  # type: ignore[no-any-return]


def read_everything(transport: RedisTransport, job_ids: list[str]) -> None:
    for found in [*transport.find(JobFilter()), *transport.get(job_ids)]:
        if found is not None:
            assert isinstance(found.id, str)
            assert isinstance(found.priority, int)
            assert isinstance(found.payload, bytes)
    for record in transport.workers():
        for claim in transport.leases(record.holder):
            decide(claim, Returned(), NOW, lambda: 0.5)
    transport.find(JobFilter(states=[FAILURE], tasks=["add"], queues=["default"], done_since=NOW))
    transport.count()
    transport.next_sweep()
    transport.next_due(ANY)
    transport.diagnose(NOW)


@pytest.mark.parametrize("record", GARBAGE)
def test_a_job_whose_record_makes_no_sense_ends_and_the_others_are_claimed(
    transport: RedisTransport, record: bytes
) -> None:
    transport.enqueue([job("bad"), *(job(f"good {number}") for number in range(3))], NOW)
    spoil(transport, "bad", record)
    read_everything(transport, ["bad"])
    claimed = transport.claim(register(transport), ANY, NOW)
    assert [claim.id for claim in claimed] == ["good 0", "good 1", "good 2"]
    [bad] = transport.find(JobFilter(states=[FAILURE]))
    assert (bad.id, bad.task, bad.finished, bad.done) == ("bad", "add", True, NOW)
    assert bad.reason == "damaged: its record makes no sense; it was not run"
    assert transport.next_due(ANY) is None
    assert transport.sweep(NOW + 86400) == 1
    assert transport.get(["bad"]) == [None]


def test_a_job_whose_arguments_are_missing_is_not_run(transport: RedisTransport) -> None:
    transport.enqueue([job("bad"), job("good")], NOW)
    transport._connection.command("HDEL", key(transport, "bodies"), seq_of(transport, "bad"))
    assert [claim.id for claim in transport.claim(register(transport), ANY, NOW)] == ["good"]
    [bad] = transport.find(JobFilter(states=[FAILURE]))
    assert (bad.id, bad.reason) == ("bad", "damaged: its arguments are missing; it was not run")


def test_a_job_whose_arguments_are_garbage_is_claimed_with_none_so_that_its_worker_says_so(
    transport: RedisTransport,
) -> None:
    transport.enqueue([job("bad")], NOW)
    transport._connection.command("HSET", key(transport, "bodies"), seq_of(transport, "bad"), b"\xc1")
    [claim] = transport.claim(register(transport), ANY, NOW)
    assert (claim.id, claim.payload) == ("bad", b"")


def test_a_sound_job_does_not_wait_behind_damaged_ones(transport: RedisTransport) -> None:
    transport.enqueue([job(str(number)) for number in range(12)], NOW)
    for number in range(11):
        spoil(transport, str(number), b"garbage")
    claims = transport.claim(register(transport), ANY._replace(limit=1), NOW)
    assert [claim.id for claim in claims] == ["11"]


@pytest.mark.parametrize("place", PLACES)
def test_any_damage_at_any_station_disturbs_nobody_else(transport: RedisTransport, place: int) -> None:
    ids = ["runs", "done", "waits", "later", "ends"]
    for value in VALUES:
        transport._connection.command("FLUSHALL")
        holder = register(transport)
        transport.enqueue([job("runs"), job("done")], NOW)
        runs, done = transport.claim(holder, ANY, NOW)
        transport.settle(holder, [decide(done, Succeeded(b"1"), NOW, lambda: 0.5)], NOW)
        transport.enqueue([job("waits"), job("later", eta=NOW + 5), job("ends", expires=NOW + 5)], NOW)
        for job_id in ids:
            spoil(transport, job_id, changed(transport, job_id, place, value))
        read_everything(transport, ids)
        transport.turn(holder, NOW + 10, [decide(runs, Succeeded(b"1"), NOW, lambda: 0.5)], ANY)
        read_everything(transport, ids)
        transport.revoke(ids, NOW, "not wanted")
        transport.requeue(ids, NOW)
        transport.enqueue([job("done"), job("new")], NOW)
        assert "new" in [claim.id for claim in transport.claim(holder, ANY, NOW)]
        transport.purge(None, NOW)
        transport.sweep(NOW + 1e6)
        for job_id in ids:
            transport.forget(job_id)
        transport.expel(holder, None)
        read_everything(transport, ids)


@pytest.mark.parametrize("field", ["about", "started", "expires", "timeout"])
@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"1e400", b"nan", packb([1, 2])])
def test_a_worker_that_makes_no_sense_counts_as_dead_and_its_jobs_can_be_taken(
    transport: RedisTransport, field: str, value: bytes
) -> None:
    holder = register(transport)
    transport.enqueue([job("job")], NOW)
    [claim] = transport.claim(holder, ANY, NOW)
    transport._connection.command("HSET", key(transport, f"worker:{holder}"), field, value)
    [record] = transport.workers()
    if (field, value) != ("started", b"-1"):
        assert (record.holder, record.alive, record.leases) == (holder, False, 1)
    if field in ("expires", "timeout"):
        assert not transport.is_registered(holder)
        assert transport.claim(holder, ANY, NOW) == []
    assert transport.expel(holder, None)
    assert transport.leases(holder) == [claim]
    assert transport.settle(0, [decide(claim, Returned(), NOW, lambda: 0.5)], NOW) == []
    assert transport.workers() == []


@pytest.mark.parametrize("record", [None, *GARBAGE])
def test_a_lease_of_a_job_that_makes_no_sense_can_be_taken_from_the_dead(
    transport: RedisTransport, record: bytes | None
) -> None:
    holder = register(transport)
    transport.enqueue([job("job")], NOW)
    [claim] = transport.claim(holder, ANY, NOW)
    if record is None:
        transport._connection.command("HDEL", key(transport, "jobs"), str(claim.seq))
    else:
        spoil(transport, "job", record)
    transport.expel(holder, None)
    freed = [decide(lease, Returned(), NOW, lambda: 0.5) for lease in transport.leases(holder)]
    transport.settle(0, [*freed, decide(claim, Returned(), NOW, lambda: 0.5)], NOW)
    assert transport.workers() == []
    assert transport.claim(register(transport), ANY, NOW) == []


def schedule(name: str) -> ScheduleRecord:
    return ScheduleRecord(name=name, task="add", spec="s", policy="p", job=job(""), next_run=NOW, created=NOW)


@pytest.mark.parametrize("value", [b"", b"garbage", b"\xc1", packb([]), packb([1] * 8), packb(["x"] * 8)])
def test_a_schedule_that_makes_no_sense_is_broken_and_the_others_run(
    transport: RedisTransport, value: bytes
) -> None:
    transport.save_schedules([schedule("calm"), schedule("wild")])
    transport._connection.command("HSET", key(transport, "schedules"), "wild", value)
    calm, wild = transport.schedules()
    assert (wild.name, wild.task, wild.broken) == ("wild", DAMAGED, DAMAGE)
    for field in fields(wild):
        getattr(wild, field.name)
    assert transport.due_schedules(NOW) == [calm]
    assert transport.next_tick() == NOW
    assert transport.fire([Firing(wild), Firing(calm, (job("a"),))], NOW) == [False, True]
    assert transport.save_schedules([schedule("wild")]) == [True]
    assert transport.schedules(["wild"])[0].broken is None
    transport._connection.command("HSET", key(transport, "schedules"), "wild", value)
    assert transport.remove_schedules(["wild"], [77]) == [True]


KEYS = ("ids", "jobs", "bodies", "lanes", "counts", "delayed", "expiring", "discarding", "holders", "seq")
CALLS: list[Callable[[RedisTransport, int, list[Claim]], object]] = [
    lambda transport, *_: transport.enqueue([job("other")], NOW),
    lambda transport, *_: transport.enqueue([job("x"), job("y", eta=NOW + 9), job("a")], NOW),
    lambda transport, holder, claims: transport.settle(
        holder, [decide(claim, Succeeded(b"1"), NOW, lambda: 0.5) for claim in claims], NOW
    ),
    lambda transport, holder, _: transport.claim(holder, ANY, NOW),
    lambda transport, *_: transport.find(JobFilter()),
    lambda transport, *_: transport.get(["a"]),
    lambda transport, *_: transport.count(),
    lambda transport, *_: transport.workers(),
    lambda transport, *_: transport.sweep(NOW + 1e6),
    lambda transport, *_: transport.next_sweep(),
    lambda transport, *_: transport.next_due(ANY),
    lambda transport, *_: transport.revoke(["a"], NOW, "test"),
    lambda transport, *_: transport.requeue(["a"], NOW),
    lambda transport, *_: transport.purge(None, NOW),
    lambda transport, holder, _: transport.renew([holder], 60.0, NOW),
    lambda transport, holder, _: transport.expel(holder, None),
    lambda transport, *_: register(transport),
    lambda transport, *_: transport.diagnose(NOW),
]


@pytest.mark.parametrize("value", [b"x", b"", b"-5", b"1.5"])
def test_a_count_that_is_none_counts_as_nothing(transport: RedisTransport, value: bytes) -> None:
    transport.enqueue([job("a"), NewJob("b", "mul", b"")], NOW)
    counts = key(transport, "counts")
    transport._connection.command(
        "HSET", counts, b"07:PENDING" + lane_of("default", "add"), value, value, value
    )
    assert sum(lane.jobs for lane in transport.count() if lane.task == "mul") == 1
    assert {lane.jobs for lane in transport.count() if lane.task != "mul"} == {0}


@pytest.mark.parametrize("name", KEYS)
def test_keys_of_another_kind_end_in_an_error_of_ours(transport: RedisTransport, name: str) -> None:
    holder = register(transport)
    transport.enqueue([job("a"), job("b")], NOW)
    claims = transport.claim(holder, ANY._replace(limit=1), NOW)
    transport._connection.command("DEL", key(transport, name))
    transport._connection.command("RPUSH", key(transport, name), "another program's")
    met = []
    for call in CALLS:
        try:
            call(transport, holder, claims)
        except LiteqError as error:
            met.append(str(error))
    assert met
    assert {("wrong kind of value" in text) or ("WRONGTYPE" in text) for text in met} == {True}, met


def test_a_database_that_is_emptied_under_those_who_use_it_is_begun_anew(transport: RedisTransport) -> None:
    holder = register(transport)
    transport.enqueue([job("a")], NOW)
    [stale] = transport.claim(holder, ANY, NOW)
    transport._connection.command("FLUSHALL")
    # Numbers of workers follow the server's clock, in steps of a tenth of a millisecond.
    began = moment(transport)
    while moment(transport) == began:
        pass

    assert transport.claim(holder, ANY, NOW) == []
    assert not transport.is_registered(holder)
    assert transport.enqueue([job("b")], NOW) == [True]
    again = register(transport)
    assert again > holder
    [claim] = transport.claim(again, ANY, NOW)
    assert claim.token > stale.token
    assert transport.settle(holder, [decide(stale, Succeeded(b"1"), NOW, lambda: 0.5)], NOW) != []
    assert [found.state for found in transport.find(JobFilter())] == [STARTED]
    with RedisTransport(transport.url, durability="normal") as other:
        assert [found.state for found in other.find(JobFilter())] == [STARTED]
        assert PENDING not in {lane.state for lane in other.count()}


def moment(transport: RedisTransport) -> int:
    seconds, microseconds = transport._connection.command("TIME")
    return int(seconds) * 10_000 + int(microseconds) // 100
