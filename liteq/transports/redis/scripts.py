"""The Lua scripts of the verbs, as they are sent: read when first needed, then called by their digest."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path

__all__ = ["Script", "Word", "pack", "read_script", "words_of"]

FOLDER = Path(__file__).with_name("scripts")
WITH = b"-- with:"
"""What a script's first line begins with, if others are to stand before it."""

GUARD = b"""redis.call('EXISTS', string.sub(KEYS[1], 1, -6) .. 'nothing')
"""
"""Fails where the keys are being moved to another node of a cluster, before anything is changed.

A node that gives keys away lets a script run whose one named key is still there, and ends it at the first
other key that is not; the node that takes them lets it run among those that have come so far. A key that
never exists is the first that is missed.
"""

Word = bytes | str | int | float


class Script:
    """One script.

    Args:
        source: its text.
        key: the key that it is given.
        guarded: whether it is not to run while its keys are being moved to another node of a cluster.

    Attributes:
        source: its text.
        digest: what the server calls it.
    """

    __slots__ = ("_by_digest", "_by_source", "digest", "source")

    def __init__(self, source: bytes, key: bytes, guarded: bool = False) -> None:
        self.source = source = GUARD + source if guarded else source
        self.digest = sha1(source, usedforsecurity=False).hexdigest()
        self._by_digest = pack(("EVALSHA", self.digest, 1, key))
        self._by_source = pack(("EVAL", source, 1, key))

    def call(self, words: Sequence[bytes], loaded: bool) -> bytes:
        """Return the command that runs it with these arguments, already packed.

        Args:
            words: the arguments, packed.
            loaded: whether the server may know the script; else its whole text is sent.
        """
        head = self._by_digest if loaded else self._by_source
        return b"*%d\r\n%b%b" % (4 + len(words), head, b"".join(words))


def words_of(values: Sequence[Word]) -> list[bytes]:
    """Pack the words of a command, each as Redis reads it; a float with all its digits."""
    words: list[bytes] = []
    append = words.append
    for value in values:
        if isinstance(value, bytes):
            word = value
        elif isinstance(value, str):
            word = value.encode("utf-8", "surrogateescape")
        else:
            word = b"%d" % value if isinstance(value, int) else repr(value).encode("ascii")
        append(b"$%d\r\n%b\r\n" % (len(word), word))
    return words


def pack(values: Sequence[Word]) -> bytes:
    """Pack words of a command into one piece."""
    return b"".join(words_of(values))


def read_script(name: str, key: bytes, guarded: bool = False) -> Script:
    """Read a script, and what its first line names, from their files.

    Args:
        name: that of the file, without its ending.
        key: the key that it is given.
        guarded: as for `Script`.
    """
    return Script(_read(name), key, guarded)


def _read(name: str) -> bytes:
    own = (FOLDER / f"{name}.lua").read_bytes()
    needs = own.partition(b"\n")[0]
    parts = needs.removeprefix(WITH).decode().split(",") if needs.startswith(WITH) else []
    return b"\n".join([*(_read(part.strip()) for part in parts), own])
