"""What goes into a codec comes out, equal and of the same type, at every depth."""

from __future__ import annotations

import dataclasses
import math
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum, auto
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liteq.codec import Codec, decode_call, encode_call, get_codec, register_type

CODECS = [get_codec(name) for name in ("msgpack", "json", "yaml")]
each_codec = pytest.mark.parametrize("codec", CODECS, ids=[codec.name for codec in CODECS])


@register_type
class Colour(Enum):
    RED = (255, 0, 0)
    CRIMSON = (255, 0, 0)  # noqa: PIE796 (an alias, on purpose)
    BLUE = object()


@register_type
class Level(IntEnum):
    LOW = 1
    HIGH = 2


@register_type
class Word(StrEnum):
    YES = "yes"
    NO = "no"


@register_type
class Right(Flag):
    READ = auto()
    WRITE = auto()
    RUN = auto()


@register_type
class Bit(IntFlag):
    A = 1
    B = 4


@register_type
@dataclass
class Box:
    content: Any
    label: str = "box"


@register_type
@dataclass(frozen=True, slots=True)
class Point:
    x: object
    y: object = 0


@register_type
@dataclass
class Computed:
    base: int
    extra: dataclasses.InitVar[int] = 0
    total: int = field(init=False)
    unset: int = field(init=False)
    made: int = field(init=False, default=0, compare=False)

    def __post_init__(self, extra: int) -> None:
        self.total = self.base + extra
        self.made += 1


text = st.text(st.characters(), max_size=12)
names = st.text(string.ascii_letters + "é. ", min_size=1, max_size=8).filter(lambda name: name.strip(". "))
zones = st.one_of(
    st.sampled_from([UTC, timezone.min, timezone.max, ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")]),
    st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23))),
    st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)), text),
)
folds = st.sampled_from([0, 1])
datetimes = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
    st.datetimes(),
    st.none() | zones,
    folds,
)
times_of_day = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.times(), st.none() | zones, folds
)
hashable_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    text,
    st.binary(max_size=12),
    st.complex_numbers(),
    st.decimals().filter(lambda number: not number.is_snan()),
    st.uuids(),
    datetimes,
    st.dates(),
    times_of_day,
    st.timedeltas(),
    st.builds(Path, names, names),
    st.builds(PurePosixPath, names, names),
    st.builds(PureWindowsPath, names, names),
    st.builds(range, st.integers(-(2**70), 2**70), st.integers(), st.integers(min_value=1)),
    st.sampled_from([*Colour, *Level, *Word]),
    st.builds(Right, st.integers(0, 7)),
    st.builds(Bit, st.integers(0, 31)),
)
hashables = st.recursive(
    hashable_leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner, max_size=3),
        st.builds(Point, inner, inner),
    ),
    max_leaves=5,
)
values = st.recursive(
    st.one_of(hashable_leaves, st.binary(max_size=8).map(bytearray), st.just(Decimal("sNaN12"))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.sets(hashables, max_size=3),
        st.dictionaries(hashables, inner, max_size=3),
        st.dictionaries(st.sampled_from(["__liteq__", "v", "a"]), inner, max_size=3),
        st.builds(Box, inner, text),
    ),
    max_leaves=12,
)


def picture(value: object) -> object:
    """Describe a value so that two descriptions are equal only for the same values of the same types.

    Unlike `==`, it tells 1 from True and 0.0 from -0.0, and finds a NaN equal to a NaN.
    """
    kind = type(value)
    if isinstance(value, list | tuple):
        return kind, [picture(item) for item in value]
    if isinstance(value, set | frozenset):
        return kind, sorted(repr(picture(item)) for item in value)
    if isinstance(value, dict):
        return kind, [(picture(key), picture(item)) for key, item in value.items()]
    if dataclasses.is_dataclass(value):
        held = [each.name for each in dataclasses.fields(value) if hasattr(value, each.name)]
        return kind, [(name, picture(getattr(value, name))) for name in held]
    if isinstance(value, datetime | time):
        zone = value.tzinfo
        return kind, value.replace(tzinfo=None).isoformat(), value.fold, type(zone), repr(zone)
    if isinstance(value, Enum | int):
        return kind, value
    return kind, repr(value)


@each_codec
@settings(max_examples=200, deadline=None)
@given(value=values)
def test_every_value_comes_back_equal_and_of_the_same_type(codec: Codec, value: object) -> None:
    assert picture(codec.decode(codec.encode(value))) == picture(value)


@each_codec
@settings(max_examples=40, deadline=None)
@given(args=st.lists(values, max_size=3), kwargs=st.dictionaries(text, values, max_size=3))
def test_the_arguments_of_a_call_come_back(
    codec: Codec, args: list[object], kwargs: dict[str, object]
) -> None:
    back = decode_call(codec, encode_call(codec, tuple(args), kwargs))
    assert picture(back) == picture((args, kwargs))


