"""redis-py, as far as it is needed here; imported when the first queue on Redis is opened."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from liteq.errors import ExtraRequiredError

__all__ = ["Link", "redis_client"]

Link = Any
"""A connection of redis-py to one server; it connects when the first command is sent."""
OLDEST = 5


def redis_client() -> ModuleType:
    """Return the package `redis`.

    Raises:
        ExtraRequiredError: it is not installed, or too old.
    """
    try:
        import redis
    except ImportError as error:
        raise ExtraRequiredError(
            "A queue on Redis needs the redis extra: pip install 'liteq-queue[redis]'."
        ) from error
    version = str(getattr(redis, "__version__", "0"))
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < OLDEST:
        raise ExtraRequiredError(
            f"A queue on Redis needs redis-py {OLDEST} or newer, and {version} is installed: "
            "pip install 'liteq-queue[redis]'."
        )
    return redis
