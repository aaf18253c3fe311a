"""A process's connections to the server of one queue, and what happens when they break.

A call goes out through a connection that nobody else uses at that moment. One that fails for a reason that
passes is made again, after pauses that grow from 10 ms to half a second, for as long as `busy_timeout` says.
When a connection breaks before the answer has come, nobody knows whether the script ran: so each call that
changes something has an id, and says when it may be a repetition; the scripts see to the rest.
"""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from liteq.errors import LiteqError, StoreUnavailableError, StoreUnreachableError
from liteq.transports.redis.client import Link
from liteq.transports.redis.dialing import Dialer
from liteq.transports.redis.scripts import Script, Word, pack, read_script, words_of
from liteq.transports.redis.trouble import Kind, Trouble, translate, understand
from liteq.urls import RedisUrl

__all__ = ["Connection"]

LOGGER = logging.getLogger("liteq")

FIRST_PAUSE, LAST_PAUSE = 0.01, 0.5
"""Seconds before a call is made again."""
LEAST_WAIT = 0.05
"""Seconds that a server may take at least to answer, also if a call is late."""
MOST_IDLE = 32
"""Connections that are kept while nobody uses them."""
MOST_REDIRECTIONS = 5
"""How often in a row a call is sent elsewhere at once, before it waits."""

_FLAGS = (b"$1\r\n0\r\n", b"$1\r\n1\r\n")


