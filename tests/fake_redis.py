"""A program that speaks like a Redis server, and says what a test wants and no real one can be brought to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO, Self

__all__ = ["FakeRedis", "bulk"]

Answer = Callable[[list[bytes]], bytes | None]


def bulk(text: str) -> bytes:
    """Return a text as an answer."""
    return b"$%d\r\n%s\r\n" % (len(text.encode()), text.encode())


class FakeRedis:
    """Answers each command on a port of this machine, as long as the block lasts.

    Args:
        answer: returns the whole answer to a command, or None to close its connection without one.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[list[bytes]] = []
        """The commands, but not those by which a client introduces itself."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._begin(self._accept)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _begin(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            if self._closed:
                caller.close()
                return
            self._open.append(caller)
            self._begin(lambda caller=caller: self._serve(caller))  # type: ignore[misc]

    def _serve(self, caller: socket.socket) -> None:
        try:
            with caller, caller.makefile("rb") as lines:
                while words := _read(lines):
                    reply = b"+OK\r\n" if words[0] == b"CLIENT" else self._reply(words)
                    if reply is None:
                        return
                    caller.sendall(reply)
        except OSError:
            return

    def _reply(self, words: list[bytes]) -> bytes | None:
        self.asked.append(words)
        return self.answer(words)

    def close(self) -> None:
        """Close all connections, and wait for the threads."""
        self._closed = True
        # A thread that sleeps in `accept` is woken by a caller everywhere; by its end here and there.
        with socket.socket() as waker:
            waker.connect_ex(("127.0.0.1", self.port))
        self._listening.close()
        for caller in self._open:
            try:
                caller.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _read(lines: BinaryIO) -> list[bytes]:
    """Read one command; nothing at the end."""
    head = lines.readline()
    if not head.startswith(b"*"):
        return []
    words = []
    for _ in range(int(head[1:])):
        size = int(lines.readline()[1:])
        words.append(lines.read(size + 2)[:-2])
    return words
