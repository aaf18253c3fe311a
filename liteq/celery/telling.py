"""Warnings that point at the user's own line, and come once in a process."""

from __future__ import annotations

import warnings
from typing import Any

from liteq.app.attribution import declaring_place, module_of
from liteq.errors import LiteqWarning

__all__ = ["warn"]

_told: dict[Any, int] = {}
"""What has been told, as the module `warnings` keeps it."""


def warn(text: str) -> None:
    """Warn of what has no effect, at the line of the user's that led here, once in this process.

    In worker processes nobody hears it but the first, where nobody else has imported the program.
    """
    place = declaring_place()
    warnings.warn_explicit(
        text, LiteqWarning, place.file, place.line, module=module_of(place.owner), registry=_told
    )
