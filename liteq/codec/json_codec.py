"""The json codec: for payloads that people or other programs read.

Everything that JSON lacks is an object of two entries, `{"__liteq__": "tuple", "v": [1, 2]}`, with the
tags of the table in `liteq.codec.forms`. A dict with keys that are not strings, or with a key
`"__liteq__"` of its own, is tagged too: its content is the list of keys and values in turn. The output
is strict JSON: infinities and NaN are tagged, not written as JavaScript's words.
"""

from __future__ import annotations

import json
import math

from liteq.codec.lowering import Lowering
from liteq.codec.marking import BITS, KEYS, TAG, unmark, with_marks, write
from liteq.errors import DecodingError

__all__ = ["JsonCodec"]

_PLAIN: frozenset[type] = frozenset({type(None), bool, int, float, str})


class JsonCodec:
    """Encodes values as JSON in UTF-8; see the module's text for what JSON lacks."""

    name = "json"

    def encode(self, value: object) -> bytes:
        """Return the value as JSON.

        Raises:
            EncodingError: it holds something that would not come back the same; says what, and what to do.
        """
        return write(value, _dump, _lower, _lower_carefully, "JSON")

    def decode(self, data: bytes) -> object:
        """Return the value that `encode` was given.

        Raises:
            DecodingError: these bytes are no such thing, or hold a type that is not registered here.
        """
        try:
            value: object = _read(data.decode("utf-8", "surrogatepass"))
        except DecodingError:
            raise
        except Exception as error:  # bad bytes end in many kinds of errors: ValueError, RecursionError, ...
            raise DecodingError(
                f"These bytes are not a JSON payload: {type(error).__name__}: {error}"
            ) from error
        return value


def _unmark(found: dict[str, object]) -> object:
    return unmark(found, "JSON", "an object")


def _is_common_number(value: object) -> bool:
    if type(value) is int:
        return value.bit_length() <= BITS
    return type(value) is float and math.isfinite(value)


_lower = Lowering(_PLAIN, KEYS, with_marks, reserved=TAG).lower
_lower_carefully = Lowering(
    _PLAIN - {int, float}, KEYS, with_marks, reserved=TAG, fits=_is_common_number
).lower

# No ASCII escapes: two lone surrogates in a row, escaped, would be read as one character.
_write = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_read = json.JSONDecoder(object_hook=_unmark).decode


def _dump(value: object) -> bytes:
    return _write(value).encode("utf-8", "surrogatepass")
