"""Payloads are compressed where that helps, and decompressed no further than a bound."""

from __future__ import annotations

import bz2
import io
import lzma
import random
import struct
import tracemalloc
import zlib

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from liteq.codec.accepting import Codecs
from liteq.codec.compression import ALGORITHMS, ALIASES, algorithm_name
from liteq.errors import ConfigurationError, DecodingError, ExtraRequiredError

TEXT = "the same words again and again, " * 200
GIGABYTE = 1 << 30
each_algorithm = pytest.mark.parametrize("by", ALGORITHMS)


@each_algorithm
@pytest.mark.parametrize("serializer", ["msgpack", "json", "yaml"])
def test_what_is_long_gets_smaller_and_comes_back(by: str, serializer: str) -> None:
    codec = Codecs().writer(serializer, by)
    data = codec.encode({"text": TEXT, "number": (1, 2)})
    assert len(data) < len(TEXT) / 10
    assert codec.name == f"{serializer}+{by}"
    assert codec.decode(data) == {"text": TEXT, "number": (1, 2)}


@each_algorithm
def test_what_is_short_or_would_not_get_smaller_is_left_as_it_is(by: str) -> None:
    codecs = Codecs(threshold=100)
    plain, codec = codecs.get("msgpack"), codecs.writer("msgpack", by)
    for value in ("a" * 90, random.Random(1).randbytes(600)):
        assert codec.encode(value) == b"\x00" + plain.encode(value)
    assert codec.encode("a" * 200).startswith(b"\x01")


@each_algorithm
def test_what_nobody_could_decompress_is_not_compressed(by: str) -> None:
    codec = Codecs(threshold=100, max_decompressed=1000).writer("msgpack", by)
    assert codec.encode("a" * 900).startswith(b"\x01")
    assert codec.decode(codec.encode("a" * 900)) == "a" * 900
    assert codec.encode("a" * 1100).startswith(b"\x00")
    assert codec.decode(codec.encode("a" * 1100)) == "a" * 1100


def test_the_bound_is_the_last_size_that_is_read() -> None:
    for size, fits in ((10_000, True), (10_001, False)):
        packed = Codecs().writer("msgpack", "zlib").encode(b"a" * (size - 3))
        reader = Codecs(max_decompressed=10_000).get("msgpack+zlib")
        if fits:
            assert reader.decode(packed) == b"a" * (size - 3)
        else:
            with pytest.raises(DecodingError, match=r"more than 10,000 bytes .* raise max_decompressed"):
                reader.decode(packed)


# ---- bombs -----------------------------------------------------------------------------------------------


