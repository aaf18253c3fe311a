"""The calls of a transport's verbs: packed, numbered, and answered.

Each thread is a *caller*, and numbers its calls that change something. The scripts keep the last number and
reply of each caller, so that a call that is sent again because the connection broke is done once; see
`base.lua`.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from liteq.transports.redis.connection import Connection
from liteq.transports.redis.records import pack, unpack
from liteq.transports.redis.scripts import Word

__all__ = ["Caller", "Calls"]

KEEP_REPLIES = 60
"""Seconds for which a reply is kept at least, after the time that a call may take."""


class Caller:
    """One thread, to the store.

    Attributes:
        name: what no other thread of any program is called.
        number: that of its last call that changes something.
        answered: that of its last turn whose reply has arrived, for each worker that it takes turns for.
    """

    __slots__ = ("answered", "name", "number", "pid")

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.name = os.urandom(9)
        self.number = 0
        self.answered: dict[int, int] = {}


class Calls:
    """The calls of one transport, from any number of threads.

    Args:
        connection: where they go.
        patience: seconds that the connection tries for.
    """

    def __init__(self, connection: Connection, patience: float) -> None:
        self._connection = connection
        self._keep = int(2 * patience) + KEEP_REPLIES
        self._local = threading.local()

    def caller(self) -> Caller:
        """Return the calling thread; a forked child is another."""
        found: Caller | None = getattr(self._local, "caller", None)
        if found is None or found.pid != os.getpid():
            found = self._local.caller = Caller()
        return found

    def ask(self, script: str, question: object = False) -> Any:
        """Run a script that changes nothing, and return its answer."""
        return unpack(self._connection.run(script, (pack(question),), mutates=False))

    def act(self, script: str, *facts: object) -> Any:
        """Run a script that changes something, once, and return its answer.

        Raises:
            StoreError: as `Connection.run` does; the call may have been done.
        """
        return self.send(script, self.caller(), pack(facts))

    def do(self, script: str, *words: Word) -> Any:
        """Run a script that takes its facts as words; for the one that is run most."""
        return self.send(script, self.caller(), *words)

    def send(self, script: str, caller: Caller, *words: Word) -> Any:
        """Run a script as the next call of a caller."""
        caller.number += 1
        return unpack(self._connection.run(script, (caller.name, caller.number, self._keep, *words)))
