"""Damaged jobs end and are moved as such: none is run or lost because of a move, no other is disturbed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from damage import damage, loosen
from msgpack import packb
from test_damaged_rows import DAMAGES

from liteq.app.mover import Mover
from liteq.job import ClaimRequest, JobFilter, NewJob, WorkerInfo
from liteq.states import FAILURE
from liteq.testing import ManualClock
from liteq.transports.memory import MemoryTransport
from liteq.transports.redis.transport import RedisTransport
from liteq.transports.sqlite.transport import SqliteTransport

NOW = 1_700_000_000.0
BOTH = ClaimRequest({"add": 1, "mul": 1})


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file without constraints, with two jobs that will be damaged and one that will not."""
    path = tmp_path_factory.mktemp("template") / "queue.db"
    with SqliteTransport(path, durability="normal") as transport:
        transport.enqueue([NewJob(name, "add", b"1") for name in ("first", "second")], NOW)
        transport.enqueue([NewJob("sound", "mul", b"2")], NOW)
    loosen(path)
    damage(path, "DROP INDEX liteq_ids")
    return path


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_rows_of_a_file_end_and_are_moved_as_such(what: str, template: Path, tmp_path: Path):
    path = Path(shutil.copy(template, tmp_path / "queue.db"))
    damage(path, f"UPDATE liteq_jobs SET {what} WHERE id <> 'sound'")
    with SqliteTransport(path, durability="normal") as source, MemoryTransport() as target:
        moved = Mover(source, target, batch=2, clock=ManualClock(NOW)).run()
        assert (moved.waiting, moved.failed) == (1, 2)
        ended = target.find(JobFilter(states=[FAILURE]))
        assert [job.reason for job in ended] == [f"damaged: {DAMAGES[what]}; it was not run"] * 2
        assert len({job.id for job in ended}) == 2
        holder = target.register(WorkerInfo("w", "host", 1, 1), 60.0, NOW)
        assert [claim.id for claim in target.claim(holder, BOTH, NOW)] == ["sound"]


def test_damaged_jobs_on_redis_end_and_are_moved_as_such(redis_url: str):
    with RedisTransport(redis_url, durability="normal") as source, MemoryTransport() as target:
        source.enqueue([NewJob(name, "add", b"1") for name in ("garbage", "gone", "empty", "sound")], NOW)
        key = source._connection.key.removesuffix(b"liteq")
        for field, job_id, value in [
            (b"jobs", "garbage", b"\xc1"),
            (b"jobs", "gone", None),
            (b"bodies", "empty", None),
        ]:
            seq = source._connection.command("ZSCORE", key + b"ids", job_id)
            if value is None:
                source._connection.command("HDEL", key + field, seq)
            else:
                source._connection.command("HSET", key + field, seq, packb(value))
        moved = Mover(source, target, clock=ManualClock(NOW)).run()
        assert (moved.waiting, moved.failed) == (1, 3)
        reasons = {job.id: job.reason for job in target.find(JobFilter(states=[FAILURE]))}
        assert reasons == {
            "garbage": "damaged: its record makes no sense; it was not run",
            "gone": "damaged: its record makes no sense; it was not run",
            "empty": "damaged: its arguments are missing; it was not run",
        }
        assert source.count() == []


def test_jobs_of_one_id_are_told_apart(tmp_path: Path):
    path = tmp_path / "queue.db"
    with SqliteTransport(path, durability="normal") as source:
        source.enqueue([NewJob(name, "add", b"1") for name in ("first", "second", "third")], NOW)
    damage(path, "DROP INDEX liteq_ids", "UPDATE liteq_jobs SET id = 'first' WHERE id <> 'third'")
    with SqliteTransport(path, durability="normal") as source, MemoryTransport() as target:
        moved = Mover(source, target, batch=1, clock=ManualClock(NOW)).run()
        assert (moved.waiting, moved.failed) == (2, 1)
        [ended] = target.find(JobFilter(states=[FAILURE]))
        assert (ended.id, ended.reason) == ("(damaged) 2", "damaged: another job has its id; it was not run")
        assert {job.id for job in target.find(JobFilter())} == {"first", "third", ended.id}


@pytest.mark.parametrize(
    "what",
    [
        "attempts = 9223372036854775807, retries = -5",
        "priority = 40000",
        "due = 1e300, eta = -1e300",
        "expires = 9e999, started = 1e15, done = 1e15",
        "result_expires = -1e15, max_crashes = 4294967296",
    ],
)
def test_what_a_finished_job_of_a_file_says_that_redis_could_not_hold_does_not_hide_the_rest(
    what: str, template: Path, tmp_path: Path, redis_url: str
):
    path = Path(shutil.copy(template, tmp_path / "queue.db"))
    damage(path, f"UPDATE liteq_jobs SET stage = 3, state = 'SUCCESS', result = x'07', {what}")
    with (
        SqliteTransport(path, durability="normal") as source,
        RedisTransport(redis_url, durability="normal") as target,
        SqliteTransport(tmp_path / "back.db", durability="normal") as back,
    ):
        for one, other in ((source, target), (target, back)):
            assert Mover(one, other, clock=ManualClock(NOW)).run().results == 3
            found = other.find(JobFilter())
            assert sorted(job.id for job in found) == ["first", "second", "sound"]
            assert {(job.state, job.result, job.finished) for job in found} == {("SUCCESS", b"\x07", True)}


@pytest.mark.parametrize("beyond", [2**64 - 1, -(2**40)])
def test_what_a_record_on_redis_says_that_a_file_could_not_hold_is_no_obstacle(
    beyond: int, redis_url: str, tmp_path: Path
):
    with RedisTransport(redis_url, durability="normal") as source:
        source.enqueue([NewJob("odd", "add", b"1"), NewJob("sound", "add", b"1")], NOW)
        key = source._connection.key.removesuffix(b"liteq")
        seq = source._connection.command("ZSCORE", key + b"ids", "odd")
        body = packb((b"1", b"msgpack", 1e300, beyond, None, float("nan")), use_bin_type=False)
        source._connection.command("HSET", key + b"bodies", seq, body)
        with SqliteTransport(tmp_path / "target.db", durability="normal") as target:
            assert Mover(source, target, clock=ManualClock(NOW)).run().waiting == 2
            holder = target.register(WorkerInfo("w", "host", 1, 1), 60.0, NOW)
            assert [claim.id for claim in target.claim(holder, BOTH, NOW)] == ["odd", "sound"]