def zlib_bomb(size: int) -> bytes:
    """Return what zlib would decompress to so many zeros."""
    packer = zlib.compressobj(9)
    part = 1 << 20
    first = packer.compress(bytes(part)) + packer.flush(zlib.Z_FULL_FLUSH)
    # What follows a full flush does not refer to what was before, so it can be repeated.
    again = packer.compress(bytes(part)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (size // part - 1) + packer.flush()


def zstd_bomb(size: int) -> bytes:
    """Return what zstd would decompress to so many zeros: blocks that say how often one byte is repeated."""
    block = 128 * 1024
    header = struct.pack("<IBB", 0xFD2FB528, 0, 0x38)
    repeated = struct.pack("<I", (block << 3) | (1 << 1))[:3] + b"\0"
    last = struct.pack("<I", (block << 3) | (1 << 1) | 1)[:3] + b"\0"
    return header + repeated * (size // block - 1) + last


def small_bomb(by: str, size: int) -> bytes:
    """Return what bzip2 or lzma would decompress to so many zeros; made piece by piece."""
    out = io.BytesIO()
    packer = bz2.BZ2Compressor() if by == "bzip2" else lzma.LZMACompressor(preset=0)
    for _ in range(size >> 20):
        out.write(packer.compress(bytes(1 << 20)))
    out.write(packer.flush())
    return out.getvalue()


@pytest.mark.parametrize(
    ("by", "bomb"),
    [
        ("zlib", zlib_bomb(10 * GIGABYTE)),
        ("zstd", zstd_bomb(10 * GIGABYTE)),
        ("bzip2", small_bomb("bzip2", GIGABYTE // 16)),
        ("lzma", small_bomb("lzma", GIGABYTE // 16)),
    ],
    ids=["zlib 10 GiB", "zstd 10 GiB", "bzip2 64 MiB", "lzma 64 MiB"],
)
def test_a_decompression_bomb_is_refused_in_bounded_memory(by: str, bomb: bytes) -> None:
    bound = 1 << 20
    codec = Codecs(max_decompressed=bound).get(f"msgpack+{by}")
    data = b"\x01" + bomb
    tracemalloc.start()
    try:
        with pytest.raises(DecodingError, match="more than 1,048,576 bytes once it is decompressed"):
            codec.decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The data without its mark and what is left of it, the output twice over, and what decompressors need.
    assert peak < 2 * len(data) + 4 * bound + 8_000_000


def test_the_bombs_are_what_they_promise() -> None:
    assert zlib.decompressobj().decompress(zlib_bomb(16 << 20), 8 << 20) == bytes(8 << 20)
    assert zstd.decompress(zstd_bomb(8 << 20)) == bytes(8 << 20)


def test_a_window_that_would_take_all_memory_is_refused() -> None:
    # What takes 700 MB to decompress, by the header of lzma and by that of zstd.
    strong = lzma.compress(
        b"a" * 5000, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 29}]
    )
    with pytest.raises(DecodingError, match="not lzma"):
        Codecs().get("msgpack+lzma").decode(b"\x01" + strong)
    wide = struct.pack("<IBB", 0xFD2FB528, 0, (29 - 10) << 3) + bytes(3)
    with pytest.raises(DecodingError, match="not zstd"):
        Codecs().get("msgpack+zstd").decode(b"\x01" + wide)


# ---- other bytes -----------------------------------------------------------------------------------------


@each_algorithm
def test_what_is_cut_or_has_something_behind_it_is_refused(by: str) -> None:
    codec = Codecs().writer("msgpack", by)
    whole = codec.encode(TEXT)
    with pytest.raises(DecodingError, match=r"cut|not"):
        codec.decode(whole[:-1])
    with pytest.raises(DecodingError, match="something follows"):
        codec.decode(whole + b"x")
    with pytest.raises(DecodingError, match="the first one says nothing"):
        codec.decode(b"\x02" + whole[1:])
    with pytest.raises(DecodingError, match="the first one says nothing"):
        codec.decode(b"")


@each_algorithm
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=60), place=st.integers(min_value=0), byte=st.integers(0, 255))
def test_any_bytes_are_a_value_or_a_decoding_error(by: str, data: bytes, place: int, byte: int) -> None:
    codec = Codecs().writer("msgpack", by)
    damaged = bytearray(codec.encode(TEXT))
    damaged[place % len(damaged)] = byte
    for each in (data, b"\x01" + data, bytes(damaged)):
        try:
            codec.decode(each)
        except DecodingError:
            pass


# ---- names -----------------------------------------------------------------------------------------------


def test_celerys_names_are_understood() -> None:
    assert {name: algorithm_name("compression", name) for name in ALIASES} == ALIASES
    assert [algorithm_name("compression", name) for name in (None, "none")] == [None, None]
    for unknown in ("brotli", "", 5, b"zlib"):
        with pytest.raises(ConfigurationError, match="compression must be one of bz2, bzip2, gzip"):
            algorithm_name("compression", unknown)


def test_a_compression_that_is_not_known_here_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no compression named 'snappy' in this version"):
        Codecs().get("msgpack+snappy")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liteq.codec.compression._algorithms", {})
    monkeypatch.setattr("liteq.codec.compression._ZSTD_MODULES", ("no_such.zstd",))
    with pytest.raises(ExtraRequiredError, match=r"zstd extra: pip install 'liteq-queue\[zstd\]'"):
        Codecs().writer("msgpack", "zstd")
