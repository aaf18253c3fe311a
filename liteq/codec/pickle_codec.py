"""The pickle codec: for what nothing else can carry. To decode it is to run what it says.

So it is refused unless both ends accept it, and its jobs and results are signed (see `liteq.codec.signing`).
"""

from __future__ import annotations

import pickle

from liteq.errors import DecodingError, EncodingError

__all__ = ["PickleCodec"]

_PROTOCOL = 5
"""Of Python 3.8 and later; said here because producers and workers may be of different versions."""


class PickleCodec:
    """Encodes values with pickle; the classes and functions that they name have to be importable."""

    name = "pickle"

    def encode(self, value: object) -> bytes:
        """Return the value as a pickle.

        Raises:
            EncodingError: it holds something that cannot be pickled.
        """
        try:
            return pickle.dumps(value, _PROTOCOL)
        except Exception as error:  # an object runs its own code when it is pickled, and may raise anything
            raise EncodingError(f"The value cannot be pickled: {type(error).__name__}: {error}") from error

    def decode(self, data: bytes) -> object:
        """Return the value that `encode` was given; this runs whatever the bytes say.

        Raises:
            DecodingError: these bytes are no pickle, or need something that is not here.
        """
        try:
            value: object = pickle.loads(data)
        except Exception as error:
            raise DecodingError(
                f"These bytes cannot be unpickled: {type(error).__name__}: {error}"
            ) from error
        return value
