"""The codecs of others, held to what a codec promises."""

from __future__ import annotations

from liteq.codec.base import Codec
from liteq.errors import CodecError, ConfigurationError, DecodingError, EncodingError

__all__ = ["Guarded", "check_codec"]


class Guarded:
    """A codec that somebody else has written: whatever it raises, callers get the errors of codecs.

    Args:
        codec: encodes and decodes.
    """

    def __init__(self, codec: Codec) -> None:
        self.name = codec.name
        self._codec = codec

    def encode(self, value: object) -> bytes:
        """Return the value as bytes.

        Raises:
            EncodingError: the codec refused it, failed, or returned something else than bytes.
        """
        try:
            data: object = self._codec.encode(value)
        except CodecError:
            raise
        except Exception as error:
            raise EncodingError(f"The codec {self.name!r} failed: {_told(error)}") from error
        if isinstance(data, bytes):
            return data
        if isinstance(data, bytearray | memoryview):
            return bytes(data)
        raise EncodingError(f"The codec {self.name!r} returned {type(data).__name__} and not bytes.")

    def decode(self, data: bytes) -> object:
        """Return the value that was encoded; raises DecodingError, whatever the codec has raised."""
        try:
            return self._codec.decode(data)
        except CodecError:
            raise
        except Exception as error:
            raise DecodingError(f"The codec {self.name!r} failed: {_told(error)}") from error


def check_codec(codec: Codec) -> None:
    """Refuse what is no codec.

    Raises:
        ConfigurationError: it has no `encode` or no `decode`.
    """
    for method in ("encode", "decode"):
        if not callable(getattr(codec, method, None)):
            raise ConfigurationError(
                f"The codec {codec.name!r} has no method {method}(); a codec needs encode(value) and "
                "decode(data)."
            )


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(".") + "."
