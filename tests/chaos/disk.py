"""What a disk may hold after a power cut, given the log of everything that was written and synced.

The rules, which are those that SQLite itself relies on, and nothing kinder:

- What was written to a file before its last completed sync is there.
- What was written after that may each be there, or not, or in part: a torn write has some of its sectors of
  512 bytes and lacks the others. Bytes outside a write are never harmed. A change of size is such a write
  as well; where a file has grown without its bytes, they are zero.
- Names that were made or removed since the directory was last synced took effect up to some moment, in
  their order, as with any journaled file system. SQLite syncs the directory with the first sync of a journal
  or WAL that it has made, and never for the database itself.
- The shared memory is gone.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from typing import NamedTuple

__all__ = ["SECTOR", "Disk", "Event"]

SECTOR = 512


class Event(NamedTuple):
    """One entry of the log."""

    kind: str
    """`create`, `delete`, `write`, `truncate`, `sync`, `sync directory`; others are for the reader."""
    name: str = ""
    file: int = 0
    """Tells two files apart that had the same name one after the other."""
    offset: int = 0
    """Of a truncation, the new size."""
    data: bytes = b""
    count: int = 0
    at: float = 0.0


class _File:
    """A file on the disk: what is there for certain, and what has been asked since."""

    def __init__(self) -> None:
        self._synced = bytearray()
        self._pending: list[Event] = []

    def ask(self, event: Event) -> None:
        self._pending.append(event)

    def sync(self) -> None:
        for event in self._pending:
            _apply(self._synced, event)
        self._pending.clear()

    def survive(self, dice: random.Random) -> bytes:
        """Return what may be left of it."""
        content = bytearray(self._synced)
        manner = dice.choice(("nothing", "all", "up to some moment", "any"))
        if manner == "nothing" or not self._pending:
            return bytes(content)
        grows = dice.random() < 0.5
        reach = len(self._pending)
        if manner == "up to some moment":
            reach = dice.randint(1, reach)
        for number, event in enumerate(self._pending[:reach], 1):
            torn = number == reach if manner == "up to some moment" else dice.random() < 0.3
            if manner == "any" and dice.random() < 0.4:
                if grows and event.kind == "write":
                    _grow(content, event.offset + len(event.data))
            elif torn and manner != "all":
                _tear(content, event, dice, grows)
            else:
                _apply(content, event)
        return bytes(content)


def _apply(content: bytearray, event: Event) -> None:
    end = event.offset + len(event.data)
    if event.kind == "truncate":
        del content[event.offset :]
        end = event.offset
    _grow(content, end)
    if event.kind == "write":
        content[event.offset : end] = event.data


def _grow(content: bytearray, size: int) -> None:
    if len(content) < size:
        content.extend(bytes(size - len(content)))


def _tear(content: bytearray, event: Event, dice: random.Random, grows: bool) -> None:
    if event.kind == "truncate":
        if dice.random() < 0.5:
            _apply(content, event)
        return
    if grows:
        _grow(content, event.offset + len(event.data))
    begin, end = event.offset, event.offset + len(event.data)
    while begin < end:
        stop = min(end, (begin // SECTOR + 1) * SECTOR)
        if dice.random() < 0.5:
            part = event.data[begin - event.offset : stop - event.offset]
            _apply(content, event._replace(offset=begin, data=part))
        begin = stop


class Disk:
    """A disk, as far as a log has been played to it.

    Args:
        forgets: names of files whose syncs are answered and not done, as a disk does that lies.
    """

    def __init__(self, forgets: Collection[str] = ()) -> None:
        self._forgets = forgets
        self._files: dict[int, _File] = {}
        self._names: dict[str, int] = {}
        self._pending_names: list[Event] = []

    def play(self, events: Iterable[Event]) -> None:
        """Let these events happen."""
        for event in events:
            match event.kind:
                case "create" | "delete":
                    self._files.setdefault(event.file, _File())
                    self._pending_names.append(event)
                case "write" | "truncate":
                    self._files[event.file].ask(event)
                case "sync" if event.name not in self._forgets:
                    self._files[event.file].sync()
                case "sync directory":
                    _rename(self._names, self._pending_names)
                    self._pending_names.clear()

    def cut(self, dice: random.Random) -> dict[str, bytes]:
        """Cut the power; return the files that may be found then. The disk itself goes on unharmed."""
        names = dict(self._names)
        reach = dice.choice([0, len(self._pending_names), dice.randint(0, len(self._pending_names))])
        _rename(names, self._pending_names[:reach])
        return {name: self._files[file].survive(dice) for name, file in names.items()}


def _rename(names: dict[str, int], events: Iterable[Event]) -> None:
    for event in events:
        if event.kind == "create":
            names[event.name] = event.file
        else:
            names.pop(event.name, None)
