"""Verbs of those who look at jobs and put them in order."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.verbs.base import (
    ANY,
    LATER,
    Scene,
    verb,
)
from liteq.job import JobFilter

__all__: list[str] = []


@verb
def revoke(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    scene.transport.revoke(["ready-0", "delayed-1", "old", "held-0", "nobody"], LATER, "not wanted")
    yield


@verb
def purge(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    scene.transport.purge(["slow"], LATER)
    yield
    scene.transport.purge(None, LATER)
    yield


@verb
def requeue(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    scene.transport.requeue(["old", "ready-0", "revoked"], LATER)
    yield


@verb
def forget(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    scene.transport.forget("old")
    yield
    scene.transport.forget("ready-0")
    yield


@verb
def sweep(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    scene.transport.sweep(LATER)
    yield


@verb
def read(scene: Scene) -> Iterator[None]:
    transport = scene.open()
    yield
    transport.get(["ready-0", "old", "nobody"])
    transport.find(JobFilter(states=["PENDING"], tasks=["shop.add"], queues=["default"]))
    yield
    transport.count()
    transport.origins()
    transport.next_due(ANY)
    transport.next_sweep()
    yield
    transport.workers()
    transport.leases(1)
    transport.running(1)
    transport.is_registered(1)
    transport.diagnose(LATER)
    yield
