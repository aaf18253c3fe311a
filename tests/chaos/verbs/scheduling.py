"""Verbs of schedules and of those who fire them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chaos.verbs.base import LATER, Scene, verb
from liteq.timetable import Firing

__all__: list[str] = []


@verb
def save_schedules(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    scene.transport.save_schedules([scene.schedule("new"), scene.schedule("hourly")])
    yield
    [seen] = scene.transport.schedules(["hourly"])
    scene.transport.save_schedules([replace(seen, paused=True), scene.schedule("newer", job=None)])
    yield


@verb
def remove_schedules(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    scene.transport.remove_schedules(["hourly", "nobody"])
    yield


@verb
def fire(scene: Scene) -> Iterator[None]:
    transport = scene.open()
    assert transport.next_tick() is not None
    due = transport.due_schedules(LATER)
    assert [record.name for record in due] == ["hourly", "daily"]
    yield
    transport.fire([scene.firing(record) for record in due], LATER)
    yield
    # Decided on what is not so any more.
    transport.fire([scene.firing(record, again=True) for record in due], LATER)
    yield


@verb
def fire_what_replaces(scene: Scene) -> Iterator[None]:
    transport = scene.open()
    [record] = transport.schedules(["daily"])
    yield
    transport.fire([Firing(*scene.firing(record)[:2], revoked=("ready-0", "delayed-1", "held-0"))], LATER)
    yield
