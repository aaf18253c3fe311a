"""A folder with the files of a Celery program, and processes that run them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 20.0
"""Seconds in which a machine under load gets around to anything."""


class Folder:
    """Holds a program's files, and runs them as processes there.

    Args:
        path: the folder, which exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started: list[subprocess.Popen[str]] = []

    def write(self, **files: str) -> None:
        """Write modules; two underscores in a name stand for a folder."""
        for name, text in files.items():
            path = self.path.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def run(self, *words: str) -> str:
        """Run Python on these words to its end, which must be a good one; return what it printed."""
        finished = subprocess.run(
            [sys.executable, *words],
            cwd=self.path,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout.strip()

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a liteq command; it ends with the test."""
        with (self.path / f"log-{len(self._started)}").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "liteq", *words],
                cwd=self.path,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
            )
        self._started.append(process)
        return process

    def logs(self) -> str:
        """Return what the commands have printed so far."""
        return "".join(path.read_text(encoding="utf-8") for path in sorted(self.path.glob("log-*")))

    def await_log(self, *texts: str) -> None:
        """Wait until the commands have printed all of these."""
        self.until(lambda: all(text in self.logs() for text in texts), f"{texts} in the log")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"no {what}:\n{self.logs()}"
            time.sleep(0.02)

    def end(self) -> None:
        """End the commands."""
        for process in self._started:
            process.terminate()
        for process in self._started:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
