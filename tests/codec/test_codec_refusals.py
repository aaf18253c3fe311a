"""What cannot come back the same is refused when it goes in; what is no payload is refused when read."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tracemalloc
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import Enum, Flag, IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from liteq.codec import Codec, decode_call, encode_call, get_codec, register_codec, register_type
from liteq.errors import CodecError, ConfigurationError, DecodingError, EncodingError

CODECS = [get_codec(name) for name in ("msgpack", "json", "yaml")]
each_codec = pytest.mark.parametrize("codec", CODECS, ids=[codec.name for codec in CODECS])


class Pair(NamedTuple):
    a: int
    b: int


class MyInt(int):
    pass


class MyStr(str):
    __slots__ = ()


class MyDatetime(datetime):
    pass


class Shade(Enum):
    DARK = 1


class Number(IntEnum):
    ONE = 1


@dataclass
class Thing:
    x: int


class OddZone(tzinfo):
    def utcoffset(self, moment: datetime | None, /) -> timedelta:
        return timedelta(0)

    dst = utcoffset

    def tzname(self, moment: datetime | None, /) -> str:
        return "odd"


@each_codec
@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (Pair(1, 2), r"Pair would come back as a plain tuple; pass tuple\(value\)"),
        (OrderedDict(a=1), r"OrderedDict would come back as a plain dict; pass dict\(value\)"),
        (defaultdict(int), "plain dict"),
        (Counter("a"), "plain dict"),
        (MyInt(1), "MyInt would come back as a plain int"),
        (MyStr("a"), "MyStr would come back as a plain str"),
        ({MyStr("a"): 1}, "plain str"),
        (MyDatetime(2024, 1, 1), "MyDatetime cannot be stored"),
        (Shade.DARK, "Shade is an Enum that is not registered; decorate it with liteq.codec.register_type"),
        (Number.ONE, "Number is an Enum that is not registered"),
        (Thing(1), "Thing is a dataclass that is not registered"),
        (memoryview(b"a"), r"pass bytes\(value\)"),
        (msgpack.ExtType(4, b""), "ExtType would come back as a plain tuple"),
        (msgpack.Timestamp(1), "Timestamp cannot be stored"),
        (object(), "object cannot be stored; pass its parts, or put them in a dataclass"),
        (print, "builtin_function_or_method cannot be stored"),
        (ValueError("a"), "ValueError cannot be stored"),
        (int, "type cannot be stored"),
        (datetime(2024, 1, 1, tzinfo=OddZone()), "OddZone, which cannot be stored by name"),
        (time(1, tzinfo=OddZone()), "use zoneinfo.ZoneInfo"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_would_change_is_refused_at_any_depth(
    codec: Codec, value: object, sentence: str
) -> None:
    for nested in (value, [value], (value,), {"a": [value]}, {(1,): value}):
        with pytest.raises(EncodingError, match=sentence):
            codec.encode(nested)


@each_codec
def test_a_value_that_is_too_deep_or_contains_itself_is_refused(codec: Codec) -> None:
    deep: object = [1]
    for _ in range(100):
        deep = [deep]
    with pytest.raises(EncodingError, match="more than 100 levels deep"):
        codec.encode(deep)
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(EncodingError, match="more than 100 levels deep, or contains itself"):
        codec.encode(loop)


@each_codec
def test_code_of_the_value_that_fails_is_an_encoding_error(codec: Codec) -> None:
    @register_type(name=f"failing-{codec.name}")
    @dataclass
    class Failing:
        x: int

        def __getattribute__(self, name: str) -> object:
            if name == "x":
                raise ZeroDivisionError("no x today")
            return object.__getattribute__(self, name)

    with pytest.raises(EncodingError, match="ZeroDivisionError: no x today"):
        codec.encode(Failing(1))


@each_codec
def test_the_error_names_the_argument_its_type_and_what_to_do(codec: Codec) -> None:
    with pytest.raises(EncodingError) as caught:
        encode_call(codec, (1, Shade.DARK), {}, names=("x", "shade"))
    assert str(caught.value).startswith(f"Argument 'shade', of type {__name__}.Shade, cannot be encoded: ")
    assert "register_type" in str(caught.value)
    with pytest.raises(EncodingError, match=r"^Argument 2, of type object, cannot be encoded"):
        encode_call(codec, (1, object()), {}, names=("x",))
    with pytest.raises(EncodingError, match=r"^Argument 'key', of type object, "):
        encode_call(codec, (1,), {"key": object()}, names=("x",))


@each_codec
def test_arguments_that_fail_only_together_are_refused_too(codec: Codec) -> None:
    deep: object = (1,)
    for _ in range(99):
        deep = [deep]
    codec.encode(deep)
    with pytest.raises(EncodingError, match=r"The arguments together cannot be encoded: .* 100 levels"):
        encode_call(codec, (deep,), {})


@each_codec
@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=60))
@example(b"")
@example(b"\x91" * 5000)
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"\xdd\x00\x00\x4e\x20" * 4000)
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xc7\x00\x04")
@example(b"\x92\xc7\x00\x04\xc7\x00\x04")
@example(b"\x91\xc7\x00\x03\x01")
@example(b"\x92\xc7\x00\x13\x01")
@example(b"\x93\xc7\x00\x15\xa1x\x80")
@example(b"\xd4\x04a")
@example(b"\xd4\x7fa")
@example(b"\x81\x90\x01")
@example(b'{"__liteq__":"tuple"}')
@example(b'{"__liteq__":[],"v":[]}')
@example(b'{"__liteq__":"int","v":[]}')
@example(b'{"__liteq__":"set","v":[[]]}')
@example(b'{"__liteq__":"datetime","v":"2024-01-01|0|key:../../etc/passwd"}')
@example(b'{"__liteq__":"nope","v":""}')
@example(b"1" * 5000)
def test_bytes_that_are_no_payload_raise_nothing_but_decoding_error(codec: Codec, data: bytes) -> None:
    try:
        codec.decode(data)
    except DecodingError:
        pass
    try:
        args, kwargs = decode_call(codec, data)
    except DecodingError:
        return
    assert type(args) is list
    assert all(type(key) is str for key in kwargs)


@each_codec
@settings(max_examples=150, deadline=None)
@given(place=st.integers(min_value=0), byte=st.integers(0, 255))
def test_a_damaged_payload_raises_nothing_but_decoding_error(codec: Codec, place: int, byte: int) -> None:
    whole = codec.encode([(1, {2: {3}}), datetime(2024, 1, 1, tzinfo=UTC), 2**70, 1j, range(3), b"ab", 1.5])
    damaged = bytearray(whole)
    damaged[place % len(damaged)] = byte
    for data in (bytes(damaged), whole[: place % len(whole)]):
        try:
            codec.decode(data)
        except DecodingError:
            pass


@each_codec
@pytest.mark.parametrize("value", [1, [], [[]], [[], {}, 1], [(), {}], [[], {1: 2}], {"a": 1}], ids=repr)
def test_a_payload_that_is_no_call_is_refused(codec: Codec, value: object) -> None:
    with pytest.raises(DecodingError, match="not the arguments of a call"):
        decode_call(codec, codec.encode(value))


def test_an_unknown_type_in_a_payload_is_refused_and_nothing_is_imported() -> None:
    data = msgpack.packb([msgpack.ExtType(19, b""), "this.Colour", "RED"])
    with pytest.raises(
        DecodingError, match=r"'this.Colour', which is not registered here: import the module"
    ):
        get_codec("msgpack").decode(data)
    tagged = {"__liteq__": "dataclass", "v": ["this.Colour", {}]}
    with pytest.raises(DecodingError, match="not registered here"):
        get_codec("json").decode(json.dumps(tagged).encode())
    assert "this" not in sys.modules


@each_codec
@pytest.mark.parametrize("size", [30, 2_000, 10_000, 200_000])
def test_lengths_that_a_payload_only_promises_take_no_memory(codec: Codec, size: int) -> None:
    data = (b"\xdd" + size.to_bytes(4)) * (size // 5) if codec.name == "msgpack" else b"[" * size
    tracemalloc.start()
    try:
        with pytest.raises(DecodingError):
            codec.decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000 + 10 * size


def test_a_timestamp_of_msgpacks_own_is_read_as_a_datetime_which_can_be_stored() -> None:
    codec = get_codec("msgpack")
    value = codec.decode(msgpack.packb([msgpack.Timestamp(1_700_000_000), (1,)], default=None))
    assert value == [datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), [1]]
    assert codec.decode(codec.encode(value)) == value
    with pytest.raises(DecodingError):
        codec.decode(msgpack.packb(msgpack.Timestamp(2**40)))


@each_codec
@pytest.mark.parametrize(
    "key", ["nowhere/Berlin", "sub.package/Zone", "Europe", "", "x" * 200, "../zoneinfo/UTC"]
)
def test_a_time_zone_that_is_not_there_is_not_looked_for_among_packages(
    codec: Codec, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tzdata" / "zoneinfo" / "nowhere"
    package.mkdir(parents=True)
    for folder in (package.parent.parent, package.parent, package):
        (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "tzdata"]:
        monkeypatch.delitem(sys.modules, name)
    whole = codec.encode(datetime(2024, 1, 1, tzinfo=UTC))
    text = f"2024-01-01T00:00:00|0|key:{key}"
    if codec.name != "msgpack":
        assert b"2024-01-01T00:00:00|0|offset:0" in whole
        quoted = text.encode() if codec.name == "json" else json.dumps(text).encode()
        data = whole.replace(b"2024-01-01T00:00:00|0|offset:0", quoted)
    else:
        data = msgpack.packb(msgpack.ExtType(whole[2] if whole[0] == 0xC7 else whole[1], text.encode()))
    with pytest.raises(DecodingError, match="time zone"):
        codec.decode(data)
    assert "tzdata.zoneinfo.nowhere" not in sys.modules
    monkeypatch.delitem(sys.modules, "tzdata", raising=False)


def test_an_unknown_time_zone_is_a_decoding_error_that_says_so() -> None:
    data = (
        get_codec("json").encode(datetime(2024, 1, 1, tzinfo=UTC)).replace(b"offset:0", b"key:Mars/Olympus")
    )
    with pytest.raises(DecodingError, match=r"'Mars/Olympus' is not in the time zone database"):
        get_codec("json").decode(data)


@each_codec
def test_a_type_that_changed_since_takes_defaults_and_refuses_what_it_cannot_hold(codec: Codec) -> None:
    def stored(name: str, state: dict[str, object]) -> bytes:
        if codec.name != "msgpack":
            return json.dumps({"__liteq__": "dataclass", "v": [name, state]}).encode()
        packed: bytes = msgpack.packb([msgpack.ExtType(21, b""), name, state])
        return packed

    name = f"changed-{codec.name}"

    @register_type(name=name)
    @dataclass
    class Changed:
        x: int
        y: int = 7
        z: list[int] = dataclasses.field(default_factory=list)

    assert codec.decode(stored(name, {"x": 1})) == Changed(1, 7, [])
    with pytest.raises(DecodingError, match="lacks the field 'x'"):
        codec.decode(stored(name, {"y": 1}))
    with pytest.raises(DecodingError, match="has fields that the class lacks here: w"):
        codec.decode(stored(name, {"x": 1, "w": 2}))


def test_an_enum_that_changed_since_is_refused() -> None:
    @register_type(name="enum-now")
    class Now(Enum):
        A = 1

    @register_type(name="flag-now")
    class Flags(Flag):
        A = 1

    for parts, sentence in (
        (["enum-now", "B"], "has no member 'B' here"),
        (["flag-now", 8], "ValueError"),
        (["flag-now", "x"], "not a msgpack payload"),
    ):
        code = 20 if parts[0] == "flag-now" else 19
        with pytest.raises(DecodingError, match=sentence):
            get_codec("msgpack").decode(msgpack.packb([msgpack.ExtType(code, b""), *parts]))
    with pytest.raises(DecodingError, match="another kind than when this was stored"):
        get_codec("msgpack").decode(msgpack.packb([msgpack.ExtType(20, b""), "enum-now", 1]))


def test_registering_twice_is_harmless_and_two_types_of_one_name_are_refused() -> None:
    @dataclass
    class First:
        x: int

    @dataclass
    class Second:
        x: int

    assert register_type(First, "same name") is First
    assert register_type(First, "same name") is First
    with pytest.raises(ConfigurationError, match="'same name' is registered already, for another class"):
        register_type(Second, "same name")
    with pytest.raises(ConfigurationError, match="is registered already, as 'same name'"):
        register_type(First, "other name")
    register_type(Second)
    assert (
        get_codec("json").encode(Second(1))
        == json.dumps(
            {"__liteq__": "dataclass", "v": [f"{__name__}.{Second.__qualname__}", {"x": 1}]},
            separators=(",", ":"),
        ).encode()
    )


def test_a_subclass_of_a_registered_type_is_not_registered() -> None:
    @register_type
    @dataclass
    class Base:
        x: int

    class Derived(Base):
        pass

    with pytest.raises(EncodingError, match="not registered"):
        get_codec("msgpack").encode(Derived(1))


@pytest.mark.parametrize("wrong", [int, "name", object(), Pair, len])
def test_only_enums_and_dataclasses_can_be_registered(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="takes a subclass of Enum or a dataclass"):
        register_type(wrong)


def test_a_dataclass_with_content_outside_its_fields_cannot_be_registered() -> None:
    @dataclass
    class Listing(list[int]):
        x: int = 0

    with pytest.raises(ConfigurationError, match="built on list, whose content is in no field"):
        register_type(Listing)


def test_a_type_of_a_script_gets_the_name_under_which_workers_import_it(tmp_path: Any) -> None:
    script = tmp_path / "colours.py"
    script.write_text(
        "from enum import Enum\n"
        "from liteq.codec import get_codec, register_type\n"
        "@register_type\n"
        "class Colour(Enum):\n"
        "    RED = 1\n"
        "print(get_codec('json').encode(Colour.RED).decode())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '{"__liteq__":"enum","v":["colours.Colour","RED"]}'


def test_codecs_are_found_by_name_and_more_can_be_added() -> None:
    class Upper:
        name = "upper-for-test"

        def encode(self, value: object) -> bytes:
            return str(value).upper().encode()

        def decode(self, data: bytes) -> object:
            return data.decode()

    with pytest.raises(
        ConfigurationError, match=r"no serializer named 'upper-for-test'; known are .*json, msgpack"
    ):
        get_codec("upper-for-test")
    codec = Upper()
    register_codec(codec)
    register_codec(codec)
    assert get_codec("upper-for-test") is codec
    assert get_codec("msgpack") is get_codec("msgpack")
    with pytest.raises(ConfigurationError, match="exists already"):
        register_codec(Upper())
    codec.name = "json"
    with pytest.raises(ConfigurationError, match="'json' exists already"):
        register_codec(codec)
    codec.name = ""
    with pytest.raises(ConfigurationError, match="needs a name"):
        register_codec(codec)


def test_a_codec_is_imported_when_it_is_asked_for() -> None:
    code = "import sys, liteq.codec; print('liteq.codec.json_codec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_codec_errors_are_what_callers_would_catch() -> None:
    assert issubclass(EncodingError, CodecError)
    assert issubclass(DecodingError, ValueError)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        # 100 kB that would take a hundred megabytes, and a second that is a minute for ten times as much.
        (b"%TAG !a! tag:" + b"x" * 50_000 + b"\n---\n" + b"- !a!b\n" * 7_000, "shorthands for tags"),
        (b"1" + b":1" * 50_000, "a number is too long"),
        (b"- !!int '1" + b":1" * 50_000 + b"'", "a number is too long"),
    ],
    ids=["tags", "number", "tagged number"],
)
def test_yaml_that_would_take_the_square_of_its_length_is_refused(data: bytes, why: str) -> None:
    codec = get_codec("yaml")
    with pytest.raises(DecodingError, match=why):
        codec.decode(data)


def test_yaml_with_a_directive_and_numbers_to_the_base_of_60_is_read() -> None:
    assert get_codec("yaml").decode(b"%YAML 1.1\n--- [1:30, 'a:b', 0x1f]") == [90, "a:b", 31]