class Connection:
    """What the verbs of one transport talk to their server through; for any number of threads.

    Args:
        url: where the server is.
        busy_timeout: seconds that a call may wait for a server that does not serve, in all.

    Attributes:
        prefix: what the names of the queue's keys start with, in braces.
        shown: the URL without any password.
        guarded: whether no script is to run while its keys are being moved to another node of a cluster.
    """

    def __init__(self, url: RedisUrl, busy_timeout: float = 30.0) -> None:
        self.url = url
        self.shown = url.shown
        self.guarded = url.kind == "cluster"
        self.prefix = url.prefix
        self.key = f"{{{url.prefix}}}:liteq".encode()
        self._busy_timeout = busy_timeout
        self._hurry = math.inf
        self._dialer = Dialer(url, busy_timeout)
        self._scripts: dict[str, Script] = {}
        self._idle: deque[Link] = deque(maxlen=MOST_IDLE)
        self._inherited: list[deque[Link]] = []
        self._closed = False
        self._own = threading.local()
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._numbers = count(1)
        self._process = os.urandom(6).hex()

    @property
    def patience(self) -> float:
        """Seconds that a call waits now for a server that does not serve, in all."""
        return min(self._busy_timeout, self._hurry)

    def hurry(self, seconds: float | None) -> None:
        """Let calls, those under way too, wait for at most so many seconds; None: for as long as before."""
        self._hurry = math.inf if seconds is None else seconds
        self._dialer.hurry(seconds)

    @contextmanager
    def until(self, deadline: float | None) -> Iterator[None]:
        """Let the calls of this thread in the block wait until a moment at most, on the monotonic clock."""
        before, self._own.deadline = self.deadline, deadline
        try:
            yield
        finally:
            self._own.deadline = before

    @property
    def deadline(self) -> float | None:
        """Until when the calls of this thread wait at most, on the monotonic clock; None: no such moment."""
        found: float | None = getattr(self._own, "deadline", None)
        return found

    # ---- calls -----------------------------------------------------------------------------------

    def run(
        self,
        script: str,
        args: Sequence[Word],
        *,
        mutates: bool = True,
        call: str | None = None,
        again: bool = False,
    ) -> Any:
        """Run a script on the server, and return its answer, all texts in it as bytes.

        Args:
            script: the name of its file in the folder `scripts`. Its one key is `self.key`.
            args: its arguments, behind the call's id and `0`, or `1` if the call may have been done already.
            mutates: whether it changes anything; if not, its arguments are `args` alone.
            call: the id of this call, from `new_call`; by default one of its own.
            again: whether a call of this id has failed without an answer, and is made again.

        Raises:
            StoreUnreachableError: the server did not serve in time; the call may have been done.
            StoreFullError: the server takes no more; the call was not done.
            StoreError: the server refuses for another reason, which does not pass.
        """
        known = self._scripts.get(script)
        if known is None:
            known = self._scripts[script] = read_script(script, self.key, self.guarded)
        words = words_of(args)
        if mutates:
            words[:0] = _id_word(call or self.new_call()), _FLAGS[again]
        link = self._take() if self.deadline is None else None
        if link is None:
            return self._persist(known, words, mutates, None)
        try:
            link.send_packed_command((known.call(words, True),))
            answer = link.read_response(disable_decoding=True)
        except Exception as error:
            return self._persist(known, words, mutates, self._understand(link, error))
        except BaseException:
            # An answer that nobody has read must not be taken for that of the next call.
            link.disconnect()
            raise
        self._idle.append(link)
        return answer

    def new_call(self) -> str:
        """Return an id that no other call has."""
        if os.getpid() != self._pid:
            self._forget_parent()
        return f"{self._process}{next(self._numbers):x}"

    def run_script(self, script: Script, args: Sequence[Word], *, patience: float | None = None) -> Any:
        """Run a script that may be done twice, and return its answer; its arguments are `args` alone.

        Args:
            script: what is run.
            args: its arguments.
            patience: seconds to wait for a server that does not serve, if not as long as others do.

        Raises:
            StoreError: as for `run`.
        """
        return self._persist(script, words_of(args), False, None, patience)

    def command(self, *words: Word) -> Any:
        """Send a command that may be done twice, and return the answer, all texts in it as bytes.

        Raises:
            StoreError: as for `run`.
        """
        return self._persist(b"*%d\r\n%b" % (len(words), pack(words)), [], False, None)

    def dial(self) -> Link:
        """Return a connection of its own to the server, for its caller to use and to disconnect.

        Raises:
            Exception: what redis-py raises; `translated` makes it an error of ours.
        """
        return self._dialer.dial()

    def close(self) -> None:
        """Close all connections; idempotent."""
        self._closed = True
        self._drop_idle()

    # ---- connections -----------------------------------------------------------------------------

    def _take(self) -> Link | None:
        """Return a connection that nobody uses, if there is one."""
        if os.getpid() != self._pid:
            self._forget_parent()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _forget_parent(self) -> None:
        """In a forked child, leave the connections of the parent alone: what either sent would reach both."""
        self._inherited.append(self._idle)
        self._idle = deque(maxlen=MOST_IDLE)
        self._begin()

    def _drop_idle(self) -> None:
        while True:
            try:
                self._idle.pop().disconnect()
            except IndexError:
                return

    def _understand(self, link: Link, error: Exception) -> Trouble:
        """Return what a failed call means; keep the connection if it still serves."""
        trouble = understand(error)
        if trouble.kind is Kind.BROKEN or trouble.code == "READONLY" or not trouble.code:
            link.disconnect()
            # What has broken one has mostly broken all.
            self._drop_idle()
            if self.url.kind == "cluster":
                # Another node knows whether this one has still the queue, and says so without delay.
                self._dialer.turn_away((link.host, link.port))
        else:
            self._idle.append(link)
        return trouble

    # ---- trying again ----------------------------------------------------------------------------

    def _persist(
        self,
        what: Script | bytes,
        words: list[bytes],
        mutates: bool,
        trouble: Trouble | None,
        patience: float | None = None,
    ) -> Any:
        """Make a call, for the first time or again, until it is done or it is too late.

        Args:
            what: a script, or a whole command.
            words: the script's arguments.
            mutates: whether the second of them says that the call may have been done.
            trouble: what has become of it so far; None before the first attempt.
            patience: seconds to wait in all; by default as long as `busy_timeout`.
        """
        attempts = _Attempts(self, patience)
        loaded = True
        while True:
            if trouble is not None:
                if trouble.kind is Kind.BROKEN and mutates:
                    words[1] = _FLAGS[True]
                loaded = loaded and trouble.kind is not Kind.NOT_LOADED
                self._prepare_again(trouble, attempts, mutates and words[1] == _FLAGS[True])
            command = what if isinstance(what, bytes) else what.call(words, loaded)
            trouble, answer = self._attempt(command)
            if trouble is None:
                self._tell_served()
                return answer

    def _attempt(self, command: bytes) -> tuple[Trouble | None, Any]:
        if self._closed:
            raise StoreUnavailableError(f"{self.shown}: this queue was closed; open it again.")
        link = self._take()
        try:
            if link is None:
                link = self._dialer.dial()
        except LiteqError:
            raise
        except Exception as error:
            trouble = understand(error)
            if trouble.kind is Kind.FINAL:
                return trouble, None
            self._tell_down(trouble)
            # Nothing was sent.
            return trouble._replace(kind=Kind.NOT_NOW) if trouble.kind is Kind.BROKEN else trouble, None
        try:
            link.send_packed_command((command,))
            deadline = self.deadline
            if deadline is not None and not link.can_read(max(LEAST_WAIT, deadline - time.monotonic())):
                raise TimeoutError("Timeout reading from socket")
            answer = link.read_response(disable_decoding=True)
        except Exception as error:
            return self._understand(link, error), None
        except BaseException:
            link.disconnect()
            raise
        self._idle.append(link)
        return None, answer

    def _prepare_again(self, trouble: Trouble, attempts: _Attempts, in_doubt: bool) -> None:
        """Pause before the next attempt; raise if there is no point in it, or no time."""
        if trouble.kind is Kind.FINAL:
            raise translate(trouble, self.shown)
        if trouble.kind is Kind.NOT_HERE:
            self._dialer.follow(trouble.address)
            self._drop_idle()
        if not attempts.pause(trouble.kind is Kind.NOT_LOADED or trouble.address is not None):
            raise StoreUnreachableError(
                f"{self.shown}: the Redis server did not serve within {attempts.patience:.3g} s "
                f"({trouble.text}).{' What was asked of it may have been done.' if in_doubt else ''}"
            )

    def _tell_down(self, trouble: Trouble) -> None:
        if _down_since.setdefault(self.shown, now := time.monotonic()) is now:
            LOGGER.warning("%s cannot be reached (%s); trying again.", self.shown, trouble.text)

    def _tell_served(self) -> None:
        since = _down_since.pop(self.shown, None) if _down_since else None
        if since is not None:
            LOGGER.warning("%s serves again, after %.1f s.", self.shown, time.monotonic() - since)


