"""The workers of a store: who may hold leases, until when, and whether they are alive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liteq.job import WorkerInfo, WorkerRecord
from liteq.transports.redis.liveness import Liveness
from liteq.transports.redis.records import DAMAGED, LATEST, pack, text, unpack

__all__ = ["about", "as_worker"]

_MOST_PROCESSES = 2**31


def about(worker: WorkerInfo, host_id: str) -> bytes:
    """Return what is stored of a worker; opaque to the scripts."""
    queues = None if worker.queues is None else list(worker.queues)
    return pack((worker.name, worker.hostname, worker.pid, worker.supervisor, queues, host_id))


def as_worker(facts: Sequence[Any], lives: Liveness) -> WorkerRecord:
    """Return a worker as it is listed: one that is registered, or one that is gone and left leases."""
    holder, written, started, expires, timeout, leases = facts
    if written is False:
        # What it published is still there if it was one of this machine, and did not leave by itself.
        return _gone(holder, WorkerInfo("(unregistered)", "", 0, 0), leases, lives.has_slot(holder))
    info, host_id = _read(written)
    times = (started, expires, timeout)
    if info is None or not all(type(time) in (int, float) and 0 <= time < LATEST for time in times):
        # It counts as dead, and starts anew if it is not.
        return _gone(holder, WorkerInfo(DAMAGED, DAMAGED, 0, 0), leases)
    alive = lives.is_alive(holder, host_id)
    running = lives.running(holder, host_id) if leases else None
    return WorkerRecord(
        holder=holder,
        info=info,
        started=float(started),
        expires=float(expires),
        visibility_timeout=float(timeout),
        alive=alive,
        running=running,
        # Looked at only where it matters: a worker without a lease runs nothing.
        trusted=not leases or lives.is_trusted(holder, host_id),
        leases=leases,
    )


def _read(written: bytes) -> tuple[WorkerInfo | None, str]:
    try:
        name, hostname, pid, supervisor, queues, host_id = unpack(written)
    except (ValueError, TypeError):
        return None, ""
    sound = (
        all(isinstance(word, bytes) for word in (name, hostname, host_id))
        and all(type(number) is int and 0 <= number < _MOST_PROCESSES for number in (pid, supervisor))
        and (queues is None or (type(queues) is list and all(isinstance(queue, bytes) for queue in queues)))
    )
    if not sound:
        return None, ""
    served = None if queues is None else tuple(text(queue) for queue in queues)
    return WorkerInfo(text(name), text(hostname), pid, supervisor, served), text(host_id)


def _gone(holder: int, info: WorkerInfo, leases: int, trusted: bool = False) -> WorkerRecord:
    return WorkerRecord(
        holder=holder,
        info=info,
        started=0.0,
        expires=0.0,
        visibility_timeout=0.0,
        alive=False,
        trusted=trusted,
        leases=leases,
    )
