"""What the json and the yaml codec share: how they write what their language lacks.

That is an object, or a map, of two entries: `{"__liteq__": "tuple", "v": [1, 2]}`, with the tags of the
table in `liteq.codec.forms`.
"""

from __future__ import annotations

from collections.abc import Callable

from liteq.codec.forms import BY_TAG, Compound, Leaf, load
from liteq.errors import DecodingError, EncodingError

__all__ = ["BITS", "KEYS", "TAG", "unmark", "with_marks", "write"]

TAG = "__liteq__"
_CONTENT = "v"
BITS = 64
"""Integers of more bits are marked, because other programs may not read them."""
KEYS: frozenset[type] = frozenset({str})
"""The types of keys that an object has by itself."""

Lower = Callable[[object], object]


def with_marks(form: Leaf | Compound, content: object) -> object:
    """Return what stands for a value that the language lacks."""
    return {TAG: form.tag, _CONTENT: content}


def unmark(found: dict[str, object], language: str, kind: str) -> object:
    """Return what an object stands for: itself, or what `with_marks` was given.

    Args:
        found: the object; its entries are taken out.
        language: what the codec's language is called.
        kind: what an object is called in it, with its article.

    Raises:
        DecodingError: it is marked, and not as `with_marks` does it.
    """
    if TAG not in found:
        return found
    tag = found.pop(TAG)
    if len(found) != 1 or _CONTENT not in found or not isinstance(tag, str):
        raise DecodingError(
            f"These bytes are not a {language} payload: {kind} with {TAG!r} has the wrong entries."
        )
    return load(BY_TAG.get(tag), found[_CONTENT])


def write(
    value: object, dump: Callable[[object], bytes], lower: Lower, lower_carefully: Lower, language: str
) -> bytes:
    """Return a value as text of a language, in bytes.

    Args:
        value: what to write.
        dump: writes what the language has.
        lower: makes that of the value, and leaves numbers alone.
        lower_carefully: looks at each number beforehand too, as `dump` may refuse one; for long lists of
            numbers that takes many times as long, and it is rarely needed.
        language: what it is called.

    Raises:
        EncodingError: it holds something that would not come back the same; says what, and what to do.
    """
    try:
        try:
            return dump(lower(value))
        except ValueError as error:
            if isinstance(error, EncodingError):
                raise
            return dump(lower_carefully(value))
    except EncodingError:
        raise
    except Exception as error:  # a dataclass runs its own code when it is read, and may raise anything
        raise EncodingError(
            f"The value cannot be written as {language}: {type(error).__name__}: {error}"
        ) from error
