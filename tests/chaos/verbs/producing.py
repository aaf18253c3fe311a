"""Verbs that store jobs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from chaos.verbs.base import (
    LARGE,
    LATER,
    OwnStatementError,
    Scene,
    verb,
)
from liteq.errors import StoreError
from liteq.job import TaskOrigin

__all__: list[str] = []


@verb
def enqueue_one(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    scene.transport.enqueue([scene.job("new")], LATER)
    yield


@verb
def enqueue_a_large_one(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    scene.transport.enqueue([scene.job("new", size=4 * LARGE)], LATER)
    yield


@verb
def enqueue_a_delayed_one(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    scene.transport.enqueue([scene.job("new", eta=LATER + 50.0, expires=LATER + 60.0)], LATER)
    yield


@verb
def enqueue_the_first_of_a_task(scene: Scene) -> Iterator[None]:
    scene.open()
    scene.transport.declare(TaskOrigin("shop.new", "shop.new", "/srv/shop", "/srv"))
    yield
    scene.transport.enqueue([scene.job("new", task="shop.new", queue="fresh")], LATER)
    yield


@verb
def enqueue_under_an_id_in_use(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    scene.transport.enqueue([scene.job("ready-0")], LATER)
    yield


@verb
def enqueue_under_the_id_of_a_finished_job(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    scene.transport.enqueue([scene.job("old", size=2 * LARGE)], LATER)
    yield


@verb
def enqueue_many(scene: Scene) -> Iterator[None]:
    scene.open()
    jobs = [scene.job(f"new-{number}", size=400 * number) for number in range(8)]
    jobs[5] = jobs[5]._replace(eta=LATER + 20.0)
    yield
    scene.transport.enqueue(jobs, LATER)
    yield


@verb
def enqueue_many_and_some_ids_are_in_use(scene: Scene) -> Iterator[None]:
    scene.open()
    names = ["new-0", "ready-0", "new-1", "old", "new-0", "new-2"]
    jobs = [scene.job(name, size=LARGE * (number % 2)) for number, name in enumerate(names)]
    yield
    scene.transport.enqueue(jobs, LATER)
    yield


@verb
def enqueue_in_a_transaction(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    with scene.transport.transaction() as connection:
        scene.execute(connection, "INSERT INTO orders (what) VALUES (?)", "a book")
        scene.transport.enqueue([scene.job("new-0", size=LARGE)], LATER)
        scene.execute(connection, "INSERT INTO orders (what) VALUES (?)", "a pen")
        scene.transport.enqueue([scene.job("new-1")], LATER)
    yield


@verb
def go_on_in_a_transaction_after_an_error(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    failed: StoreError | None = None
    with scene.transport.transaction() as connection:
        scene.execute(connection, "INSERT INTO orders (what) VALUES (?)", "a book")
        try:
            scene.transport.enqueue([scene.job("new-0", size=LARGE)], LATER)
        except StoreError as error:
            failed = error
        scene.execute(connection, "INSERT INTO orders (what) VALUES (?)", "a pen")
        scene.transport.enqueue([scene.job("new-1")], LATER)
        if failed is not None:
            raise failed
    yield


@verb
def enqueue_on_the_users_connection(scene: Scene) -> Iterator[None]:
    scene.open()
    scene.foreign = connection = sqlite3.connect(scene.path)
    yield
    scene.execute(connection, "INSERT INTO orders (what) VALUES (?)", "a book")
    scene.transport.enqueue_on(connection, [scene.job("new-0", size=LARGE)], LATER)
    try:
        connection.commit()
    except sqlite3.Error as error:
        raise OwnStatementError from error
    yield
    scene.foreign.isolation_level = None
    scene.transport.enqueue_on(connection, [scene.job("new-1")], LATER)
    yield
