"""Damages rows of a queue's file, as a hostile program or a failing disk would."""

from __future__ import annotations

import sqlite3
from pathlib import Path

NOT_UTF8 = "CAST(x'ff41' AS TEXT)"


def loosen(path: Path) -> None:
    """Drop all constraints from the tables: whoever can write the file can do that as well."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema = 1")
    for constraint in (" NOT NULL", " REFERENCES liteq_queues (id)", " REFERENCES liteq_tasks (id)"):
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, ?, '') WHERE type = 'table' AND name LIKE 'liteq%'",
            (constraint,),
        )
    connection.close()


def damage(path: Path, *statements: str) -> None:
    """Run SQL on a file whose constraints are gone."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
