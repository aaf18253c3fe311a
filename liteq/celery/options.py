"""Celery's options of tasks and calls as liteq takes them, and which task goes where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, cast

from liteq.app.conf import KNOWN
from liteq.app.conf import NOT_BUILT as TASK_NOT_BUILT
from liteq.calls.options import NOT_BUILT, CallOptions
from liteq.celery.telling import warn
from liteq.errors import ConfigurationError, NotSupportedError

__all__ = [
    "CALL_REFUSED",
    "CALL_SILENT",
    "TASK_REFUSED",
    "TASK_SILENT",
    "TASK_WITHOUT_EFFECT",
    "as_utc",
    "call_options",
    "check_task_options",
    "is_task_option",
    "route_of",
]

TASK_SILENT: Mapping[str, str] = {
    "acks_late": "it is always so",
    "acks_on_failure": "it is always so",
    "acks_on_timeout": "it is always so",
    "acks_on_failure_or_timeout": "it is always so",
    "reject_on_worker_lost": "a job whose worker died runs again; see `max_crashes`",
    "track_started": "it is always so",
    "store_errors_even_if_ignored": "it is always so",
    "send_events": "there are no events",
    "trail": "there are no workflows yet",
    "lazy": "tasks are made when they are needed",
    "shared": "see `shared_task`",
    "resultrepr_maxsize": "results are not kept as text",
    "abstract": "a class is a task only when it is registered",
}
"""Options of tasks that are fulfilled anyway, or have no meaning here: accepted silently."""

TASK_WITHOUT_EFFECT: Mapping[str, str] = {
    "throws": "what a task raises is logged as an error",
}
"""Options of tasks that Celery has and liteq lacks, and whose lack harms nobody: they warn."""

TASK_REFUSED: Mapping[str, str] = {
    "typing": "only `typing=False`: arguments are always checked against the signature",
    **{
        name: why.removesuffix(".")
        for name, why in TASK_NOT_BUILT.items()
        if name not in {*TASK_SILENT, *TASK_WITHOUT_EFFECT, "typing", "base"}
    },
}
"""Options of tasks that Celery has and liteq lacks, and whose lack would be noticed."""

CALL_SILENT: Mapping[str, str] = {
    "retry": "there is no server",
    "retry_policy": "there is no server",
    "producer": "there is no server",
    "delivery_mode": "every job is in the file",
    "add_to_parent": "there are no workflows yet",
}
"""Options of calls that have no meaning here: accepted silently."""

CALL_REFUSED: Mapping[str, str] = {
    name: why.removesuffix(".") for name, why in NOT_BUILT.items() if name not in CALL_SILENT
}
"""Options of calls that Celery has and liteq lacks; None is the same as leaving one out."""


def is_task_option(name: str) -> bool:
    """Tell whether an attribute of a task's class is one of liteq's options."""
    return name in KNOWN and name != "bind"


def check_task_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a task without those that mean nothing here.

    Raises:
        NotSupportedError: `typing=False`; arguments are always checked.
    """
    kept = {}
    for name, value in options.items():
        if name in TASK_WITHOUT_EFFECT:
            warn(f"The task option {name} has no effect: {TASK_WITHOUT_EFFECT[name]}.")
        elif name == "typing":
            if not value:
                raise NotSupportedError("typing=False is not possible: arguments are always checked.")
        elif name not in TASK_SILENT and (value or name not in TASK_REFUSED):
            kept[name] = value
    return kept


def call_options(options: Mapping[str, Any]) -> CallOptions:
    """Return the options of a call as liteq takes them: naive times are in UTC, as Celery has it."""
    kept = {
        name: as_utc(value) if name in ("eta", "expires") else value
        for name, value in options.items()
        if name not in CALL_SILENT and not (value is None and name in NOT_BUILT)
    }
    return cast(CallOptions, kept)


def as_utc(value: Any) -> Any:
    """Return a time without a zone in UTC, whatever the settings say, and anything else as it is."""
    if isinstance(value, datetime) and value.utcoffset() is None:
        return value.replace(tzinfo=UTC)
    return value


def route_of(task: str, routes: Any) -> Mapping[str, Any]:
    """Return the options that `task_routes` has for a task; nothing if none.

    Raises:
        ConfigurationError: routes that are neither names nor patterns of tasks.
    """
    for pattern, route in _pairs(routes):
        if pattern == task or fnmatchcase(task, pattern):
            found = {"queue": route} if isinstance(route, str) else route
            if not isinstance(found, Mapping) or not found.keys() <= {"queue", "priority"}:
                raise ConfigurationError(
                    f"task_routes[{pattern!r}] must be a queue name, or a dict with 'queue' and 'priority', "
                    f"not {route!r}."
                )
            return found
    return {}


def _pairs(routes: Any) -> Iterable[tuple[str, Any]]:
    if not routes:
        return
    for each in routes if isinstance(routes, list | tuple) else [routes]:
        if isinstance(each, Mapping):
            yield from each.items()
        elif isinstance(each, tuple | list) and len(each) == 2 and isinstance(each[0], str):
            yield each[0], each[1]
        else:
            raise ConfigurationError(f"task_routes takes names or patterns of tasks, not {each!r}.")
