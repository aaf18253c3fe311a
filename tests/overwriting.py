"""What careless programs do to a database file that is in use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["become_another_database", "empty", "shorten", "write_over"]


def empty(path: Path) -> None:
    """As a shell's `>` does."""
    os.truncate(path, 0)


def shorten(path: Path) -> None:
    """Leave the first two pages."""
    os.truncate(path, 8192)


def write_over(path: Path) -> None:
    """Put text in its place."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"remember the milk\n" * (size // 18 + 1))


def become_another_database(path: Path) -> None:
    """Copy another program's database over it."""
    other = path.with_name("other.db")
    make = f"import sqlite3; c = sqlite3.connect({str(other)!r}); c.execute('CREATE TABLE z (a)'); c.commit()"
    subprocess.run([sys.executable, "-c", make], check=True)
    with path.open("r+b") as file:
        file.truncate()
        file.write(other.read_bytes())
