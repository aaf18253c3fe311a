"""Job ids: UUID version 7 (RFC 9562), so that ids sort by the time at which they were made.

Within a process each id is greater than the one before, whatever the clock does. Between processes the
74 random bits of a first id in a millisecond keep them apart.
"""

from __future__ import annotations

import os
import random
import threading
import time

__all__ = ["id_time", "new_id"]

_RANDOM_BITS = 74
_RANDOM_LIMIT = 1 << _RANDOM_BITS
_NODE_BITS = 48
"""Bits of the last group of an id."""
_NODE_MASK = (1 << _NODE_BITS) - 1
_STEP_BITS = 40
"""Ids of one millisecond are random steps of up to this many bits apart, so the next is hard to guess."""


class _Maker:
    """Makes ids; one for each process.

    A Mersenne Twister seeded by the system gives its bits ten times as fast as `os.urandom` does, and
    nothing rests on ids being secret.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start afresh, as a forked child must: else it makes the ids that its parent makes."""
        self._lock = threading.Lock()
        self._bits = random.Random(os.urandom(32)).getrandbits
        self._millisecond = 0
        self._tail = 0
        self._head = (-1, -1)
        self._text = ""

    def make(self) -> str:
        now = time.time_ns() // 1_000_000
        with self._lock:
            if now > self._millisecond:
                self._millisecond = now
                self._tail = self._bits(_RANDOM_BITS)
            else:
                self._tail += 1 + self._bits(_STEP_BITS)
                if self._tail >= _RANDOM_LIMIT:
                    self._millisecond += 1
                    self._tail = self._bits(_RANDOM_BITS)
            head = self._millisecond, self._tail >> _NODE_BITS
            if head != self._head:
                self._head, self._text = head, _text_of(*head)
            return "%s%012x" % (self._text, self._tail & _NODE_MASK)  # noqa: UP031 (faster than an f-string)


def _text_of(millisecond: int, high: int) -> str:
    """Return all of an id but its last group; most ids of one millisecond share it."""
    return "%08x-%04x-7%03x-%04x-" % (  # noqa: UP031 (a third faster than format)
        millisecond >> 16,
        millisecond & 0xFFFF,
        high >> 14,
        0x8000 | (high & 0x3FFF),
    )


_maker = _Maker()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_maker.reset)

new_id = _maker.make
"""Return a new id, greater than any that this process made before."""


def id_time(job_id: str) -> float | None:
    """Return when an id was made, in UTC seconds since the epoch; None if it is not a version 7 UUID."""
    if len(job_id) != 36 or job_id[14] != "7" or job_id[8] != "-" or job_id[13] != "-":
        return None
    try:
        return int(job_id[:8] + job_id[9:13], 16) / 1000
    except ValueError:
        return None
