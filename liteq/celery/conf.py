"""`app.conf`: settings by Celery's lower-case names, as attributes and as a mapping."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

from liteq.app.attribution import declaring_from, declaring_place
from liteq.app.naming import nearest
from liteq.celery.settings import SILENT, USED, WITHOUT_EFFECT, default_of, find
from liteq.celery.telling import warn
from liteq.celery.urls import check_url, is_own_store
from liteq.errors import ConfigurationError

__all__ = ["Settings"]

_VARIABLES = {"broker_url": "CELERY_BROKER_URL", "result_backend": "CELERY_RESULT_BACKEND"}
_PREFIXES = ("task_", "worker_", "result_", "beat_", "broker_", "event_", "control_", "security_")


class Settings(MutableMapping[str, Any]):
    """The settings of an application.

    Args:
        changed: called with a setting's name before that is changed, and its new value.
        beat_schedule: returns the schedules as they are now; None before there is a queue.
    """

    def __init__(
        self, changed: Callable[[str, Any], None], beat_schedule: Callable[[], dict[str, Any] | None]
    ) -> None:
        own = self.__dict__
        own["_values"] = {}
        own["_sources"] = []
        own["_changed"] = changed
        own["_beat_schedule"] = beat_schedule

    def says(self, name: str) -> bool:
        """Tell whether a setting was given."""
        self._load()
        return name in self._values

    def peek(self, name: str) -> Any:
        """Return what a setting was given, if it was."""
        self._load()
        return self._values.get(name)

    # ---- reading -----------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        self._load()
        if name == "beat_schedule":
            schedules = self._beat_schedule()
            return self._values.setdefault(name, {}) if schedules is None else schedules
        if (variable := os.environ.get(_VARIABLES.get(name, ""))) is not None:
            check_url(f"the variable {_VARIABLES[name]}", variable)
            return variable
        if name in self._values:
            return self._values[name]
        if name in USED:
            return default_of(name)
        if find(SILENT, name) is not None or find(WITHOUT_EFFECT, name) is not None:
            return None
        raise KeyError(f"There is no setting {name!r}.{nearest(name, [*USED])}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter({**dict.fromkeys(USED), **self._values})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return any(name == each for each in self)

    # ---- setting -----------------------------------------------------------------------------------

    def __setitem__(self, name: str, value: Any) -> None:
        self._set(name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        self._set(name, value)

    def __delitem__(self, name: str) -> None:
        raise ConfigurationError(f"conf.{name} cannot be deleted; set it to what it is to be.")

    def update(self, *settings: Any, **named: Any) -> None:
        """Set several."""
        for name, value in dict(*settings, **named).items():
            self._set(name, value)

    def add_source(self, source: Any, namespace: str | None, silent: bool = False) -> None:
        """Read further settings from an object or a module, by its name, when one is first asked for."""
        self._sources.append((source, namespace, silent, declaring_place()))

    def _set(self, name: str, value: Any) -> None:
        _warn_of(name)
        is_url = name == "broker_url" or (name == "result_backend" and is_own_store(str(value)))
        if is_url and value is not None:
            check_url(name, value)
        self._changed(name, value)
        self._values[name] = value

    # ---- sources -----------------------------------------------------------------------------------

    def _load(self) -> None:
        while self._sources:
            source, namespace, silent, place = self._sources.pop(0)
            try:
                found = _read(source, namespace)
            except ImportError:
                if not silent:
                    raise
                continue
            for name, value in found.items():
                # What the program says itself wins over what it has from elsewhere.
                if name not in self._values:
                    with declaring_from(place):
                        self._set(name, value)


def _warn_of(name: str) -> None:
    if name in USED or (name not in WITHOUT_EFFECT and find(SILENT, name) is not None):
        return
    why = find(WITHOUT_EFFECT, name)
    if why is not None:
        text = f"The setting {name} has no effect: {why}."
    else:
        text = f"There is no setting {name!r}.{nearest(name.lower().removeprefix('celery_'), [*USED])}"
    warn(text)


def _read(source: Any, namespace: str | None) -> dict[str, Any]:
    if isinstance(source, str):
        module, _, attribute = source.partition(":")
        source = import_module(module)
        source = getattr(source, attribute) if attribute else source
    if isinstance(source, Mapping):
        found = {str(name): value for name, value in source.items()}
    else:
        found = {name: getattr(source, name) for name in dir(source) if not name.startswith("_")}
    if namespace:
        prefix = f"{namespace}_"
        return {
            name[len(prefix) :].lower(): value
            for name, value in found.items()
            if name.upper().startswith(prefix.upper())
        }
    return {
        name: value for name, value in found.items() if isinstance(source, Mapping) or _is_one(name, value)
    }


def _is_one(name: str, value: object) -> bool:
    """Tell whether a name in a module is meant for a setting."""
    if isinstance(value, ModuleType | FunctionType | type) and name not in USED:
        return False
    known = name in USED or find(SILENT, name) is not None or find(WITHOUT_EFFECT, name) is not None
    return known or name.startswith(_PREFIXES) or name.startswith(("CELERY_", "BROKER_", "CELERYBEAT_"))
