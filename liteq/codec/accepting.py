"""Which codecs a queue reads and writes, by the labels that its jobs carry.

A job's label is its codec's name, and behind it what was done with the bytes: `msgpack`, `json+zlib`,
`msgpack+zstd+aes`. With a compression in its label, the first byte of a payload tells whether that one was
compressed: short ones are not, nor are those that would not get smaller.
"""

from __future__ import annotations

from collections.abc import Collection

from liteq.codec import compression
from liteq.codec.base import Codec
from liteq.codec.registry import (
    PICKLE,
    SEPARATOR,
    get_codec,
    guarded_codec,
    is_installed,
    is_known,
    no_codec,
)
from liteq.errors import (
    ConfigurationError,
    ContentDisallowed,
    DecodingError,
    EncryptionKeyError,
)

__all__ = ["ENCRYPTED", "MAX_DECOMPRESSED", "THRESHOLD", "Codecs", "Compressed", "base_of", "check_accept"]

ENCRYPTED = f"{SEPARATOR}aes"
"""How the label of a job ends whose payload, options and result are encrypted."""
THRESHOLD = 1024
"""Bytes from which on payloads are compressed. Of 1,000 bytes of records, zlib spares 700 in 9 µs; of 250, it
spares 130, which hardly shows in a file that is read and written in pages of 4,096."""
MAX_DECOMPRESSED = 1 << 24
"""Bytes; a value takes many times the memory of its payload, up to a hundred times."""

_AS_IT_IS = b"\x00"
_COMPRESSED = b"\x01"


class Compressed:
    """A codec whose payloads are compressed where that makes them smaller.

    Args:
        codec: encodes the values.
        by: compresses the bytes.
        threshold: bytes below which nothing is compressed.
        limit: the most bytes that a payload may take decompressed. A larger one is written as it is.
    """

    def __init__(self, codec: Codec, by: compression.Algorithm, threshold: int, limit: int) -> None:
        self.name = f"{codec.name}{SEPARATOR}{by.name}"
        self._codec = codec
        self._by = by
        self._threshold = threshold
        self._limit = limit

    def encode(self, value: object) -> bytes:
        """Return the value as bytes; raises EncodingError for one that would not come back the same."""
        data = self._codec.encode(value)
        if self._threshold <= len(data) <= self._limit:
            smaller = self._by.compress(data)
            if len(smaller) < len(data):
                return _COMPRESSED + smaller
        return _AS_IT_IS + data

    def decode(self, data: bytes) -> object:
        """Return the value that was encoded; raises DecodingError for other bytes, and for too many."""
        mark, content = data[:1], data[1:]
        if mark == _COMPRESSED:
            content = compression.decompress(self._by, content, self._limit)
        elif mark != _AS_IT_IS:
            raise DecodingError(f"These bytes are not a payload of {self.name}: the first one says nothing.")
        return self._codec.decode(content)


