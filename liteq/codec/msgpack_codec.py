"""The msgpack codec: compact, and the default.

Leaves of the table in `liteq.codec.forms` are extension values that hold their text as UTF-8. A compound
is an array whose first item is an empty extension value: `[ext(4, b""), 1, 2]` is the tuple `(1, 2)`.
Written so, and not as an extension value that holds msgpack again, it costs no copies and no recursion:
each nested decoder would take 40 kB of the C stack.
"""

from __future__ import annotations

from msgpack import ExtType, Packer, Unpacker, unpackb

from liteq.codec.forms import BY_CODE, INT, Compound, Leaf, load
from liteq.codec.lowering import Lowering
from liteq.errors import DecodingError, EncodingError

__all__ = ["MsgpackCodec"]

_PLAIN: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes})
_EMPTY_EXTENSION = b"\xc7\x00"

# A small buffer makes a new packer as fast as a kept one (0.2 µs), and a new one needs no care about
# threads, nor about values whose own code encodes something while they are being encoded.
_BUFFER = 512

_TRUSTED_SIZE = 2048
"""Bytes of a payload whose declared lengths are believed. An array is made as long as it says at once, up to
the size of the payload, and arrays nest: 20 kB of nothing but promises took 80 MB. Here it is at most 7."""
_AS_DATETIME = 3
"""What becomes of msgpack's own timestamps, which `encode` never writes."""


class MsgpackCodec:
    """Encodes values as msgpack; see the module's text for the format."""

    name = "msgpack"

    def encode(self, value: object) -> bytes:
        """Return the value as msgpack.

        Raises:
            EncodingError: it holds something that would not come back the same; says what, and what to do.
        """
        try:
            packer = Packer(
                strict_types=True, default=_pack_big, buf_size=_BUFFER, unicode_errors="surrogatepass"
            )
            data: bytes = packer.pack(_lower(value))
        except EncodingError:
            raise
        except Exception as error:  # a dataclass runs its own code when it is read, and may raise anything
            raise EncodingError(
                f"The value cannot be written as msgpack: {type(error).__name__}: {error}"
            ) from error
        return data

    def decode(self, data: bytes) -> object:
        """Return the value that `encode` was given.

        Raises:
            DecodingError: these bytes are no such thing, or hold a type that is not registered here.
        """
        try:
            if len(data) > _TRUSTED_SIZE:
                _require_complete(data)
            if _EMPTY_EXTENSION in data:
                return _Reader().read(data)
            return unpackb(
                data,
                ext_hook=_leaf,
                strict_map_key=False,
                unicode_errors="surrogatepass",
                timestamp=_AS_DATETIME,
            )
        except DecodingError:
            raise
        except Exception as error:  # bad bytes end in many kinds of errors: ValueError, MemoryError, ...
            raise DecodingError(
                f"These bytes are not a msgpack payload: {type(error).__name__}: {error}"
            ) from error


def _require_complete(data: bytes) -> None:
    """Walk through a payload without making anything of it: what is complete keeps what it promises."""
    walker = Unpacker(max_buffer_size=len(data))
    walker.feed(data)
    walker.skip()


class _Reader:
    """Decodes one payload that seems to have compounds in it."""

    def __init__(self) -> None:
        self._open = 0

    def read(self, data: bytes) -> object:
        value: object = unpackb(
            data,
            ext_hook=self._extension,
            list_hook=self._list,
            strict_map_key=False,
            unicode_errors="surrogatepass",
            timestamp=_AS_DATETIME,
        )
        if self._open:
            raise DecodingError("These bytes are not a msgpack payload: a type stands where none belongs.")
        return value

    def _extension(self, code: int, data: bytes) -> object:
        form = BY_CODE.get(code)
        if data or not isinstance(form, Compound):
            return _leaf(code, data)
        self._open += 1
        return form

    def _list(self, items: list[object]) -> object:
        if not items or type(items[0]) is not Compound:
            return items
        self._open -= 1
        return load(items[0], items[1:])


def _wrap(form: Leaf | Compound, content: object) -> object:
    if isinstance(content, list):
        return [ExtType(form.code, b""), *content]
    return ExtType(form.code, str(content).encode("utf-8", "surrogatepass"))


def _pack_big(value: object) -> object:
    """Write what the packer has no code for; after lowering, that is an integer beyond 64 bits."""
    return _wrap(INT, INT.dump(value))


def _leaf(code: int, data: bytes) -> object:
    form = BY_CODE.get(code)
    if not isinstance(form, Leaf) or not data:
        raise DecodingError(
            f"The payload holds a value of kind {code}, which this version of liteq does not know, "
            f"or it is damaged."
        )
    return form.load(data.decode("utf-8", "surrogatepass"))


_lower = Lowering(plain=_PLAIN, keys=_PLAIN, wrap=_wrap).lower
