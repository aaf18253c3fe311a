"""A task together with options: what `task.options(...)` and `task.using(...)` return."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, Unpack

from liteq.calls.options import CallOptions, Placement
from liteq.canvas import Callee, Signature
from liteq.errors import NotSupportedError, SignatureError
from liteq.result import AsyncResult

__all__ = ["AsyncPublisher", "Calling", "Placer", "Publisher", "call_arguments"]

P = ParamSpec("P")
R = TypeVar("R")

Publisher = Callable[[Sequence[Any], Mapping[str, Any], Placement], AsyncResult[R]]
"""Enqueues a call: positional arguments, arguments by name, placement."""

AsyncPublisher = Callable[[Sequence[Any], Mapping[str, Any], Placement], Coroutine[Any, Any, AsyncResult[R]]]
"""The same for a coroutine."""

Placer = Callable[[Mapping[str, Any], Placement], Placement]
"""Returns the placement that options make of another one, checked."""


class Calling(Generic[P, R]):
    """A task with options, to be called any number of times; typed like the task.

    Args:
        task: the task.
        publishers: what enqueues a call, and what does so for coroutines; None where nothing can.
        placement: where and when the call is to run.
        place: makes another placement of options.
        given: the options, as they were given.
    """

    __slots__ = ("_given", "_place", "_placement", "_publishers", "_task")

    def __init__(
        self,
        task: Callee[AsyncResult[R]],
        publishers: tuple[Publisher[R], AsyncPublisher[R] | None],
        placement: Placement,
        place: Placer,
        given: Mapping[str, Any] | None = None,
    ) -> None:
        self._task = task
        self._publishers = publishers
        self._placement = placement
        self._place = place
        self._given: Mapping[str, Any] = {} if given is None else given

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Enqueue a call with these arguments; raises as `Task.delay` does."""
        return self._publishers[0](args, kwargs, self._placement)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult[R]:
        """Enqueue a call with further options; raises as `Task.apply_async` does."""
        # TypedDict and Mapping[str, Any] are the same dict at run time.
        placement = self._place({**options}, self._placement) if options else self._placement
        return self._publishers[0](*call_arguments(self._task.name, args, kwargs), placement)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Enqueue a call without blocking the event loop; raises as `Task.adelay` does."""
        return await self._apublish(args, kwargs, self._placement)

    async def aapply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncResult[R]:
        """Enqueue a call with further options without blocking the event loop; raises as `Task.adelay`."""
        placement = self._place({**options}, self._placement) if options else self._placement
        return await self._apublish(*call_arguments(self._task.name, args, kwargs), placement)

    async def _apublish(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], placement: Placement
    ) -> AsyncResult[R]:
        publish = self._publishers[1]
        if publish is None:
            raise NotSupportedError(
                f"Task {self._task.name}: using(connection) works on a connection of your own, in the thread "
                "that has it, where delay() enqueues; coroutines have `async with q.atransaction()`."
            )
        return await publish(args, kwargs, placement)

    def options(self, **options: Unpack[CallOptions]) -> Calling[P, R]:
        """Return the same with further options, which win over those it has."""
        given = {**self._given, **options}
        placement = self._place({**options}, self._placement)
        return Calling(self._task, self._publishers, placement, self._place, given)

    def s(self, *args: Any, **kwargs: Any) -> Signature[AsyncResult[R]]:
        """Return a signature: this call with these arguments and options, as a value."""
        return Signature(self._task, args, kwargs, self._given)

    def si(self, *args: Any, **kwargs: Any) -> Signature[AsyncResult[R]]:
        """Return an immutable signature, which takes no further arguments."""
        return Signature(self._task, args, kwargs, self._given, immutable=True)


def call_arguments(
    task: str, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return the arguments that `apply_async` was given, or raise SignatureError."""
    if args is None:
        args = ()
    elif not isinstance(args, tuple | list):
        raise SignatureError(f"Task {task}: args must be a tuple or a list of arguments, not {args!r}.")
    if kwargs is None:
        kwargs = {}
    elif not isinstance(kwargs, Mapping) or not all(isinstance(name, str) for name in kwargs):
        raise SignatureError(f"Task {task}: kwargs must be a dict of arguments by name, not {kwargs!r}.")
    return args, kwargs