class Codecs:
    """The codecs that a queue accepts.

    Args:
        accept: the names of codecs; None for all that are safe to read: those built in but for pickle, and
            those that this process has registered or uses.
        threshold: bytes from which on payloads are compressed.
        max_decompressed: the most bytes that a payload may take decompressed.
    """

    __slots__ = ("_accept", "_found", "_limit", "_threshold", "find")

    def __init__(
        self,
        accept: Collection[str] | None = None,
        threshold: int = THRESHOLD,
        max_decompressed: int = MAX_DECOMPRESSED,
    ) -> None:
        self._accept = None if accept is None else frozenset(accept)
        self._threshold = threshold
        self._limit = max_decompressed
        self._found: dict[str, Codec] = {}
        # Looked up for every job; whoever does so asks `get` only for what is not in there.
        self.find = self._found.get

    def accepts(self, name: object) -> bool:
        """Tell whether payloads of a codec are read and written here."""
        if self._accept is None:
            return is_known(name) and name != PICKLE
        return name in self._accept

    def get(self, label: str) -> Codec:
        """Return what reads and writes the payloads of a label.

        Raises:
            ContentDisallowed: its codec is not accepted here.
            EncryptionKeyError: it is that of encrypted payloads, which have to be opened first.
            ConfigurationError: there is no such codec or compression here.
            ExtraRequiredError: it needs a library that is not installed here.
        """
        codec = self._found.get(label)
        if codec is None:
            codec = self._found[label] = self._make(label)
        return codec

    def _make(self, label: object) -> Codec:
        if not isinstance(label, str):
            raise no_codec(label)
        if label.endswith(ENCRYPTED):
            raise EncryptionKeyError(
                "It is encrypted, and there is no encryption_key here. Use the application that has it."
            )
        name, _, compressed = label.partition(SEPARATOR)
        if not self.accepts(name):
            # What an installed package brings along is not imported because a job names it.
            raise self._disallowed(name) if is_known(name) or self._accept is not None else no_codec(name)
        codec = guarded_codec(name)
        if not compressed:
            return codec
        if compressed not in compression.ALGORITHMS:
            raise ConfigurationError(
                f"There is no compression named {compressed!r:.100} in this version of liteq; known are "
                f"{', '.join(compression.ALGORITHMS)}."
            )
        return Compressed(codec, compression.algorithm(compressed), self._threshold, self._limit)

    def get_to_show(self, label: str) -> Codec:
        """Return what reads the payloads of a label for people, who have not made sure whose they are.

        Raises:
            ContentDisallowed: it is that of pickles, which could run anything; or as `get`.
            ConfigurationError: as `get`.
        """
        if base_of(label) == PICKLE:
            raise ContentDisallowed("It is a pickle, which is not read to be shown: that could run anything.")
        return self.get(label)

    def writer(self, serializer: str, compressed: str | None) -> Codec:
        """Return what writes payloads; its name is their label.

        Args:
            serializer: the name of a codec.
            compressed: the name of a compression, or None.

        Raises:
            ConfigurationError: there is no such codec or compression, or it is not accepted here.
            ExtraRequiredError: it needs a library that is not installed here.
        """
        if self._accept is None and serializer != PICKLE:
            # Asked for by the program itself, so that one of an installed package may be imported.
            get_codec(serializer)
        if not self.accepts(serializer):
            if not is_known(serializer):
                raise no_codec(serializer)
            raise ConfigurationError(
                f"serializer={serializer!r} is not among what the queue accepts; give it to "
                f"Queue(accept={{...}})."
            )
        return self.get(serializer if compressed is None else f"{serializer}{SEPARATOR}{compressed}")

    def changed(self, label: str, serializer: str | None, compressed: str | None) -> Codec:
        """Return what writes payloads as a label says, but for what is given.

        Args:
            label: a label that is written here.
            serializer: the name of a codec; None for that of the label.
            compressed: what compresses, by any of its names; None for what the label says.

        Raises:
            ConfigurationError: as `writer`.
        """
        base, _, own = label.partition(SEPARATOR)
        by = own or None if compressed is None else compression.algorithm_name("compression", compressed)
        return self.writer(serializer or base, by)

    def _disallowed(self, name: str) -> ContentDisallowed:
        return ContentDisallowed(
            f"Payloads of the codec {name!r:.100} are not accepted here, so nothing of it was decoded. If "
            f"you trust all who can write to the queue, add {name!r:.100} to accept= of the Queue."
        )


def base_of(label: object) -> str:
    """Return the name of the codec that a label begins with; "" for what is no label."""
    return label.partition(SEPARATOR)[0] if isinstance(label, str) else ""


def check_accept(value: object) -> frozenset[str] | None:
    """Return what `Queue(accept=...)` was given.

    Raises:
        ConfigurationError: no collection of names, or a name that no codec has here.
    """
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Collection):
        raise ConfigurationError(f"accept takes a set of the names of codecs, not {value!r}.")
    if not value:
        raise ConfigurationError(
            "accept is empty, so that nothing could be read; leave it out, or name a codec."
        )
    for name in value:
        if not is_known(name) and not (isinstance(name, str) and is_installed(name)):
            raise no_codec(name)
    return frozenset(value)
