"""Making calls, and writing each down before it is made and after it has returned."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from itertools import count

from chaos.history import Called, JobSpec, Recorder, Refused, Returned, RolledBack
from liteq.errors import LiteqError

__all__ = ["Caller", "UndoneError"]


class UndoneError(Exception):
    """Leaves a transaction so that it is rolled back."""


class Caller:
    """Makes calls for one process.

    Args:
        recorder: where the history of this process goes.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._numbers = count(1)

    def call(
        self, jobs: Sequence[JobSpec], enqueue: Callable[[], Sequence[str]], order: str | None = None
    ) -> Sequence[str]:
        """Enqueue jobs, and return their ids; nothing if the call raised or was undone.

        Args:
            jobs: what is to be stored.
            enqueue: stores it, and returns the ids.
            order: the key of a row of the caller's own that `enqueue` writes in the same transaction.
        """
        name = str(next(self._numbers))
        self._recorder.write(Called(call=name, jobs=tuple(jobs), order=order))
        began = time.monotonic()
        try:
            ids = tuple(enqueue())
        except UndoneError:
            self._recorder.write(RolledBack(call=name))
            return ()
        except (LiteqError, sqlite3.Error) as error:
            waited = time.monotonic() - began
            self._recorder.write(Refused(call=name, error=f"{type(error).__name__}: {error}", waited=waited))
            return ()
        self._recorder.write(Returned(call=name, ids=ids))
        return ids
