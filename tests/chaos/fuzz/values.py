"""Values, calls, options and failures as programs make them: what the mutations begin with."""

from __future__ import annotations

import math
import random as random_module
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, auto
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from chaos.fuzz.timetables import make_schedule
from liteq.calls.options import JobOptions, encode_options
from liteq.codec import encode_call, register_type
from liteq.codec.accepting import Codecs
from liteq.codec.signing import Signer
from liteq.errors import WorkerLostError
from liteq.failure import encode_failure

__all__ = ["ACCEPTED", "CODECS", "KEY", "Sample", "make_samples", "make_value"]

KEY = b"the key of the fuzzed queue 0123"
CODECS = ("msgpack", "json", "yaml", "msgpack+zlib", "msgpack+lzma")
ACCEPTED = Codecs(threshold=1, max_decompressed=20_000)


@register_type(name="fuzz.Colour")
class Colour(Enum):
    RED = 1
    BLUE = "blue"


@register_type(name="fuzz.Right")
class Right(Flag):
    READ = auto()
    WRITE = auto()


@register_type(name="fuzz.Order")
@dataclass
class Order:
    number: int
    lines: list[Any]
    note: str | None = None
    tags: dict[str, Any] = field(default_factory=dict)


class Sample(NamedTuple):
    """Valid bytes, and what they are."""

    kind: str
    """`value`, `call`, `options`, `failure` or `schedule`."""
    codec: str
    data: bytes


def make_value(random: random_module.Random, depth: int = 0) -> Any:
    """Return a value that can be encoded."""
    if depth < 4 and random.random() < 0.45:
        return _make_container(random, depth + 1)
    return random.choice(_LEAVES)(random)


def _text(random: random_module.Random) -> str:
    pool = random.choice(["abc", "äöü€", "𝄞🙂", "\0\n\x7f", "\udc80"])
    return "".join(random.choices(pool, k=random.randrange(12)))


_LEAVES: list[Any] = [
    lambda random: None,
    lambda random: random.random() < 0.5,
    lambda random: random.randrange(-(2**7), 2**7),
    lambda random: random.randrange(-(2**63), 2**64),
    lambda random: random.randrange(-(2**200), 2**200),
    lambda random: random.uniform(-1e9, 1e9),
    lambda random: random.choice([math.inf, -math.inf, math.nan, 0.0, -0.0, 5e-324]),
    _text,
    _text,
    lambda random: random.randbytes(random.randrange(20)),
    lambda random: bytearray(random.randbytes(random.randrange(20))),
    lambda random: complex(random.random(), random.random()),
    lambda random: range(random.randrange(9), random.randrange(99), random.randrange(1, 5)),
    lambda random: Decimal(random.randrange(-(10**20), 10**20)).scaleb(random.randrange(-9, 9)),
    lambda random: UUID(int=random.getrandbits(128)),
    lambda random: datetime(2000 + random.randrange(50), 1, 2, 3, 4, 5, random.randrange(10**6)),
    lambda random: datetime(2024, 6, 1, tzinfo=random.choice([UTC, ZoneInfo("Europe/Berlin")])),
    lambda random: datetime(
        2024, 6, 1, tzinfo=timezone(timedelta(minutes=random.randrange(-700, 700)), "here")
    ),
    lambda random: date(2024, 1 + random.randrange(12), 1),
    lambda random: time(random.randrange(24), 30, fold=random.randrange(2)),
    lambda random: timedelta(microseconds=random.randrange(-(10**15), 10**15)),
    lambda random: Path("a", str(random.randrange(9))),
    lambda random: PurePosixPath("/b"),
    lambda random: PureWindowsPath("c:/d"),
    lambda random: random.choice([*Colour]),
    lambda random: random.choice([Right.READ, Right.READ | Right.WRITE, Right(0)]),
]


def _make_container(random: random_module.Random, depth: int) -> Any:
    items = [make_value(random, depth) for _ in range(random.randrange(4))]
    keys = [random.choice([_text(random), random.randrange(99), (1, "a"), None]) for _ in items]
    match random.randrange(7):
        case 0:
            return items
        case 1:
            return tuple(items)
        case 2:
            return {str(key): item for key, item in zip(keys, items, strict=True)}
        case 3:
            return dict(zip(keys, items, strict=True))
        case 4:
            return {random.randrange(99), "x", b"y"}
        case 5:
            return frozenset({(1, 2), random.randrange(99)})
        case _:
            return Order(random.randrange(99), items, None, {"a": 1})


def make_samples(random: random_module.Random, count: int) -> list[Sample]:
    """Return valid bytes of every kind."""
    samples: list[Sample] = []
    while len(samples) < count:
        codec = random.choice(CODECS)
        encode = ACCEPTED.get(codec).encode
        match random.randrange(5):
            case 0:
                samples.append(Sample("value", codec, encode(make_value(random))))
            case 1:
                call = ([make_value(random) for _ in range(random.randrange(4))], {"a": make_value(random)})
                samples.append(Sample("call", codec, encode_call(ACCEPTED.get(codec), *call)))
            case 2:
                samples.append(Sample("options", "msgpack", _make_options(random)))
            case 3:
                samples.append(Sample("schedule", "json", make_schedule(random)))
            case _:
                samples.append(Sample("failure", "msgpack", _make_failure(random)))
    return samples


def _make_options(random: random_module.Random) -> bytes:
    options = encode_options(
        JobOptions(
            random.choice([None, 1, 2.5]),
            {"h": make_value(random)} if random.random() < 0.5 else {},
            random.choice([None, "root"]),
            random.choice([None, "parent"]),
        )
    )
    if options is None or random.random() < 0.3:
        return Signer([KEY]).sign("id", "fuzz.echo", "default", "msgpack", b"\x92\x90\x80", options, 3)
    return options


class _OwnError(Exception):
    def __init__(self, first: object, second: object = None) -> None:
        super().__init__(first, second)
        self.extra = second


def _make_failure(random: random_module.Random) -> bytes:
    kind = random.choice([ValueError, KeyError, OSError, UnicodeDecodeError, _OwnError, WorkerLostError])
    arguments: list[Any] = [make_value(random) for _ in range(random.randrange(3))]
    try:
        if kind is UnicodeDecodeError:
            b"\xff".decode()
        raise kind(*arguments)
    except Exception as error:
        if random.random() < 0.3:
            error.add_note(_text(random))
        return encode_failure(error)
