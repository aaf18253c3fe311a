"""The json codec: for payloads that people or other programs read.

Everything that JSON lacks is an object of two entries, `{"__liteq__": "tuple", "v": [1, 2]}`, with the
tags of the table in `liteq.codec.forms`. A dict with keys that are not strings, or with a key
`"__liteq__"` of its own, is tagged too: its content is the list of keys and values in turn. The output
is strict JSON: infinities and NaN are tagged, not written as JavaScript's words.
"""

from __future__ import annotations

import json
import math

from liteq.codec.forms import BY_TAG, Compound, Leaf, load
from liteq.codec.lowering import Lowering
from liteq.errors import DecodingError, EncodingError

__all__ = ["JsonCodec"]

_TAG = "__liteq__"
_CONTENT = "v"
_BITS = 64
_KEYS: frozenset[type] = frozenset({str})
_PLAIN: frozenset[type] = frozenset({type(None), bool, int, float, str})


class JsonCodec:
    """Encodes values as JSON in UTF-8; see the module's text for what JSON lacks."""

    name = "json"

    def encode(self, value: object) -> bytes:
        """Return the value as JSON.

        Raises:
            EncodingError: it holds something that would not come back the same; says what, and what to do.
        """
        try:
            try:
                text = _write(_lower(value))
            except ValueError as error:
                # Rare: NaN, an infinity, or an integer of thousands of digits. To look at each number
                # beforehand would make long lists of numbers many times slower.
                if isinstance(error, EncodingError):
                    raise
                text = _write(_lower_carefully(value))
            return text.encode("utf-8", "surrogatepass")
        except EncodingError:
            raise
        except Exception as error:  # a dataclass runs its own code when it is read, and may raise anything
            raise EncodingError(
                f"The value cannot be written as JSON: {type(error).__name__}: {error}"
            ) from error

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


def _wrap(form: Leaf | Compound, content: object) -> object:
    return {_TAG: form.tag, _CONTENT: content}


def _unwrap(found: dict[str, object]) -> object:
    if _TAG not in found:
        return found
    tag = found.pop(_TAG)
    if len(found) != 1 or _CONTENT not in found or not isinstance(tag, str):
        raise DecodingError(
            f"These bytes are not a JSON payload: an object with {_TAG!r} has the wrong entries."
        )
    return load(BY_TAG.get(tag), found[_CONTENT])


def _is_common_number(value: object) -> bool:
    if type(value) is int:
        return value.bit_length() <= _BITS
    return type(value) is float and math.isfinite(value)


_lower = Lowering(_PLAIN, _KEYS, _wrap, reserved=_TAG).lower
_lower_carefully = Lowering(_PLAIN - {int, float}, _KEYS, _wrap, reserved=_TAG, fits=_is_common_number).lower

# No ASCII escapes: two lone surrogates in a row, escaped, would be read as one character.
_write = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_read = json.JSONDecoder(object_hook=_unwrap).decode
