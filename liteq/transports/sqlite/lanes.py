"""Names interned to integers: queue names, task names, and the lanes that pair them.

What this process has learned is kept, but only what is committed for certain: a lane that was added
inside a transaction of the user's may yet be rolled back.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from liteq.job import TaskOrigin
from liteq.transports.sqlite.connection import Unit
from liteq.transports.sqlite.soundness import DAMAGED, undecodable

__all__ = ["Lane", "Lanes"]

NAMES = (
    "SELECT q.name, t.name FROM liteq_lanes l JOIN liteq_queues q ON q.id = l.queue "
    "JOIN liteq_tasks t ON t.id = l.task WHERE l.id = ?"
)


class Lane(NamedTuple):
    """One queue name and one task."""

    queue: str
    task: str


class Lanes:
    """The lanes of one file, as far as this process has met them."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._names: dict[int, Lane] = {}
        self._origins: dict[str, TaskOrigin] = {}
        self._declared: dict[str, TaskOrigin] = {}

    def declare(self, origin: TaskOrigin) -> None:
        """Remember where a task lives, to be stored with its next job."""
        self._origins[origin.task] = origin
        if self._declared.get(origin.task) is not origin:
            # A copy, because other threads may be learning lanes meanwhile.
            for lane in list(self._numbers):
                if lane[1] == origin.task:
                    self._numbers.pop(lane, None)

    def number(self, unit: Unit, queue: str, task: str) -> int:
        """Return the number of a lane, adding it and the task's origin where they are new."""
        number = self._numbers.get((queue, task))
        return self._add(unit, Lane(queue, task)) if number is None else number

    def _add(self, unit: Unit, lane: Lane) -> int:
        queue, task = lane
        connection = unit.connection.cursor()
        connection.row_factory = None
        queue_number = _intern(connection, "liteq_queues", queue)
        task_number = _intern(connection, "liteq_tasks", task)
        connection.execute(
            "INSERT INTO liteq_lanes (queue, task) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (queue_number, task_number),
        )
        number = int(
            connection.execute(
                "SELECT id FROM liteq_lanes WHERE queue = ? AND task = ?", (queue_number, task_number)
            ).fetchone()[0]
        )
        self._store_origin(connection, task)
        if unit.own:
            origin = self._origins.get(task)
            unit.after_commit.append(lambda: self._learn(number, lane, origin))
        return number

    def _store_origin(self, connection: sqlite3.Cursor, task: str) -> None:
        origin = self._origins.get(task)
        if origin is not None:
            connection.execute(
                "UPDATE liteq_tasks SET module = ?1, root = ?2, directory = ?3 WHERE name = ?4 "
                "AND (module IS NOT ?1 OR root IS NOT ?2 OR directory IS NOT ?3)",
                (origin.module, origin.root, origin.directory, task),
            )

    def _learn(self, number: int, lane: Lane, origin: TaskOrigin | None) -> None:
        self._names[number] = lane
        # Another origin may have been declared while this one was being committed.
        if self._origins.get(lane.task) is origin:
            self._numbers[lane] = number
            if origin is not None:
                self._declared[lane.task] = origin

    def find(self, connection: sqlite3.Connection, number: int) -> Lane | None:
        """Return the names of a lane; `connection` is read only for one not met before.

        None where the file is damaged: the number leads to no queue and task, or one of them has no name.
        """
        lane = self._names.get(number)
        if lane is None:
            names = _read_names(connection, number)
            if names is None or not all(isinstance(name, str) for name in names):
                return None
            # Read inside a transaction that may be rolled back, this could be a lane that never was; but
            # readers see committed lanes only, and a claiming transaction adds none.
            lane = self._names[number] = Lane(*names)
        return lane

    def name(self, connection: sqlite3.Connection, number: int) -> Lane:
        """Return the names of a lane, for people: `DAMAGED` where there are none."""
        return self.find(connection, number) or Lane(DAMAGED, DAMAGED)


def _read_names(connection: sqlite3.Connection, number: int) -> tuple[str, str] | None:
    try:
        row: tuple[str, str] | None = connection.execute(NAMES, (number,)).fetchone()
    except sqlite3.OperationalError as error:
        if not undecodable(error):
            raise
        return None
    return row


def _intern(connection: sqlite3.Cursor, table: str, name: str) -> int:
    connection.execute(f"INSERT INTO {table} (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    return int(connection.execute(f"SELECT id FROM {table} WHERE name = ?", (name,)).fetchone()[0])
