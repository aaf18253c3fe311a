"""Real programs on a real queue file; whatever a test starts is gone when it ends."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType


def wait_until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    """Look again and again until the condition holds; fail if it does not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("the condition did not come true in time")
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def processor_seconds(*pids: int) -> float:
    """Return how much processor time these processes have used (Linux only; elsewhere 0)."""
    ticks = 0
    for pid in pids if Path("/proc/self/stat").exists() else ():
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


class Program:
    """A module of tasks in a folder of its own, importable here and by workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        self._written = 0

    def write(self, name: str, source: str) -> Path:
        """Write a module, which may have been there with another text."""
        path = self.folder / f"{name}.py"
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        # Python takes what it compiled before for current if the source has the same length and was changed
        # in the same second.
        self._written += 1
        os.utime(path, times=(self._written, self._written))
        return path

    def module(self, name: str, source: str) -> ModuleType:
        """Write a module and import it here, as a producer would."""
        path = self.write(name, source)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    def run(self, *command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *command: object, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start a program in a process group of its own."""
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=cwd or self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        for process in self.started:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()
