"""What the program's own code says about stored schedules, in a process that may not have imported it yet."""

from __future__ import annotations

from collections.abc import Callable

from liteq.app.declaring import find_declared
from liteq.codec.protection import Protection
from liteq.errors import LiteqError
from liteq.registry import Registry, find_task
from liteq.schedule import Schedule
from liteq.timetable import ScheduleRecord
from liteq.worker.log import LOGGER

__all__ = ["FindSchedule", "LoadedCode"]

FindSchedule = Callable[[ScheduleRecord], Schedule | None]
"""Returns the schedule that the code in this process declares under the record's name, if it does."""


class LoadedCode:
    """The tasks and schedules that the modules of this process have registered.

    A supervisor starts without them: its workers import them. It does so itself once a schedule needs it.

    Args:
        url: the store.
        prefer: whose tasks are taken before all others.
        load: imports the modules, if they have not been; called once at most.
        find_schedule: looks a declared schedule up.
    """

    def __init__(
        self,
        url: str,
        *,
        prefer: Registry | None = None,
        load: Callable[[], None] | None = None,
        find_schedule: FindSchedule = find_declared,
    ) -> None:
        self._url = url
        self._prefer = prefer
        self._load = load
        self._find_schedule = find_schedule

    def schedule(self, record: ScheduleRecord) -> Schedule | None:
        """Return the schedule that is declared under the record's name; None if none is, here."""
        found = self._find_schedule(record)
        if found is None and self._load_now():
            found = self._find_schedule(record)
        return found

    def protection(self, task: str, *, load: bool) -> Protection:
        """Return what signs and encrypts the jobs of a task.

        Args:
            task: the task's name.
            load: whether it is worth importing the modules, if that is not done yet.

        Raises:
            LookupError: the task is not loaded here.
        """
        found = find_task(task, self._url, self._prefer)
        if found is None and load and self._load_now():
            found = find_task(task, self._url, self._prefer)
        if found is None:
            raise LookupError(task)
        return found.store.settings.protection

    def _load_now(self) -> bool:
        """Import the modules; tell whether that was news."""
        load, self._load = self._load, None
        if load is None:
            return False
        try:
            load()
        except LiteqError as error:
            LOGGER.warning("%s Schedules that need it are left to others.", error)
        return True