@each_codec
@pytest.mark.parametrize(
    "value",
    [
        (1, [2, (3,)]),
        {(1, (2,)): {frozenset({(3,)}): ()}},
        {1: "int", "1": "str", 1.5: "float", None: "none", b"1": "bytes", Level.HIGH: "enum", 2**80: "big"},
        {Decimal("NaN"): 1},
        {"__liteq__": "tuple", "v": [1]},
        {"__liteq__": 1},
        "\ud800",
        "\ud800\udc00",
        "\U00010000",
        {"\udfff": "\udfff"},
        -0.0,
        math.inf,
        -math.inf,
        math.nan,
        [math.nan, 1, 2.5, 2**70, {"a": math.inf}],
        2**64 - 1,
        2**64,
        -(2**63),
        -(2**63) - 1,
        7**20_000,
        -(7**20_000),
        b"",
        "",
        bytearray(b""),
        [b"x", bytearray(b"x")],
        Decimal("-0E-19"),
        Decimal("1E+999999"),
        Decimal("1.10"),
        Decimal("sNaN"),
        Decimal("-NaN42"),
        Decimal("Infinity"),
        complex(-0.0, math.inf),
        UUID(int=2**128 - 1),
        datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(microseconds=-1), "a|b:c")),
        datetime.max,
        time(1, 2, 3, 4, tzinfo=UTC, fold=1),
        date.min,
        timedelta.min,
        timedelta.max,
        Path(),
        Path("/tmp/ä \udcff"),
        PurePosixPath("//a/b"),
        PureWindowsPath("c:\\x\\y"),
        range(0, 10**30, 3),
        Colour.CRIMSON,
        Word.YES,
        Right.READ | Right.RUN,
        Right(0),
        Bit(32 | 1),
        Box(Box({Point(1, (2,))})),
        [[], {}, (), set(), frozenset()],
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_awkward_values_come_back(codec: Codec, value: object) -> None:
    assert picture(codec.decode(codec.encode(value))) == picture(value)


@each_codec
def test_an_enum_member_comes_back_as_the_member_itself(codec: Codec) -> None:
    assert codec.decode(codec.encode(Colour.BLUE)) is Colour.BLUE


@each_codec
def test_a_zone_comes_back_as_the_same_zone(codec: Codec) -> None:
    zone = ZoneInfo("America/New_York")
    back = codec.decode(codec.encode(datetime(2024, 7, 1, tzinfo=zone)))
    assert isinstance(back, datetime)
    assert back.tzinfo is zone


@each_codec
def test_a_dataclass_is_rebuilt_from_its_fields_without_running_its_init(codec: Codec) -> None:
    value = Computed(1, extra=10)
    back = codec.decode(codec.encode(value))
    assert isinstance(back, Computed)
    assert (back.base, back.total, back.made, hasattr(back, "unset")) == (1, 11, 1, False)


@each_codec
def test_a_value_of_a_hundred_levels_comes_back(codec: Codec) -> None:
    for wrap in WRAPPINGS:
        value: object = (1,)
        for _ in range(100 // (2 if wrap is WRAPPINGS[-1] else 1) - 1):
            value = wrap(value)
        assert picture(codec.decode(codec.encode(value))) == picture(value)


WRAPPINGS: list[Callable[[object], object]] = [
    lambda inner: [inner],
    lambda inner: (inner,),
    lambda inner: {1: inner},
    lambda inner: {"a": inner},
    lambda inner: Box(inner),
]


def test_json_payloads_are_strict_json_that_people_can_read() -> None:
    encoded = get_codec("json").encode([1, "ä", (2,), math.nan, {"when": date(2024, 1, 2)}])
    assert encoded.decode() == (
        '[1,"ä",{"__liteq__":"tuple","v":[2]},{"__liteq__":"float","v":"nan"},'
        '{"when":{"__liteq__":"date","v":"2024-01-02"}}]'
    )


def test_the_stored_form_of_msgpack_never_changes() -> None:
    encode = get_codec("msgpack").encode
    assert encode([[1, 2], {}]) == bytes.fromhex("92 92 01 02 80")
    assert encode((1, "a")) == bytes.fromhex("93 c7 00 04 01 a1 61")
    assert encode({None: 1, 2: "b"}) == bytes.fromhex("82 c0 01 02 a1 62")
    assert encode(Decimal("1.5")) == bytes.fromhex("c7 03 0a") + b"1.5"
    samples: list[tuple[object, int]] = [
        (2**64, 0),
        ({(): 1}, 3),
        ((), 4),
        (set(), 5),
        (frozenset(), 6),
        (bytearray(), 7),
        (1j, 8),
        (range(1), 9),
        (Decimal(1), 10),
        (UUID(int=0), 11),
        (datetime.min, 12),
        (date.min, 13),
        (time.min, 14),
        (timedelta(1), 15),
        (Path("a"), 16),
        (PurePosixPath("a"), 17),
        (PureWindowsPath("a"), 18),
        (Word.NO, 19),
        (Right.RUN, 20),
        (Box(1), 21),
    ]
    for value, code in samples:
        data = encode(value)
        start = data.index(b"\xc7\x00") + 2 if b"\xc7\x00" in data else None
        # Otherwise an extension of a fixed length (its code follows) or of any length up to 255.
        position = start if start is not None else (1 if 0xD4 <= data[0] <= 0xD8 else 2)
        assert data[position] == code, value
