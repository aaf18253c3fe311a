"""Small things that Celery programs import."""

from __future__ import annotations

from liteq.ids import new_id

__all__ = ["gen_unique_id", "uuid"]


def uuid() -> str:
    """Return a new job id."""
    return new_id()


gen_unique_id = uuid
