"""What a task of a Celery program knows about its job: the fields of liteq, and Celery's others."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NoReturn, Self

from liteq.calls import request as own
from liteq.celery.absent import refuse_attribute

__all__ = ["Request"]

_NOT_KEPT = "it is not kept with a job."
_LOG = "what a worker logs, and where to, says its command line."
ABSENT_ATTRIBUTES = {
    "origin": f"{_NOT_KEPT} Give it to the call, as headers={{...}}.",
    "argsrepr": f"{_NOT_KEPT} Use request.args.",
    "kwargsrepr": f"{_NOT_KEPT} Use request.kwargs.",
    "shadow": "a job shows under its task's name.",
    "loglevel": _LOG,
    "logfile": _LOG,
    "stamps": "there are no stamps; use headers.",
    "stamped_headers": "there are no stamps; use headers.",
    "replaced_task_nesting": "workflows are not built yet.",
}
"""What Celery's requests have and these lack, each with what to do instead."""


class Request(own.Request):
    """The job that a task runs for, as `self.request`; see `liteq.Request` for most of its fields.

    Attributes:
        group: None, as are `group_index`, `chord`, `chain`, `callbacks` and `errbacks`: there are no
            workflows yet.
        reply_to: None: results are in the queue's file.
        utc: True.
    """

    __slots__ = ()

    group: None = None
    group_index: None = None
    chord: None = None
    chain: None = None
    callbacks: None = None
    errbacks: None = None
    reply_to: None = None
    utc = True

    @classmethod
    def showing(cls, request: own.Request) -> Self:
        """Return a request of liteq's as one of these."""
        return cls(**{name: getattr(request, name) for name in _FIELDS})

    @property
    def correlation_id(self) -> str | None:
        """The job's id, as in Celery."""
        return self.id

    @property
    def delivery_info(self) -> dict[str, Any]:
        """The queue name as `routing_key`, the `priority`, and whether a worker died under the job before."""
        return {
            "exchange": "",
            "routing_key": self.queue,
            "priority": self.priority,
            "redelivered": self.attempt > self.retries + 1,
        }

    def __getattr__(self, name: str) -> NoReturn:
        refuse_attribute(self, name, ABSENT_ATTRIBUTES)


_FIELDS = [field.name for field in fields(own.Request)]
