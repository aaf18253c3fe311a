"""The table that says who sleeps and wants to be woken, shared by all processes of a queue.

It is one mapped file: `PLACES` places, each with an *armed* byte, an owner byte, a key and an address, and
what its owner attends to.
Who rings looks only at the armed bytes, so that a busy system, where nobody sleeps, pays a third of a
microsecond and makes no system call. A place that its owner left behind when it was killed is noticed
by the first ring that reaches nobody.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from pathlib import Path

from liteq.transports.local.room import allocate
from liteq.transports.local.sidefile import open_side_file

__all__ = ["JOBS", "PLACES", "RESULTS", "SCHEDULES", "BellTable"]

PLACES = 256
JOBS = 0x01
RESULTS = 0x02
SCHEDULES = 0x04
_BYTES = {JOBS: b"\x01", RESULTS: b"\x02", SCHEDULES: b"\x04"}
_ARMED = 0
_OWNED = PLACES
_FACTS = 2 * PLACES
_FACT = struct.Struct("=QQ")
"""The key (which jobs or results are meant; 0 for any) and the address that the bell's kind uses."""
_ATTENDING = _FACTS + PLACES * _FACT.size
_ATTENDANCES = _ATTENDING + PLACES
_ATTENDANCE = struct.Struct("=Qd")
"""What the owner attends to, and until when on the monotonic clock, which all processes share."""
LONGEST_ATTENDANCE = 60.0
"""Seconds."""
_SIZE = _ATTENDANCES + PLACES * _ATTENDANCE.size


class BellTable:
    """The mapped table."""

    def __init__(self, path: Path) -> None:
        fd = open_side_file(path)
        try:
            allocate(fd, _SIZE)
            self._map = mmap.mmap(fd, _SIZE)
        finally:
            os.close(fd)

    def anyone_armed(self, kind: int) -> bool:
        """Tell whether anybody sleeps and waits for this kind of news; True too if the table is closed."""
        try:
            return self._map.find(_BYTES[kind], _ARMED, _ARMED + PLACES) >= 0
        except ValueError:
            return True

    def armed(self, kind: int) -> list[int]:
        """Return the places whose owners sleep and wait for this kind of news."""
        found = []
        wanted = _BYTES[kind]
        place = self._map.find(wanted, _ARMED, _ARMED + PLACES)
        while place >= 0:
            found.append(place - _ARMED)
            place = self._map.find(wanted, place + 1, _ARMED + PLACES)
        return found

    def arm(self, place: int, kind: int) -> None:
        """Say that the owner is about to sleep."""
        self._map[_ARMED + place] = kind

    def disarm(self, place: int) -> None:
        """Say that the owner is awake, or has been rung."""
        self._map[_ARMED + place] = 0

    def is_owned(self, place: int) -> bool:
        """Tell whether the place has been taken."""
        return self._map[_OWNED + place] != 0

    def take(self, place: int, key: int, address: int) -> None:
        """Make the place somebody's."""
        self._map[_ARMED + place] = 0
        _FACT.pack_into(self._map, _FACTS + place * _FACT.size, key, address)
        self._map[_OWNED + place] = 1

    def set_key(self, place: int, key: int) -> None:
        """Change what the owner waits for."""
        _, address = self.facts(place)
        _FACT.pack_into(self._map, _FACTS + place * _FACT.size, key, address)

    def facts(self, place: int) -> tuple[int, int]:
        """Return the key and the address of a place."""
        key, address = _FACT.unpack_from(self._map, _FACTS + place * _FACT.size)
        return key, address

    def attend(self, place: int, interests: int, until: float) -> None:
        """Say until when the owner attends to something."""
        _ATTENDANCE.pack_into(self._map, _ATTENDANCES + place * _ATTENDANCE.size, interests, until)
        self._map[_ATTENDING + place] = 1

    def is_attended(self, place: int, interests: int, now: float) -> bool:
        """Tell whether the owner of a place before this one attends to the same."""
        before = self._map.find(b"\x01", _ATTENDING, _ATTENDING + place)
        while before >= 0:
            facts = _ATTENDANCES + (before - _ATTENDING) * _ATTENDANCE.size
            attended, until = _ATTENDANCE.unpack_from(self._map, facts)
            if not now < until <= now + LONGEST_ATTENDANCE:
                # It is over, or was left behind before the machine started anew.
                self._map[before] = 0
            elif attended == interests:
                return True
            before = self._map.find(b"\x01", before + 1, _ATTENDING + place)
        return False

    def leave(self, place: int) -> None:
        """Say that the owner attends to nothing any more."""
        self._map[_ATTENDING + place] = 0

    def give_up(self, place: int) -> None:
        """Make the place free."""
        self._map[_ARMED + place] = 0
        self._map[_ATTENDING + place] = 0
        self._map[_OWNED + place] = 0

    def close(self) -> None:
        """Unmap; idempotent."""
        with contextlib.suppress(BufferError):
            self._map.close()
