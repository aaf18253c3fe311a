"""Signatures, as Celery programs use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Self

from liteq import canvas as own
from liteq.celery.absent import refuse_attribute, refuse_name
from liteq.celery.state import app_or_default

__all__ = ["Signature", "maybe_signature", "signature", "subtask"]

_WORKFLOWS = "workflows are not built yet; call the next task at the end of this one."
ABSENT_ATTRIBUTES = dict.fromkeys(("link", "link_error", "on_error", "freeze", "stamp"), _WORKFLOWS)
"""What Celery's signatures have and these lack, each with why."""


class Signature(own.Signature[Any]):
    """A call that has not been made; see `liteq.Signature`. As in Celery, `set` changes it in place."""

    __slots__ = ()

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Set options of the call, as `apply_async` takes them; return the signature."""
        self.options = {**self.options, **options}
        self.immutable = self.immutable if immutable is None else immutable
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Say whether it takes further arguments."""
        self.immutable = immutable

    def clone(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Signature:
        """Return a copy, with further arguments (unless it is immutable) and options."""
        if self.immutable:
            args, kwargs = (), None
        return Signature(
            self.task,
            (*args, *self.args),
            {**self.kwargs, **(kwargs or {})},
            {**self.options, **options},
            self.immutable,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task here, as a plain function."""
        whole = self.clone(args, kwargs)
        called: Any = self.task
        return called(*whole.args, **whole.kwargs)

    def apply(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run the task here, as a job that nothing stores."""
        whole = self.clone(args, kwargs, **options)
        called: Any = self.task
        return called.apply(whole.args, whole.kwargs, **whole.options)

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name

    def __or__(self, other: object) -> NoReturn:
        """Refuse: there are no chains."""
        refuse_name(__name__, "chain", ABSENT)

    def __getattr__(self, name: str) -> NoReturn:
        refuse_attribute(self, name, ABSENT_ATTRIBUTES)


class NamedTask:
    """A task that is known by its name only.

    Args:
        name: the name.
        app: the application that sends its calls.
    """

    def __init__(self, name: str, app: Any) -> None:
        self.name = name
        self._app = app

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Enqueue a call."""
        return self._app.send_task(self.name, args, kwargs, **options)


def signature(
    varies: Any,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    app: Any = None,
    immutable: bool = False,
    **more: Any,
) -> Signature:
    """Return a signature.

    Args:
        varies: a task, its name, or a signature, which is copied.
        args: the positional arguments.
        kwargs: the arguments by name.
        options: options of the call.
        app: the application of a task that is given by name; default the current one.
        immutable: take no further arguments.
        more: further options of the call.
    """
    options = {**(options or {}), **more}
    if isinstance(varies, own.Signature):
        return Signature(varies.task, varies.args, varies.kwargs, varies.options, varies.immutable).clone(
            args or (), kwargs, **options
        )
    task = varies
    if isinstance(varies, str):
        app = app_or_default(app)
        task = app.known_tasks.get(varies) or NamedTask(varies, app)
    return Signature(task, tuple(args or ()), kwargs, options, immutable)


subtask = signature


def maybe_signature(d: Any, app: Any = None, clone: bool = False) -> Any:
    """Return a signature as it is, or copied; None for None."""
    return signature(d, app=app) if clone and d is not None else d


ABSENT = dict.fromkeys(("chain", "group", "chord", "chunks", "xmap", "xstarmap"), _WORKFLOWS)
"""What Celery has here, each with why it is not."""


def __getattr__(name: str) -> NoReturn:
    refuse_name(__name__, name, ABSENT)
