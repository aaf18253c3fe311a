"""The guide's table of codecs and types says what each codec really does with a value of each type."""

from __future__ import annotations

import array
import dataclasses
import math
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from liteq.codec import get_codec, register_type
from liteq.errors import EncodingError

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "codecs.md"
CODECS = ("msgpack", "json", "yaml", "pickle")


@register_type
class Shade(Enum):
    DARK = 1


@register_type
class Right(Flag):
    READ = 1
    WRITE = 2


@register_type
@dataclasses.dataclass
class Order:
    number: int


class Unregistered(Enum):
    ONE = 1


@dataclasses.dataclass
class Plain:
    number: int


class Pair(NamedTuple):
    a: int
    b: int


class Own:
    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and self.number == other.number

    __hash__ = None  # type: ignore[assignment]


SAMPLES: dict[str, Sequence[object]] = {
    "`None`, `bool`": (None, True, False),
    "`int`, however large": (0, -1, 2**64, -(7**9000)),
    "`float`, `inf` and `nan` too": (1.5, -0.0, 1e300, math.inf, -math.inf, math.nan),
    "`complex`": (1 + 2j, complex(-0.0, math.inf)),
    "`Decimal`": (Decimal("1.10"), Decimal("-0E-19"), Decimal("NaN")),
    "`Fraction`": (Fraction(1, 3),),
    "`str`, lone surrogates too": ("", "ä\n\x00\x85 \u2028", "\ud800"),
    "`bytes`": (b"", b"\x00\xff"),
    "`bytearray`": (bytearray(b"\x00\xff"),),
    "`memoryview`": (memoryview(b"ab"),),
    "`array`": (array.array("i", [1]),),
    "`list`, `dict` with string keys": ([1, [2]], {"a": {"b": []}}),
    "`dict` with other keys": ({1: "int", "1": "str", (2, None): b"", b"k": 1.5},),
    "`tuple`": ((), (1, (2,))),
    "`set`, `frozenset`": ({1, (2,)}, frozenset({frozenset()})),
    "`range`": (range(0, 10**30, 3),),
    "`deque`, `defaultdict`, `OrderedDict`, `Counter`": (
        deque([1]),
        defaultdict(list, a=[1]),
        OrderedDict(a=1),
        Counter("aab"),
    ),
    "`datetime` without a zone": (datetime(2024, 1, 2, 3, 4, 5, 6), datetime(2024, 1, 1, fold=1)),
    "`datetime` with a zone": (
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    ),
    "`date`, `time`, `timedelta`": (date.min, time(1, 2, tzinfo=UTC), timedelta.min),
    "`ZoneInfo`": (ZoneInfo("Europe/Berlin"),),
    "`UUID`": (UUID(int=5),),
    "`Path`, `PurePath`": (Path("/tmp/ä"), PurePosixPath("a/b")),
    "IP addresses": (ip_address("127.0.0.1"),),
    "`Enum`, `Flag` and dataclasses, registered": (Shade.DARK, Right.READ | Right.WRITE, Order(1)),
    "`Enum` and dataclasses, not registered": (Unregistered.ONE, Plain(1)),
    "`NamedTuple`": (Pair(1, 2),),
    "objects of your own classes": (Own(1),),
    "lambdas, local functions": (lambda value: value,),
    "generators, locks, open files": ((each for each in ()),),
}


def same(one: object, other: object) -> bool:
    """Tell whether two values are equal and of the same type, through and through."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float | complex | Decimal):
        return repr(one) == repr(other)
    if isinstance(one, datetime | time):
        assert isinstance(other, datetime | time)
        return (one, one.fold, repr(one.tzinfo)) == (other, other.fold, repr(other.tzinfo))
    if isinstance(one, list | tuple):
        assert isinstance(other, list | tuple)
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        assert isinstance(other, dict)
        return all(map(same, one, other)) and all(map(same, one.values(), other.values()))
    return one == other


def verdict(name: str, value: object) -> str:
    """Return what a codec does with a value."""
    codec = get_codec(name)
    try:
        data = codec.encode(value)
    except EncodingError:
        return "refused"
    return "yes" if same(codec.decode(data), value) else "changed"


def cell(name: str, values: Sequence[object]) -> str:
    found = {verdict(name, value) for value in values}
    return found.pop() if len(found) == 1 else "some"


def table() -> str:
    lines = [
        f"| type | {' | '.join(f'`{name}`' for name in CODECS)} |",
        f"| --- |{' --- |' * len(CODECS)}",
    ]
    for label, values in SAMPLES.items():
        lines.append(f"| {label} | {' | '.join(cell(name, values) for name in CODECS)} |")
    return "\n".join(lines)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("label", SAMPLES)
def test_no_codec_changes_a_value(name: str, label: str) -> None:
    for value in SAMPLES[label]:
        assert verdict(name, value) in ("yes", "refused"), value


def test_the_guide_has_the_table_that_the_codecs_come_to() -> None:
    expected = table()
    found: Any = re.search(
        r"^\| type \|.*?(?=\n\n)", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    assert found.group() == expected, f"docs/guides/codecs.md should have this table:\n{expected}"
