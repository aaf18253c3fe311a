"""Verbs that open, keep and close the file."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing

from chaos.verbs.base import (
    LARGE,
    LATER,
    VERBS,
    Scene,
    Verb,
    verb,
)
from liteq.transports.sqlite.schema import MIGRATIONS, VERSION, run_migrations

__all__: list[str] = []


@verb
def open_it(scene: Scene) -> Iterator[None]:
    yield
    scene.open()
    yield


@verb
def open_it_after_a_crash(scene: Scene) -> Iterator[None]:
    # What a process leaves that dies: a WAL whose commits are not in the database yet.
    other = Scene(scene.path.with_name("other.db"), 0)
    shutil.copy(scene.path, other.path)
    other.transport.enqueue([scene.job("new"), scene.job("new-large", size=LARGE)], LATER)
    for kind in ("", "-wal"):
        shutil.copy(f"{other.path}{kind}", f"{scene.path}{kind}")
    other.close()
    yield
    scene.open()
    yield


@verb
def create_it(scene: Scene) -> Iterator[None]:
    scene.path.unlink()
    yield
    scene.open()
    yield


@verb
def create_it_in_the_users_database(scene: Scene) -> Iterator[None]:
    scene.path.unlink()
    with closing(sqlite3.connect(scene.path)) as connection:
        connection.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY, what TEXT)")
        connection.execute("INSERT INTO orders (what) VALUES ('a book')")
        connection.commit()
    yield
    scene.open()
    yield


def migrate_from(version: int) -> Verb:
    def migrate(scene: Scene) -> Iterator[None]:
        stock = scene.path.rename(scene.path.with_name("stock.db"))
        with closing(sqlite3.connect(scene.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            run_migrations(connection, MIGRATIONS[:version])
            connection.execute("ATTACH ? AS stock", (str(stock),))
            tables = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                if table not in ("liteq_meta", "sqlite_sequence"):
                    connection.execute(f"INSERT INTO {table} SELECT * FROM stock.{table}")
        yield
        scene.open()
        yield

    return migrate


for old in range(1, VERSION):
    VERBS[f"migrate from version {old}"] = migrate_from(old)


@verb
def checkpoint(scene: Scene) -> Iterator[None]:
    scene.open()
    scene.transport.enqueue([scene.job(f"new-{number}", size=LARGE) for number in range(5)], LATER)
    yield
    scene.database.checkpoint()
    yield
    # The first to write after that begins the WAL anew.
    scene.transport.enqueue([scene.job("new")], LATER)
    yield


@verb
def tend_at_normal(scene: Scene) -> Iterator[None]:
    scene.open("normal")
    scene.transport.enqueue([scene.job(f"new-{number}", size=LARGE) for number in range(5)], LATER)
    yield
    with scene.transport.lead() as leads:
        assert leads
        scene.transport.tend(LATER)
    yield


@verb
def sleep_and_ring(scene: Scene) -> Iterator[None]:
    scene.open()
    yield
    sleeper = scene.transport.listen_for_jobs()
    sleeper.arm()
    yield
    scene.transport.enqueue([scene.job("new")], LATER)
    yield
    sleeper.wait(0.0)
    sleeper.close()
    yield


@verb
def close_it(scene: Scene) -> Iterator[None]:
    scene.open()
    scene.transport.enqueue([scene.job(f"new-{number}", size=LARGE) for number in range(5)], LATER)
    yield
    scene.close()
    yield
