"""How each extension type is written: one table for all codecs.

A *leaf* is written as a text, a *compound* as a list of parts, which are values again.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any
from uuid import UUID

from liteq.codec import times, types
from liteq.errors import DecodingError

__all__ = ["BY_CODE", "BY_TAG", "INT", "Compound", "Leaf", "form_of", "load"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A type that is written as a text; where msgpack writes it, the text is never empty."""

    code: int
    tag: str
    dump: Callable[[Any], str]
    load: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Compound:
    """A type that is written as a list of parts."""

    code: int
    tag: str
    dump: Callable[[Any], list[object]]
    load: Callable[[list[Any]], object]


def _dump_int(value: int) -> str:
    # Hexadecimal, because Python refuses to read or write long decimal numbers.
    return format(value, "x")


def _load_int(text: str) -> int:
    return int(text, 16)


def _dump_dict(value: dict[object, object]) -> list[object]:
    return [part for pair in value.items() for part in pair]


def _load_dict(parts: list[Any]) -> object:
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _dump_bytearray(value: bytearray) -> list[object]:
    return [bytes(value)]


def _load_bytearray(parts: list[Any]) -> object:
    (content,) = parts
    if not isinstance(content, bytes):
        raise DecodingError("A bytearray is stored as bytes, and this one is not.")
    return bytearray(content)


def _dump_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _load_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _dump_complex(value: complex) -> str:
    return f"{value.real!r} {value.imag!r}"


def _load_complex(text: str) -> complex:
    real, imaginary = text.split(" ")
    return complex(float(real), float(imaginary))


def _dump_range(value: range) -> list[object]:
    return [value.start, value.stop, value.step]


def _load_range(parts: list[Any]) -> range:
    start, stop, step = parts
    return range(start, stop, step)


def _dump_uuid(value: UUID) -> str:
    return value.hex


# The codes are stored by msgpack and the tags by json: never renumber, rename or reuse one.
INT = Leaf(0, "int", _dump_int, _load_int)  # where the format cannot hold it: msgpack beyond 64 bits
_FLOAT = Leaf(1, "float", repr, float)  # json: infinities and NaN
_BYTES = Leaf(2, "bytes", _dump_bytes, _load_bytes)  # json
_DICT = Compound(3, "dict", _dump_dict, _load_dict)  # keys that the format's own map cannot hold
_TUPLE = Compound(4, "tuple", list, tuple)
_SET = Compound(5, "set", list, set)
_FROZENSET = Compound(6, "frozenset", list, frozenset)
_BYTEARRAY = Compound(7, "bytearray", _dump_bytearray, _load_bytearray)
_COMPLEX = Leaf(8, "complex", _dump_complex, _load_complex)
_RANGE = Compound(9, "range", _dump_range, _load_range)
_DECIMAL = Leaf(10, "decimal", str, Decimal)  # its text is exact: sign, digits, exponent, kind of NaN
_UUID = Leaf(11, "uuid", _dump_uuid, UUID)
_DATETIME = Leaf(12, "datetime", times.dump_datetime, times.load_datetime)
_DATE = Leaf(13, "date", date.isoformat, date.fromisoformat)
_TIME = Leaf(14, "time", times.dump_time, times.load_time)
_TIMEDELTA = Leaf(15, "timedelta", times.dump_timedelta, times.load_timedelta)
_PATH = Leaf(16, "path", str, Path)  # of the writing system's kind, read as the reading system's
_POSIX_PATH = Leaf(17, "posixpath", str, PurePosixPath)
_WINDOWS_PATH = Leaf(18, "windowspath", str, PureWindowsPath)
_ENUM = Compound(19, "enum", types.dump_enum, types.load_enum)
_FLAG = Compound(20, "flag", types.dump_flag, types.load_flag)
_DATACLASS = Compound(21, "dataclass", types.dump_dataclass, types.load_dataclass)

_BUILT_IN: dict[type, Leaf | Compound] = {
    int: INT,
    float: _FLOAT,
    bytes: _BYTES,
    dict: _DICT,
    tuple: _TUPLE,
    set: _SET,
    frozenset: _FROZENSET,
    bytearray: _BYTEARRAY,
    complex: _COMPLEX,
    range: _RANGE,
    Decimal: _DECIMAL,
    UUID: _UUID,
    datetime: _DATETIME,
    date: _DATE,
    time: _TIME,
    timedelta: _TIMEDELTA,
    PosixPath: _PATH,
    WindowsPath: _PATH,
    PurePosixPath: _POSIX_PATH,
    PureWindowsPath: _WINDOWS_PATH,
}
_FORMS = (*dict.fromkeys(_BUILT_IN.values()), _ENUM, _FLAG, _DATACLASS)

BY_CODE = {form.code: form for form in _FORMS}
BY_TAG = {form.tag: form for form in _FORMS}


def form_of(kind: type) -> Leaf | Compound | None:
    """Return how values of exactly this type are written, or None if they cannot be."""
    form = _BUILT_IN.get(kind)
    if form is not None or not types.is_registered(kind):
        return form
    if issubclass(kind, Flag):
        return _FLAG
    return _ENUM if issubclass(kind, Enum) else _DATACLASS


def load(form: Leaf | Compound | None, content: object) -> object:
    """Return the value of this form and content; raises DecodingError if the two do not go together."""
    if isinstance(form, Leaf) and isinstance(content, str):
        return form.load(content)
    if isinstance(form, Compound) and isinstance(content, list):
        return form.load(content)
    raise DecodingError(
        "The payload holds a value of a type that this version of liteq does not know, or it is damaged."
    )
