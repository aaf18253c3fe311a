"""What `Queue.conf` is: the queue's settings to read, and `beat_schedule` to set, as Celery programs do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, NoReturn, Self

from liteq.app.attribution import Place
from liteq.app.conf import QueueSettings
from liteq.app.declaring import Declaration, Declarations
from liteq.app.naming import nearest
from liteq.app.recurring import CALL_OPTIONS, Recurring, describe, tell_of
from liteq.calls.policies import POLICY_OPTIONS
from liteq.errors import ConfigurationError, LiteqError

__all__ = ["BeatSchedule", "QueueConf"]

_SETTINGS = tuple(
    field.name for field in fields(QueueSettings) if field.name not in ("signer", "cipher", "codecs")
)
_NEEDED = ("task", "schedule")
_KEYS = (*_NEEDED, "args", "kwargs", "options", "relative", "timezone", *POLICY_OPTIONS)


class BeatSchedule(dict[str, Mapping[str, Any]]):
    """The dict that is `q.conf.beat_schedule`: checks each entry as it comes in.

    Args:
        declarations: what is declared with the queue.
        entries: what is in it at first.
    """

    def __init__(self, declarations: Declarations, entries: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__()
        self._declarations = declarations
        self._place: Place = declarations.place()
        for name, entry in entries.items():
            self[name] = entry

    def __setitem__(self, name: str, entry: Mapping[str, Any]) -> None:
        """Declare one schedule.

        Raises:
            ConfigurationError: it has a key that is not known, lacks one that it needs, or has a value that
                cannot be.
        """
        work = read_entry(self._declarations, name, entry)
        self._place = self._declarations.place()
        with _telling_of(name):
            self._declarations.check(work)
        self._declarations.refuse_declared(Declaration(work, self._place))
        super().__setitem__(name, entry)

    def setdefault(self, name: str, entry: Any = None) -> Any:
        """Declare a schedule if there is none of this name; return the one that there is."""
        if name not in self:
            self[name] = entry
        return self[name]

    def update(self, *entries: Any, **named: Any) -> None:
        """Declare schedules."""
        for name, entry in dict(*entries, **named).items():
            self[name] = entry

    def __ior__(self, entries: Any) -> Self:  # type: ignore[override,misc]
        """Declare schedules."""
        self.update(entries)
        return self

    def declared(self) -> list[Declaration]:
        """Return what it says now: a program may have changed what is in its entries.

        Raises:
            ConfigurationError: as `__setitem__`.
        """
        return [
            Declaration(read_entry(self._declarations, name, entry), self._place)
            for name, entry in self.items()
        ]


class QueueConf:
    """A queue's configuration by Celery's name for it.

    `beat_schedule` can be read, set, and changed in place. All else are the queue's settings, which can be
    read here, and are given to `Queue(...)`.

    Args:
        settings: the queue's settings.
        declarations: what is declared with the queue.
    """

    __slots__ = ("_beat_schedule", "_declarations", "_queue_settings")

    def __init__(self, settings: QueueSettings, declarations: Declarations) -> None:
        self._queue_settings = settings
        self._declarations = declarations
        self._beat_schedule: BeatSchedule = BeatSchedule(declarations, {})
        declarations.read_also(
            lambda: self._beat_schedule.declared(), lambda name: name in self._beat_schedule
        )

    @property
    def beat_schedule(self) -> dict[str, Mapping[str, Any]]:
        """Schedules by name, each a dict.

        Its keys are `task` (the task's name), `schedule` (as `Queue.add_periodic_task` takes it), and
        perhaps `args`, `kwargs`, `options` (those of the call), `relative`, `timezone` and the policies.
        """
        return self._beat_schedule

    @beat_schedule.setter
    def beat_schedule(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        if not isinstance(entries, Mapping):
            raise ConfigurationError(f"beat_schedule must be a dict of schedules by name, not {entries!r}.")
        self._beat_schedule = BeatSchedule(self._declarations, entries)

    def __getattr__(self, name: str) -> Any:
        if name in _SETTINGS:
            return getattr(self._queue_settings, name)
        if name.startswith("__"):
            raise AttributeError(name)
        # Both what users of a dict-like configuration and what Python's own `hasattr` expect.
        raise NoSettingError(_unknown(name))

    def __setattr__(self, name: str, value: object) -> None:
        if name in QueueConf.__slots__ or name == "beat_schedule":
            object.__setattr__(self, name, value)
        else:
            self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        if name in _SETTINGS:
            raise ConfigurationError(
                f"q.conf.{name} cannot be set, because the queue is made by now; give it to "
                f"Queue(..., {name}=...)."
            )
        raise ConfigurationError(_unknown(name))

    def __dir__(self) -> list[str]:
        return ["beat_schedule", *_SETTINGS]


class NoSettingError(ConfigurationError, AttributeError):
    """There is no setting of this name."""


def read_entry(declarations: Declarations, name: object, entry: object) -> Recurring:
    """Return what an entry of `beat_schedule` declares.

    Raises:
        ConfigurationError: it has a key that is not known, lacks one that it needs, or has a value that
            cannot be.
    """
    if not isinstance(name, str):
        raise ConfigurationError(f"The names in beat_schedule must be strings, not {name!r}.")
    with _telling_of(name):
        return _read_entry(declarations, f"beat_schedule[{name!r}]", name, entry)


@contextmanager
def _telling_of(name: str) -> Iterator[None]:
    """Let errors in the block name the entry that they are about."""
    try:
        yield
    except LiteqError as error:
        tell_of(f"beat_schedule[{name!r}]", error)
        raise


def _read_entry(declarations: Declarations, what: str, name: str, entry: object) -> Recurring:
    if not isinstance(entry, Mapping):
        raise ConfigurationError(f"{what} must be a dict, not {entry!r}.")
    for key in entry:
        if key in CALL_OPTIONS:
            raise ConfigurationError(f"{what} has {key!r}, which belongs into its 'options'.")
        if key not in _KEYS:
            raise ConfigurationError(f"{what} has no key {key!r}.{nearest(str(key), list(_KEYS))}")
    for key in _NEEDED:
        if key not in entry:
            raise ConfigurationError(f"{what} lacks the key {key!r}.")
    options = entry.get("options") or {}
    if not isinstance(options, Mapping):
        raise ConfigurationError(f"{what}['options'] must be a dict, not {options!r}.")
    twice = next((key for key in options if key in entry and entry[key] != options[key]), None)
    if twice is not None:
        raise ConfigurationError(f"{what} says {twice!r} twice, once in its 'options'.")
    rest = {key: entry[key] for key in entry if key not in (*_NEEDED, "args", "kwargs", "options")}
    return describe(
        what,
        declarations.store,
        entry["schedule"],
        entry["task"],
        args=entry.get("args"),
        kwargs=entry.get("kwargs"),
        name=name,
        options={**options, **rest},
    )


def _unknown(name: str) -> str:
    return f"q.conf has no setting {name!r}.{nearest(name, ['beat_schedule', *_SETTINGS])}"
