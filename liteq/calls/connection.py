"""The type of a connection that a user opens, by a name that does not import sqlite3 until it is read."""

from __future__ import annotations

__all__ = ["Connection"]  # noqa: F822 (found by __getattr__)


def __getattr__(name: str) -> object:
    if name != "Connection":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sqlite3 import Connection

    return Connection
