"""Compression: the algorithms by Celery's names, and decompression that stops at a bound."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from liteq.errors import ConfigurationError, DecodingError, ExtraRequiredError

__all__ = ["ALGORITHMS", "ALIASES", "NONE", "Algorithm", "algorithm", "algorithm_name", "decompress"]

NONE = "none"
"""What `compression=` says where nothing is to be compressed, whatever the task or the queue says."""
ALIASES = {"gzip": "zlib", "bz2": "bzip2", "xz": "lzma", "zstandard": "zstd"}
"""Celery's other names of them; its gzip has always been zlib."""

_MEMORY_LIMIT = 1 << 25
"""Bytes that a decompressor may take for its window; what is written here needs 8 MiB at most."""
_ZSTD_MODULES = ("compression.zstd", "backports.zstd")
_LZMA_PRESET = 1
"""Payloads are small. The usual preset, 6, takes 94 MB, and up to seven times as long to make them a few per
cent smaller."""


class Decompressor(Protocol):
    """What all modules of the standard library have for one stream."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""

    @property
    def unused_data(self) -> bytes:
        """What follows the end of the stream."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most so many bytes of what was compressed."""


class Algorithm(NamedTuple):
    """One way to compress."""

    name: str
    compress: Callable[[bytes], bytes]
    decompressor: Callable[[], Decompressor]
    error: type[Exception] | tuple[type[Exception], ...]
    """What its decompressor raises for bytes that are none of its own."""


def _zlib() -> Algorithm:
    import zlib

    return Algorithm("zlib", zlib.compress, zlib.decompressobj, zlib.error)


def _bzip2() -> Algorithm:
    bz2 = _module("bz2")
    return Algorithm("bzip2", bz2.compress, bz2.BZ2Decompressor, (OSError, ValueError, EOFError))


def _lzma() -> Algorithm:
    lzma = _module("lzma")
    return Algorithm(
        "lzma",
        lambda data: lzma.compress(data, preset=_LZMA_PRESET),
        lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_LIMIT),
        (lzma.LZMAError, EOFError),
    )


def _zstd() -> Algorithm:
    zstd: Any = None
    for module in _ZSTD_MODULES:
        try:
            zstd = importlib.import_module(module)
            break
        except ImportError:
            continue
    if zstd is None:
        raise ExtraRequiredError(
            "compression='zstd' needs Python 3.14 or the zstd extra: pip install 'liteq-queue[zstd]'"
        )
    options = {zstd.DecompressionParameter.window_log_max: _MEMORY_LIMIT.bit_length() - 1}
    return Algorithm(
        "zstd", zstd.compress, lambda: zstd.ZstdDecompressor(options=options), (zstd.ZstdError, EOFError)
    )


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigurationError(
            f"This Python was built without the module {name}; use compression='zlib'."
        ) from None


_MAKERS = {"zlib": _zlib, "bzip2": _bzip2, "lzma": _lzma, "zstd": _zstd}
_algorithms: dict[str, Algorithm] = {}

ALGORITHMS = tuple(_MAKERS)
"""Their names."""


def algorithm_name(option: str, value: object) -> str | None:
    """Return the name of the algorithm that an option asks for; None for none.

    Raises:
        ConfigurationError: there is none of this name.
    """
    name = ALIASES.get(value, value) if isinstance(value, str) else value
    if name is None or name == NONE:
        return None
    if not isinstance(name, str) or name not in _MAKERS:
        known = ", ".join(sorted({*_MAKERS, *ALIASES}))
        raise ConfigurationError(f"{option} must be one of {known}, or {NONE!r}; not {value!r}.")
    return name


def algorithm(name: str) -> Algorithm:
    """Return an algorithm by its own name.

    Raises:
        KeyError: there is none.
        ConfigurationError: this Python lacks it.
        ExtraRequiredError: it needs a library that is not installed here.
    """
    found = _algorithms.get(name)
    if found is None:
        found = _algorithms.setdefault(name, _MAKERS[name]())
    return found


def decompress(by: Algorithm, data: bytes, limit: int) -> bytes:
    """Return what was compressed, if it takes no more than `limit` bytes.

    No more than one byte over the limit is ever made, whatever the data promises.

    Raises:
        DecodingError: it is larger, damaged, cut, or followed by something else.
    """
    stream = by.decompressor()
    try:
        # What is over the limit by one byte is over the limit.
        content = stream.decompress(data, limit + 1)
    except by.error as error:
        raise DecodingError(f"These bytes are not {by.name}: {error}") from error
    if len(content) > limit:
        raise DecodingError(
            f"The payload takes more than {limit:,} bytes once it is decompressed, which is the most that is "
            "read here. If it is yours, raise max_decompressed of the Queue."
        )
    if not stream.eof:
        raise DecodingError(f"These bytes are not {by.name}: they are cut.")
    if stream.unused_data:
        raise DecodingError(f"These bytes are not {by.name}: something follows their end.")
    return content
