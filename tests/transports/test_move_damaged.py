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
