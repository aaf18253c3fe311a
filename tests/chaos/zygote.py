"""Starts the processes of a storm quickly: by forking itself, after it has imported all that they need.

It opens no queue and runs no second thread. It reads one JSON list a line, `[number, role, argument]`, from
standard input, and says on standard output `["born", number, pid]` and `["dead", pid, status]`; the orphans
that killed supervisors leave come to it as well. When its input ends, whatever has become of the process at
the other end, it kills its whole process group, itself included.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import traceback

from chaos.roles import ROLES
from chaos.shop import FOLDER, recorder

__all__: list[str] = []

SET_CHILD_SUBREAPER = 36


def main() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    pending = b""
    while True:
        ready, _, _ = select.select([0], [], [], 0.02)
        if ready:
            read = os.read(0, 65536)
            if not read:
                os.killpg(os.getpgrp(), signal.SIGKILL)
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                number, role, argument = json.loads(line)
                _say("born", number, _start(role, argument))
        _bury()


def _bury() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say("dead", pid, os.waitstatus_to_exitcode(status))


def _say(*message: object) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _start(role: str, argument: object) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        log = os.open(FOLDER / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for descriptor, replacement in ((0, nothing), (1, log), (2, log)):
            os.dup2(replacement, descriptor)
        recorder.start(role.replace(" ", "_"))
        ROLES[role](argument)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not the parent's exit handlers; the application's own are what `start_workers` has registered.
        os._exit(status)


if __name__ == "__main__":
    main()
