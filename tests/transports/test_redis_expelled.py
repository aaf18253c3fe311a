"""What a worker of this machine has published counts when it is registered no more, and its jobs are left."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis_server import RedisServer

from liteq.job import ClaimRequest, NewJob, WorkerInfo
from liteq.transports.redis.transport import RedisTransport

NOW = 1_800_000_000.0


@pytest.mark.parametrize("leaves", [False, True])
def test_an_expelled_worker_is_trusted_unless_it_has_left_by_itself(
    leaves: bool, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITEQ_RUNTIME_DIR", str(tmp_path))
    with RedisTransport(redis_server.url(), durability="normal") as transport:
        holder = transport.register(WorkerInfo("worker", "host", 100, 99), 60.0, NOW)
        slot = transport.slot(holder)
        transport.enqueue([NewJob("runs", "add", b""), NewJob("waits", "add", b"")], NOW)
        runs, _ = transport.claim(holder, ClaimRequest({"add": 1}), NOW)
        slot.begin(runs.seq, runs.token, None)
        if leaves:
            transport.unregister(holder)
        else:
            transport.expel(holder, None)
        [gone] = transport.workers()
        slot.close()

        assert (gone.alive, gone.leases, gone.trusted) == (False, 2, not leaves)
