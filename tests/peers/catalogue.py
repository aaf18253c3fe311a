"""Which peers there are, what each needs, and what has to be known of it to compare its figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PEERS", "REDIS_DURABILITY", "Peer", "chosen"]

REDIS_DURABILITY = {
    "default": "Redis as it comes (snapshots, no log)",
    "everysec": "Redis, log synced each second",
    "always": "Redis, log synced before each answer",
}
"""What can be asked of the Redis server, and what it means."""


@dataclass(frozen=True)
class Peer:
    """One of those who are measured.

    Attributes:
        name: what `--only` and the tables call it.
        module: its adapter in `peers.adapters`.
        environment: the name of its virtual environment; peers may share one.
        requirements: what pip installs there; `liteq` stands for this checkout.
        share: how many jobs it does for each that the fastest does, so that a round ends in time.
        calls: the same where jobs are stored one by one; as many as `share` unless it says otherwise.
        durability: when a stored job is on the disk; empty if that is the Redis server's matter.
        settings: with what settings it is run.
        notes: what it does, as far as that matters for the figures; a sentence without its subject.
        options: given to the adapter.
    """

    name: str
    module: str
    environment: str
    requirements: Sequence[str]
    share: float
    settings: str
    notes: str
    durability: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    calls: float | None = None

    @property
    def uses_redis(self) -> bool:
        """Whether it needs a Redis server."""
        return not self.durability

    @property
    def options_text(self) -> str:
        """Its options as the adapter reads them."""
        return json.dumps(dict(self.options))


FSYNC = "fsync each commit"
AT_CHECKPOINT = "WAL, synced at checkpoint"

LITEQ = Peer(
    "liteq full",
    "liteq_queue",
    "liteq",
    ["liteq"],
    1.0,
    "liteq worker -c 2; durability full, the default",
    "settles after the run, in batches; a job runs again if its worker dies",
    FSYNC,
    {"durability": "full"},
    0.25,
)
HUEY = Peer(
    "huey",
    "huey_sqlite",
    "huey",
    ["huey"],
    0.1,
    "SqliteHuey as it comes; -k process -w 2 -d 0.001; results asked for every 1 ms, and left in the store",
    "takes a job out of the store before the run: a job is lost if its worker dies; "
    "an idle worker looks ever less often, at last every 10 s",
    FSYNC,
)
DRAMATIQ = Peer(
    "dramatiq 8 threads",
    "dramatiq_redis",
    "dramatiq",
    ["dramatiq[redis]"],
    0.2,
    "2 processes with 8 threads each, the default; middleware as it comes, and Results",
    "acknowledges after the run; a process fetches ahead two messages for each thread",
    options={"threads": 8},
)

PEERS = (
    LITEQ,
    Peer(
        "liteq normal",
        LITEQ.module,
        LITEQ.environment,
        LITEQ.requirements,
        1.0,
        "liteq worker -c 2; durability normal",
        LITEQ.notes,
        "WAL, synced about once a second",
        {"durability": "normal"},
        0.5,
    ),
    Peer(
        "liteq redis",
        LITEQ.module,
        "liteq-redis",
        ["liteq[redis]"],
        1.0,
        "liteq worker -c 2",
        LITEQ.notes,
        options={"redis": True},
        calls=0.5,
    ),
    HUEY,
    Peer(
        "huey fsync off",
        HUEY.module,
        HUEY.environment,
        HUEY.requirements,
        HUEY.share,
        f"as huey, with fsync=False ({HUEY.settings.partition('; ')[2]})",
        HUEY.notes,
        "never synced",
        {"storage": {"fsync": False}},
    ),
    Peer(
        "tinyjobs",
        "tinyjobs_sqlite",
        "tinyjobs",
        ["tinyjobs"],
        0.1,
        "2 workers with --concurrency 8 --poll-min 0.001 --no-scheduler; "
        "tasks are `async def`; results asked for every 1 ms",
        "settles after the run; a job runs again after its lease of 60 s if its worker dies; "
        "keeps a row for every attempt",
        AT_CHECKPOINT,
    ),
    Peer(
        "honker",
        "honker_sqlite",
        "honker",
        ["honker"],
        0.5,
        "2 processes, claim_batch of 32, results in one transaction, ack_batch",
        "acknowledges after the run; a job runs again after 300 s if its worker dies; "
        "the worker loop is written by hand on its batch API",
        AT_CHECKPOINT,
    ),
    Peer(
        "persist-queue",
        "persist_sqlite",
        "persist-queue",
        ["persist-queue"],
        0.1,
        "SQLiteAckQueue as it comes; 2 processes with a loop written by hand, which looks every 1 ms; "
        "a lock between them, because get() is not safe between processes; "
        "finished rows cleared a thousand at a time",
        "is a queue without tasks and results; acknowledges after the run; "
        "what a dead worker had comes back when the queue is opened with auto_resume",
        FSYNC,
    ),
    Peer(
        "celery",
        "celery_redis",
        "celery",
        ["celery[redis]"],
        0.1,
        "prefork -c 2, prefetch multiplier 64, rate limits and remote control off, "
        "without gossip, mingle and heartbeat",
        "acknowledges before the run: a job is lost if its worker dies, unless acks_late is set; "
        "when a drain begins, up to 128 jobs are in the worker already",
    ),
    DRAMATIQ,
    Peer(
        "dramatiq 1 thread",
        DRAMATIQ.module,
        DRAMATIQ.environment,
        DRAMATIQ.requirements,
        0.05,
        "2 processes with 1 thread each; middleware as it comes, and Results",
        DRAMATIQ.notes,
        options={"threads": 1},
    ),
    Peer(
        "rq",
        "rq_redis",
        "rq",
        ["rq"],
        0.05,
        "worker-pool -n 2 -w rq.SimpleWorker, which runs jobs in the worker's own process",
        "settles after the run; a job whose worker dies is moved to the failed ones",
    ),
)


def chosen(names: Sequence[str]) -> list[Peer]:
    """Return the peers of these names, or beginning with them; all if there are none.

    Raises:
        ValueError: nobody is called so.
    """
    for name in names:
        if not any(peer.name.startswith(name) for peer in PEERS):
            raise ValueError(
                f"There is no peer named {name!r}; there are {', '.join(peer.name for peer in PEERS)}."
            )
    return [peer for peer in PEERS if not names or any(peer.name.startswith(name) for name in names)]
