"""The type of a logger, by a name that does not import logging until it is read."""

from __future__ import annotations

__all__ = ["Logger"]  # noqa: F822 (found by __getattr__)


def __getattr__(name: str) -> object:
    if name != "Logger":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from logging import Logger

    return Logger
