"""What a codec is."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Codec"]


class Codec(Protocol):
    """Turns one value into bytes and back; used by any number of threads at once."""

    @property
    def name(self) -> str:
        """What `serializer=` calls it; stored beside every payload."""

    def encode(self, value: object) -> bytes:
        """Return the value as bytes; raises EncodingError for one that would not come back the same."""

    def decode(self, data: bytes) -> object:
        """Return the value that was encoded; raises DecodingError, and nothing else, for other bytes."""