_down_since: dict[str, float] = {}
"""Since when a server does not serve this process, on the monotonic clock; told once for all who ask it."""


class _Attempts:
    """The pauses between the attempts of one call, each about twice as long as the one before."""

    def __init__(self, connection: Connection, patience: float | None) -> None:
        self._connection = connection
        self._own = patience
        self._began = time.monotonic()
        deadline = connection.deadline
        self._most = math.inf if deadline is None else max(0.0, deadline - self._began)
        self._pause = FIRST_PAUSE
        self._redirections = 0

    @property
    def patience(self) -> float:
        """Seconds in all; those who wait already take note when they are to hurry."""
        return min(self._connection.patience if self._own is None else self._own, self._most)

    def pause(self, at_once: bool) -> bool:
        """Sleep until the next attempt, of which the first is always due; False if it is too late for it."""
        if at_once and self._redirections < MOST_REDIRECTIONS:
            self._redirections += 1
            return True
        is_first = self._pause == FIRST_PAUSE
        left = self._began + self.patience - time.monotonic()
        if left <= 0 and (not is_first or self._most < math.inf):
            return False
        # Drawn at random, so that those who have lost one server together do not come back together.
        pause = self._pause * random.uniform(0.5, 1.0)
        time.sleep(pause if is_first else min(pause, left))
        self._pause = min(LAST_PAUSE, 2 * self._pause)
        return True


def _id_word(call: str) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(call), call.encode("ascii"))
