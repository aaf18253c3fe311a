"""What commands print: aligned tables and JSON, with no character that upsets a terminal or a parser."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

import click

__all__ = [
    "clean",
    "clean_lines",
    "moment",
    "plain",
    "print_json",
    "print_pairs",
    "print_table",
    "stamp",
    "written",
]

_AS_TEXT = (Decimal, UUID, PurePath, timedelta)
_DEEPEST = 200
"""Levels of nesting that are shown. liteq encodes no more than 100, but a damaged row may decode to more."""


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns; those of numbers to the right."""
    lines = [[clean(str(cell)) for cell in line] for line in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = [all(isinstance(row[index], int) for row in rows) for index in range(len(headers))]
    for line in lines:
        cells = zip(line, widths, numeric, strict=True)
        padded = [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells]
        click.echo("  ".join(padded).rstrip())


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values, the values aligned."""
    listed = [(name, clean(str(value))) for name, value in pairs]
    width = max((len(name) for name, _ in listed), default=0)
    for name, value in listed:
        click.echo(f"{name.ljust(width)}  {value}".rstrip())


def print_json(value: object) -> None:
    """Print a value as JSON in ASCII, which every terminal and every pipe takes."""
    click.echo(json.dumps(plain(value), indent=2, allow_nan=False))


def clean(text: str) -> str:
    """Return a text as one line, with control characters written out."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def clean_lines(text: str) -> str:
    """Return a text of several lines with its other control characters written out."""
    return "\n".join(clean(line.expandtabs()) for line in text.rstrip().split("\n"))


def stamp(seconds: float | None) -> str | None:
    """Return a UTC time as ISO 8601 with milliseconds; None for none."""
    if seconds is None:
        return None
    try:
        when = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return repr(seconds)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(seconds: float | None) -> str:
    """Return a UTC time for people, to the second; nothing for none."""
    text = stamp(seconds)
    return "" if text is None else text.partition(".")[0].replace("T", " ")


def written(value: object) -> str:
    """Return a value as Python writes it, if it is not nested too deeply for that."""
    try:
        return repr(value)
    except RecursionError:
        return "(nested too deeply to be shown)"


def plain(value: object, depth: int = _DEEPEST) -> Any:
    """Return a value as what JSON has; what it has not becomes the nearest thing, at last its `repr`.

    Containers nested more than `depth` levels deep become "...".
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Mapping):
        if not depth:
            return "..."
        return {
            key if isinstance(key, str) else written(key): plain(each, depth - 1)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each, depth - 1) for each in value] if depth else "..."
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, _AS_TEXT) else written(value)
