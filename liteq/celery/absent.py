"""What Celery has and liteq lacks: asking for it gives a sentence instead of a riddle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from liteq.errors import NotSupportedError

__all__ = ["AbsentAttributeError", "AbsentNameError", "refuse_attribute", "refuse_name"]


class AbsentAttributeError(NotSupportedError, AttributeError):
    """Celery has this attribute, and liteq does not; `hasattr` says no."""


class AbsentNameError(NotSupportedError, ImportError):
    """Celery has this name to import, and liteq does not."""


def refuse_attribute(owner: object, name: str, absent: Mapping[str, str]) -> NoReturn:
    """Say why an object has no such attribute.

    Args:
        owner: the object.
        name: the attribute.
        absent: what Celery has there and liteq lacks, each with what to do instead.
    """
    if name in absent:
        raise AbsentAttributeError(f"liteq has no {type(owner).__name__}.{name}: {absent[name]}")
    raise AttributeError(f"{type(owner).__name__!r} object has no attribute {name!r}")


def refuse_name(module: str, name: str, absent: Mapping[str, str]) -> NoReturn:
    """Say why a module has no such name; the arguments are those of `refuse_attribute`."""
    if name in absent:
        raise AbsentNameError(f"{module} has no {name}: {absent[name]}")
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
