"""Signatures: a task's call as a value, to be handed on and enqueued later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Callee", "Signature"]

ResultT = TypeVar("ResultT", covariant=True)


class Callee(Protocol[ResultT]):
    """What a signature is a call of: a task."""

    @property
    def name(self) -> str:
        """The task's name."""

    @property
    def apply_async(self) -> Callable[..., ResultT]:
        """Enqueues a call; takes arguments, arguments by name, and options."""

    @property
    def aapply_async(self) -> Callable[..., Awaitable[ResultT]]:
        """The same for coroutines."""


class Signature(Generic[ResultT]):
    """A call of a task that has not been made: the task, its arguments and its options.

    `task.s(...)` and `task.si(...)` make one. Arguments are checked when it is enqueued.

    Attributes:
        task: the task.
        args: the positional arguments.
        kwargs: the keyword arguments.
        options: what `apply_async` would be given.
        immutable: made by `si()`; it takes no further arguments.
    """

    __slots__ = ("args", "immutable", "kwargs", "options", "task")

    def __init__(
        self,
        task: Callee[ResultT],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        immutable: bool = False,
    ) -> None:
        self.task = task
        self.args = args
        self.kwargs: Mapping[str, Any] = {} if kwargs is None else kwargs
        self.options: Mapping[str, Any] = {} if options is None else options
        self.immutable = immutable

    def set(self, **options: Any) -> Signature[ResultT]:
        """Return the same call with further options, as `apply_async` takes them."""
        return Signature(self.task, self.args, self.kwargs, {**self.options, **options}, self.immutable)

    def delay(self, *args: Any, **kwargs: Any) -> ResultT:
        """Enqueue the call; further arguments come before its own, unless it is immutable (as in Celery)."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> ResultT:
        """Enqueue the call, with further arguments (unless it is immutable) and options."""
        if self.immutable:
            args, kwargs = (), {}
        return self.task.apply_async(
            (*(args or ()), *self.args), {**self.kwargs, **(kwargs or {})}, **{**self.options, **options}
        )

    async def adelay(self, *args: Any, **kwargs: Any) -> ResultT:
        """Enqueue the call as `delay` does, without blocking the event loop."""
        return await self.aapply_async(args, kwargs)

    async def aapply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> ResultT:
        """Enqueue the call as `apply_async` does, without blocking the event loop."""
        if self.immutable:
            args, kwargs = (), {}
        return await self.task.aapply_async(
            (*(args or ()), *self.args), {**self.kwargs, **(kwargs or {})}, **{**self.options, **options}
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Signature):
            return NotImplemented
        mine = (self.task.name, tuple(self.args), self.kwargs, self.options, self.immutable)
        return mine == (other.task.name, tuple(other.args), other.kwargs, other.options, other.immutable)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = [repr(value) for value in self.args]
        shown += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self.task.name}({', '.join(shown)})"
