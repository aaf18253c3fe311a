"""The yaml codec: for payloads that people write or read; it needs the yaml extra.

Everything that plain YAML lacks is a map of two entries with the tags of the table in `liteq.codec.forms`, as
in the json codec: `{__liteq__: tuple, v: [1, 2]}`. Only the safe loader is used, so what others have written
with YAML's own tags for dates, sets and bytes is read, and nothing is imported. Aliases are refused.
"""

from __future__ import annotations

import math
import re
from typing import Any

from liteq.codec.lowering import MAX_DEPTH, Lowering
from liteq.codec.marking import BITS, KEYS, TAG, unmark, with_marks, write
from liteq.errors import DecodingError, ExtraRequiredError

try:
    import yaml
except ImportError:
    raise ExtraRequiredError(
        "serializer='yaml' needs the yaml extra: pip install 'liteq-queue[yaml]'"
    ) from None

__all__ = ["YamlCodec"]

_DEEPEST = 2 * MAX_DEPTH + 50
"""Levels of YAML that are read, of which a level of a value takes two at most. The library takes time that
grows with the square of the depth, until Python's recursion limit ends it after half a second."""
_LONGEST_SIXTIES = 100
"""Characters of a number to the base of 60, which takes time that grows with the square of its length."""
_PLAIN: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes})
_SIMPLE = re.compile(r"[^\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff]*")


class YamlCodec:
    """Encodes values as YAML in UTF-8; see the module's text for what YAML lacks."""

    name = "yaml"

    def encode(self, value: object) -> bytes:
        """Return the value as YAML.

        Raises:
            EncodingError: it holds something that would not come back the same; says what, and what to do.
        """
        return write(value, _dump, _lower, _lower_carefully, "YAML")

    def decode(self, data: bytes) -> object:
        """Return the value that `encode` was given.

        Raises:
            DecodingError: these bytes are no such thing, or hold a type that is not registered here.
        """
        try:
            value: object = yaml.load(data.decode(), Loader=_Loader)
        except DecodingError:
            raise
        except Exception as error:  # bad bytes end in many kinds of errors: ValueError, RecursionError, ...
            told = " ".join(str(error).split())
            raise DecodingError(
                f"These bytes are not a YAML payload: {type(error).__name__}: {told}"
            ) from error
        return value


def _is_common_number(value: object) -> bool:
    return type(value) is int and value.bit_length() <= BITS


_lower = Lowering(_PLAIN, KEYS, with_marks, reserved=TAG).lower
_lower_carefully = Lowering(_PLAIN - {int}, KEYS, with_marks, reserved=TAG, fits=_is_common_number).lower


def _dump(value: object) -> bytes:
    options = {"allow_unicode": True, "sort_keys": False, "width": math.inf}
    text: str = yaml.dump(value, Dumper=_Dumper, **options)
    return text.encode()


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # the library has no types
    """Writes each value where it stands, and texts so that every character comes back."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def write_text(self, text: str) -> Any:
        # Quoted, with escapes: in the other styles, spaces beside line breaks do not all come back.
        style = None if _SIMPLE.fullmatch(text) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.write_text)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads plain YAML, and what `with_marks` made."""

    _depth = 0

    def fetch_flow_collection_start(self, kind: Any) -> None:
        # It looks a kilobyte ahead of what is composed.
        if self.flow_level > _DEEPEST:
            raise DecodingError("These bytes are not a YAML payload: they are nested too deep.")
        super().fetch_flow_collection_start(kind)

    def fetch_directive(self) -> None:
        super().fetch_directive()
        if self.tokens[-1].name == "TAG":
            # Each use of a shorthand makes a text as long as what it is short for.
            raise DecodingError("These bytes are not a YAML payload: shorthands for tags are not read.")

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            # Ten of them, nested, stand for ten thousand million values.
            raise DecodingError("These bytes are not a YAML payload: aliases are not read.")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise DecodingError("These bytes are not a YAML payload: they are nested too deep.")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def read_int(self, node: Any) -> int:
        text = self.construct_scalar(node)
        if ":" in text and len(text) > _LONGEST_SIXTIES:
            raise DecodingError("These bytes are not a YAML payload: a number is too long.")
        number: int = self.construct_yaml_int(node)
        return number

    def read_map(self, node: Any) -> Any:
        pairs = self.construct_pairs(node, deep=True)
        found = dict(pairs)
        if len(found) != len(pairs):
            raise DecodingError("These bytes are not a YAML payload: a key comes twice.")
        return unmark(found, "YAML", "a map")


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.read_int)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.read_map)
