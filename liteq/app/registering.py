"""What `@q.task(...)` returns, as a type checker sees it: an async function makes a task of what it gives."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from liteq.task import AsyncTask, Task

__all__ = ["RegistersBound", "RegistersPlain"]

P = ParamSpec("P")
R = TypeVar("R")


class RegistersPlain(Protocol):
    """A decorator that makes a function a task."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class RegistersBound(Protocol):
    """A decorator that makes a function a task, which is its own first argument."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> Task[P, R]: ...
