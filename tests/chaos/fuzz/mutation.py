"""Turns valid bytes into hostile ones."""

from __future__ import annotations

from random import Random

__all__ = ["mutate"]

MOST_BYTES = 65_536

_NAMES = (b"os", b"system", b"subprocess", b"Popen", b"builtins", b"eval", b"canary", b"Bird", b"fuzz.Order")
_TOKENS: tuple[bytes, ...] = (
    # msgpack: lengths that are not there, extension types, its own timestamps, the byte that it never writes
    *(b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\x7f\xff\xff\xff", b"\xc6\xff\xff\xff\xff"),
    *(
        b"\xdd\x00\x01\x00\x00",
        b"\xdc\xff\xff",
        b"\xde\xff\xff",
        b"\xc9\x7f\xff\xff\xff\x03",
        b"\xc1",
        b"\xc1\x01",
    ),
    *(b"\xc7\x00" + bytes([code]) for code in (*range(24), 127, 128, 255)),
    *(b"\xd4" + bytes([code]) + b"1" for code in (*range(24), 127, 128, 255)),
    *(
        b"\xd6\xff\xff\xff\xff\xff",
        b"\xd7\xff" + b"\xff" * 8,
        b"\xc7\x0c\xff" + b"\xff" * 12,
        b"\xd6\xff\0\0\0\1",
    ),
    *(
        b"\x90",
        b"\x91",
        b"\x92",
        b"\x80",
        b"\x81",
        b"\xc0",
        b"\xa1\xff",
        b"\xa3\xed\xa0\x80",
        b"\xcb\x7f\xf8" + b"\0" * 6,
    ),
    # json
    *(
        b"[",
        b"{",
        b"]",
        b"}",
        b'"',
        b",",
        b":",
        b"null",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b'"\\ud800"',
    ),
    *(
        b'{"__liteq__":"tuple","v":',
        b'{"__liteq__":',
        b'"__liteq__":"set",',
        b'"v":[',
        b'"__liteq__":"int","v":"f"',
    ),
    *(b'{"__liteq__":"%s","v":["canary.Bird","x"]}' % tag for tag in (b"enum", b"flag", b"dataclass")),
    *(
        b'{"__liteq__":"datetime","v":"2024-01-01|0|key:%s"}' % key
        for key in (b"../../etc/passwd", b"canary/x", b"UTC")
    ),
    *(b"1" * 5000, b"9" * 400, b'"a":1,"a":2'),
    # texts that some type is written as
    *(
        b"key:canary/Bird",
        b"offset:99999999999999999999",
        b"2024-01-01|9|",
        b"1e999999999",
        b"sNaN",
        b"-0x_f",
        b"\0",
    ),
    *(b"inf nan", b"\xed\xb0\x80", b"\xff\xfe", b"\xf4\x90\x80\x80"),
)
_BOMBS: tuple[bytes, ...] = (
    b"\x91",
    b"\xdd\0\0\xff\xff",
    b"\x81\xa1a",
    b"\x92\xc7\x00\x04",
    b"[",
    b'{"a":',
    b'{"__liteq__":"tuple","v":[',
)


def mutate(random: Random, data: bytes, other: bytes) -> bytes:
    """Return the bytes after one to six changes; `other` are valid ones to splice in."""
    if random.random() < 0.02:
        return random.randbytes(random.randrange(80))
    if random.random() < 0.02:
        return random.choice(_BOMBS) * random.choice([20, 300, 1500, 5000]) + data[: random.randrange(9)]
    for _ in range(random.choice([1, 1, 1, 2, 3, 6])):
        data = random.choice(_CHANGES)(random, data, other)
    return data[:MOST_BYTES]


def _place(random: Random, data: bytes) -> int:
    return random.randrange(len(data) + 1)


def _flip(random: Random, data: bytes, other: bytes) -> bytes:
    if not data:
        return b"\0"
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]


def _set(random: Random, data: bytes, other: bytes) -> bytes:
    place = _place(random, data)
    return (
        data[:place]
        + bytes([random.choice([0, 1, 0x7F, 0x80, 0xC7, 0xFF, random.randrange(256)])])
        + data[place + 1 :]
    )


def _insert(random: Random, data: bytes, other: bytes) -> bytes:
    place = _place(random, data)
    return data[:place] + random.choice(_TOKENS) + data[place:]


def _overwrite(random: Random, data: bytes, other: bytes) -> bytes:
    place, token = _place(random, data), random.choice(_TOKENS)
    return data[:place] + token + data[place + len(token) :]


def _cut(random: Random, data: bytes, other: bytes) -> bytes:
    start, end = sorted((_place(random, data), _place(random, data)))
    return data[:start] + data[end:]


def _end(random: Random, data: bytes, other: bytes) -> bytes:
    return data[: _place(random, data)]


def _repeat(random: Random, data: bytes, other: bytes) -> bytes:
    start, end = sorted((_place(random, data), _place(random, data)))
    return data[:end] + data[start:end] * random.choice([1, 2, 50]) + data[end:]


def _splice(random: Random, data: bytes, other: bytes) -> bytes:
    return data[: _place(random, data)] + other[_place(random, other) :]


def _rename(random: Random, data: bytes, other: bytes) -> bytes:
    """Put a name of the same length where a text is, so that the bytes around it stay right."""
    name = random.choice(_NAMES)
    place = _place(random, data)
    return data[:place] + name[: max(0, len(data) - place)] + data[place + len(name) :]


def _wrap(random: Random, data: bytes, other: bytes) -> bytes:
    return random.choice(_BOMBS) * random.randrange(1, 120) + data


_CHANGES = (_flip, _flip, _set, _insert, _insert, _overwrite, _cut, _end, _repeat, _splice, _rename, _wrap)
