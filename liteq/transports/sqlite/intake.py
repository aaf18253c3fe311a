"""Group commit: threads that enqueue at the same time share one transaction, and so one sync of the disk.

The first thread to come leads: it stores its own jobs at once. Whoever comes meanwhile waits in line, and
when the leader has committed, the first in line leads the next transaction and stores the jobs of all who
wait. A thread alone never waits, and the more threads there are, the more jobs each sync carries.

Source: DeWitt et al., "Implementation techniques for main memory database systems", SIGMOD 1984, 1-8.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from liteq.errors import LiteqError, SoftTimeLimitExceeded
from liteq.job import NewJob
from liteq.transports.sqlite.connection import Database, Unit, Write

__all__ = ["Intake"]

MOST_JOBS = 1000
"""Jobs in one shared transaction, but for a single caller that brings more."""

ATTEMPTS = 10
"""How often a leader begins again to wake the others when one signal after another keeps it from that."""

OWN_FAULT = (LiteqError, sqlite3.Error, ValueError, OverflowError, TypeError)
"""What can be wrong with the jobs or the file; anything else is raised into the leader by a signal."""


class Insert(Protocol):
    """Stores jobs in an open transaction; for each, tells whether it is new."""

    def __call__(self, unit: Unit, jobs: Sequence[NewJob], now: float) -> list[bool]: ...


class _Entry:
    """What one call of `Intake.enqueue` brought, and what became of it."""

    __slots__ = ("done", "error", "group", "heir", "jobs", "leads", "now", "stored", "thread", "woken")

    def __init__(self, jobs: Sequence[NewJob], now: float) -> None:
        self.jobs = jobs
        self.now = now
        self.stored: list[bool] = []
        self.error: Exception | None = None
        self.done = False
        """Stored, or refused with `error`."""
        self.leads = False
        self.thread = threading.get_ident()
        self.woken: threading.Lock | None = None
        """Held until somebody has dealt with it, or hands it the lead; None for one that leads at once."""
        self.group: Sequence[_Entry] = ()
        """Those whom it took from the line to store with its own."""
        self.heir: _Entry | None = None

    def wake(self) -> None:
        if self.woken is not None and self.woken.locked():
            self.woken.release()


class Intake:
    """The one door through which all threads of a process enqueue on a file.

    Exceptions that a signal raises into a thread, such as KeyboardInterrupt, may come between any two
    steps. Whoever leads then still wakes those it has served, and sends the others back to the line.

    Args:
        database: the file.
        insert: stores jobs.
    """

    def __init__(self, database: Database, insert: Insert) -> None:
        self._database = database
        self._insert = insert
        self._line: deque[_Entry] = deque()
        self._leader = 0
        """The thread that leads; 0 if nobody does."""
        # Re-entrant, because a signal's handler may enqueue as well.
        self._mutex = threading.RLock()

    def enqueue(self, jobs: Sequence[NewJob], now: float) -> list[bool]:
        """Store jobs, all or none; return for each whether it is new, once they are committed.

        Raises:
            StoreError: they could not be stored, and were not.
        """
        entry = _Entry(jobs, now)
        try:
            if self._take_lead(entry) or self._wait(entry):
                self._lead(entry)
        finally:
            if entry.leads:
                self._finish(entry)
        if entry.error is not None:
            raise entry.error
        return entry.stored

    def _take_lead(self, entry: _Entry) -> bool:
        """Become the leader if there is none, or get in line."""
        with self._mutex:
            # A leader that comes here again does so from a signal's handler, and must not wait for itself.
            if self._leader in (0, entry.thread):
                self._leader = entry.thread
                entry.leads = True
                return True
            self._database.check_usable()
            entry.woken = threading.Lock()
            entry.woken.acquire()
            self._line.append(entry)
        return False

    def _wait(self, entry: _Entry) -> bool:
        """Wait until a leader has dealt with this entry, and return False, or until it is to lead itself."""
        assert entry.woken is not None
        try:
            entry.woken.acquire()
        except BaseException:
            # A signal's exception. If a leader has taken the entry already, it will be stored all the same.
            with self._mutex:
                if entry in self._line:
                    self._line.remove(entry)
            raise
        return entry.leads

    def _lead(self, own: _Entry) -> None:
        """Store this leader's jobs, and those of all who wait."""
        if self._line:
            room = MOST_JOBS - len(own.jobs)
            with self._mutex:
                own.group = group = []
                while self._line and len(self._line[0].jobs) <= room:
                    room -= len(self._line[0].jobs)
                    group.append(self._line[0])
                    self._line.popleft()
        self._store([own, *own.group])

    def _store(self, entries: Sequence[_Entry]) -> None:
        """Store all in one transaction; where that fails because of one of them, each in its own."""
        write = self._database.write()
        try:
            with write as unit:
                for entry in entries:
                    entry.stored = self._insert(unit, entry.jobs, entry.now)
        except SoftTimeLimitExceeded:
            # Raised into this thread because its task runs for too long; the jobs are not to blame.
            self._note_end(write, entries)
            raise
        except OWN_FAULT as error:
            if write.unit is not None and len(entries) > 1:
                for entry in entries:
                    self._store([entry])
                return
            for entry in entries:
                entry.error, entry.done = error, True
        except BaseException:
            self._note_end(write, entries)
            raise
        else:
            for entry in entries:
                entry.done = True

    def _note_end(self, write: Write, entries: Sequence[_Entry]) -> None:
        """Note what is stored all the same, where an exception has come from outside."""
        if write.unit is not None and write.unit.committed:
            for entry in entries:
                entry.done = True

    def _finish(self, own: _Entry) -> None:
        """Wake those who have been served, and hand on the lead; once for certain, whatever signals come."""
        interrupted: BaseException | None = None
        for _ in range(ATTEMPTS):
            try:
                with self._mutex:
                    self._hand_on(own)
                for entry in own.group:
                    entry.wake()
                if own.heir is not None:
                    own.heir.wake()
                break
            except BaseException as error:
                interrupted = error
        if interrupted is not None:
            raise interrupted

    def _hand_on(self, own: _Entry) -> None:
        """Send back to the line whom a signal kept from being stored, and choose who leads next."""
        if own.group:
            for entry in reversed(own.group):
                if not entry.done and entry not in self._line:
                    self._line.appendleft(entry)
            own.group = [entry for entry in own.group if entry.done]
        if own.leads and own.heir is None and self._line:
            own.heir = self._line[0]
            own.heir.leads = True
        if own.heir is None:
            self._leader = 0
        elif self._line and self._line[0] is own.heir:
            self._leader = own.heir.thread
            self._line.popleft()
        own.leads = False
