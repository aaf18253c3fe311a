"""What `liteq doctor` looks at in a queue on Redis, and what a worker's banner says of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from liteq.job import Finding, WorkerRecord
from liteq.transports.redis.connection import Connection
from liteq.transports.redis.opening import FORMAT, Server, ask_server

__all__ = ["describe", "examine"]

SLOW = 0.02
"""Seconds; a round trip that takes longer makes single calls slow."""
NEARLY_FULL = 0.9


def examine(
    connection: Connection, workers: Sequence[WorkerRecord], durability: str, broken: int, now: float
) -> list[Finding]:
    """Look at everything that could bite.

    Args:
        connection: to the store's server.
        workers: those that are registered.
        durability: what the queue asks for.
        broken: how many of its schedules are.
        now: UTC seconds since the epoch.
    """
    server = ask_server(connection)
    return [
        Finding("server", True, f"{server.name} {server.version or 'of a version that it does not tell'}"),
        _format(connection),
        _role(server),
        _round_trip(connection),
        _eviction(server),
        _durability(server, durability),
        _memory(server),
        _schedules(broken),
        *_workers(workers, now),
        _clock(connection),
    ]


def describe(connection: Connection, durability: str) -> list[tuple[str, str]]:
    """Name and value pairs for a worker's banner.

    Args:
        connection: to the store's server.
        durability: what the queue asks for.
    """
    server = ask_server(connection)
    kept = f"{durability} ({server.persistence})"
    if durability == "full" and server.loss:
        kept += f"; the server may lose {server.loss}"
    pairs = [("redis", connection.shown), ("server", f"{server.name} {server.version}"), ("durability", kept)]
    if server.evicts:
        pairs.append(("eviction", f"{server.policy}: JOBS MAY BE LOST when memory is full; set noeviction"))
    return pairs


def _format(connection: Connection) -> Finding:
    said = connection.command("HGET", connection.key, "format")
    found = said.decode("utf-8", "replace") if isinstance(said, bytes) else "none"
    return Finding("format", found == str(FORMAT), f"version {found}")


def _role(server: Server) -> Finding:
    ok = server.role != "slave"
    return Finding("role", ok, server.role or "unknown", None if ok else "Name the master in the URL.")


def _round_trip(connection: Connection) -> Finding:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        connection.command("PING")
        times.append(time.perf_counter() - began)
    took = sorted(times)[2]
    advice = "Single calls take at least that long; run them nearer to the server, or use enqueue_many."
    return Finding("round trip", took <= SLOW, f"{took * 1000:.1f} ms", None if took <= SLOW else advice)


def _eviction(server: Server) -> Finding:
    if not server.policy:
        return Finding("eviction", True, "unknown; the server does not tell")
    advice = "When its memory is full, this server throws jobs away. Set maxmemory-policy noeviction."
    return Finding("eviction", not server.evicts, server.policy, advice if server.evicts else None)


def _durability(server: Server, durability: str) -> Finding:
    if durability != "full" or not server.loss:
        return Finding("durability", True, server.persistence)
    detail = f"{server.persistence}: may lose {server.loss} if the server ends"
    advice = 'Set appendonly yes and appendfsync always, or say durability="normal" and live with it.'
    return Finding("durability", False, detail, advice)


def _memory(server: Server) -> Finding:
    used = f"{server.used_memory / 1e6:,.1f} MB"
    if not server.max_memory:
        return Finding("memory", True, f"{used}, no limit")
    ok = server.used_memory < NEARLY_FULL * server.max_memory
    advice = "Jobs will be refused soon; raise maxmemory, or keep results for less time."
    return Finding("memory", ok, f"{used} of {server.max_memory / 1e6:,.1f} MB", None if ok else advice)


def _schedules(broken: int) -> Finding:
    if not broken:
        return Finding("schedules", True, "none is broken")
    advice = "`liteq schedules` says why; mend or remove them. The others go on."
    return Finding("schedules", False, f"{broken} {'is' if broken == 1 else 'are'} broken", advice)


def _workers(workers: Sequence[WorkerRecord], now: float) -> Iterator[Finding]:
    if not workers:
        yield Finding("workers", True, "none registered")
    for worker in workers:
        name = f"worker {worker.info.name}"
        where = f"pid {worker.info.pid} on {worker.info.hostname}, holds {worker.leases} jobs"
        if worker.alive is False:
            detail = f"dead, holds {worker.leases} jobs"
            yield Finding(name, False, detail, "The next worker to start, or one that runs, takes them over.")
        elif worker.leases and worker.expires < now:
            detail = f"silent for {now - worker.expires:.0f} s past its lease, {where}"
            yield Finding(name, False, detail, "It hangs, is cut off or gone; others take its jobs over.")
        else:
            state = "alive" if worker.alive else "on another machine"
            yield Finding(name, True, f"{state}, {where}")


def _clock(connection: Connection) -> Finding:
    seconds, microseconds = connection.command("TIME")
    ahead = time.time() - (int(seconds) + int(microseconds) / 1e6)
    ok = abs(ahead) < 2.0
    detail = "in step with the server's" if ok else f"{ahead:+.1f} s from the server's"
    return Finding("clock", ok, detail, None if ok else "Keep the clocks of all hosts in step (NTP).")
