"""Rewrites a value into what a format holds by itself, wrapping everything else in its form.

It goes by exact types. A subclass is refused and not taken for its base, because it would come back as
something else than it went in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import Enum
from typing import Any

from liteq.codec.forms import Compound, Leaf, form_of
from liteq.codec.types import dotted_name
from liteq.errors import EncodingError

__all__ = ["MAX_DEPTH", "Lowering"]

MAX_DEPTH = 100
"""Levels of nesting in a value. What is encoded can be decoded: this is well below the recursion limits
of Python and of the formats, even where a level of the value is written as two."""

_NO_KEY = object()
_BASES = (str, bytes, int, float, complex, list, dict, tuple, set, frozenset, bytearray)


class Lowering:
    """The rewriting for one format.

    Args:
        plain: the types that the format holds by itself, containers aside.
        keys: the types of keys that its maps hold.
        wrap: makes what the format writes for a form and its content.
        reserved: a key that only `wrap` may put in a map; by default there is none.
        fits: tells whether a value of a type that is not plain can be written plainly all the same.
    """

    def __init__(
        self,
        plain: frozenset[type],
        keys: frozenset[type],
        wrap: Callable[[Leaf | Compound, object], object],
        reserved: object = _NO_KEY,
        fits: Callable[[object], bool] | None = None,
    ) -> None:
        self._plain = plain
        self._are_plain = plain.issuperset
        self._keys = keys
        self._wrap = wrap
        self._reserved = reserved
        self._fits = fits

    def lower(self, value: Any, depth: int = MAX_DEPTH - 1) -> object:
        """Return the value rewritten; raises EncodingError for what cannot travel."""
        kind = type(value)
        if kind in self._plain:
            return value
        if kind is list:
            # This test runs in C; it spares flat lists, which most are, a call for each item.
            return value if not value or self._are_plain(map(type, value)) else self._lower_list(value, depth)
        if kind is dict:
            if not value:
                return value
            if self._keys.issuperset(map(type, value)) and self._reserved not in value:
                return self._lower_dict(value, depth)
        if self._fits is not None and self._fits(value):
            return value
        form = form_of(kind)
        if isinstance(form, Leaf):
            return self._wrap(form, form.dump(value))
        if isinstance(form, Compound):
            return self._wrap(form, self._lower_list(form.dump(value), depth))
        raise EncodingError(_refusal(value))

    def _lower_list(self, items: list[object], depth: int) -> list[object]:
        if self._are_plain(map(type, items)):
            return items
        self._require(depth)
        return [self.lower(item, depth - 1) for item in items]

    def _lower_dict(self, items: dict[object, object], depth: int) -> dict[object, object]:
        if self._are_plain(map(type, items.values())):
            return items
        self._require(depth)
        return {key: self.lower(item, depth - 1) for key, item in items.items()}

    def _require(self, depth: int) -> None:
        if depth <= 0:
            raise EncodingError(
                f"The value is nested more than {MAX_DEPTH} levels deep, or contains itself; "
                f"pass it in a flatter shape."
            )


def _refusal(value: object) -> str:
    kind = type(value)
    name = dotted_name(kind)
    if isinstance(value, Enum) or dataclasses.is_dataclass(kind):
        what = "an Enum" if isinstance(value, Enum) else "a dataclass"
        return (
            f"{name} is {what} that is not registered; decorate it with liteq.codec.register_type, in a "
            f"module that the workers import too."
        )
    if isinstance(value, memoryview):
        return "A memoryview is a view of somebody else's bytes; pass bytes(value)."
    for base in _BASES:
        if isinstance(value, base):
            plain = base.__name__
            return f"Type {name} would come back as a plain {plain}; pass {plain}(value) if that will do."
    return f"Type {name} cannot be stored; pass its parts, or put them in a dataclass that is registered."
