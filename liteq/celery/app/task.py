"""Celery's `Task`: what `@app.task` makes, and what classes of tasks descend from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from types import FunctionType
from typing import Any, NoReturn

from liteq.calls.bound import Bound
from liteq.calls.request import RunningTask, innermost, pop_request, push_request
from liteq.celery.absent import refuse_attribute
from liteq.celery.canvas import Signature, signature
from liteq.celery.options import as_utc, call_options, is_task_option
from liteq.celery.request import Request
from liteq.celery.result import AsyncResult, EagerResult
from liteq.celery.state import app_or_default
from liteq.errors import ConfigurationError, NotSupportedError

__all__ = ["ABSENT_ATTRIBUTES", "HOOKS", "Task", "function_task", "given_options", "runner_of"]

_WORKFLOWS = "workflows are not built yet; call the next task at the end of this one."
ABSENT_ATTRIBUTES = {
    **dict.fromkeys(("map", "starmap", "chunks", "replace", "add_to_chord", "add_trail"), _WORKFLOWS),
    "send_event": "there are no events yet.",
    "backend": "the queue's file keeps the results.",
    "start_strategy": "liteq's worker is another one.",
    "signature_from_request": "a retried job keeps its arguments.",
    "rate_limit": "rate limits are not built yet.",
}
"""What Celery's tasks have and these lack, each with what to do instead."""

HOOKS = ("before_start", "on_success", "on_failure", "on_retry", "after_return", "on_replace", "shadow_name")
"""Methods of Celery's tasks that liteq's worker does not call yet."""

_beginning: ContextVar[RunningTask | None] = ContextVar("liteq_celery_beginning", default=None)
"""The job whose task is called by the worker just now, and not by other code."""


class Task(Bound):
    """A task of a Celery program.

    Calling it runs the function here. A class of tasks has a method `run`, and is registered with
    `app.register_task(ItsClass())`; the options of `@app.task` may be attributes of the class.

    Attributes:
        name: the task's name.
        run: the function.
        max_retries: how many failed attempts are tried again.
        default_retry_delay: seconds before a retry where nothing else says how long.
    """

    name: Any = None
    run: Callable[..., Any]
    max_retries: Any = 3
    default_retry_delay: Any = 180
    ignore_result: Any = None
    time_limit: Any = None
    soft_time_limit: Any = None
    _app: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        hooks = [name for name in HOOKS if name in vars(cls)]
        if hooks:
            raise NotSupportedError(
                f"{cls.__qualname__}.{hooks[0]}() would never be called: liteq has no such hooks yet. "
                "Put what it does into the task itself, in try/except where it is about failures."
            )

    @property
    def app(self) -> Any:
        """The application; the current one for a task that is not registered."""
        return app_or_default(self._app)

    @property
    def store(self) -> Any:  # type: ignore[override]
        """The hold on the application's store."""
        return self.app.queue.store

    @property
    def policy(self) -> Any:  # type: ignore[override]
        """The retry options."""
        return self.registered.policy

    @property
    def registered(self) -> Any:
        """The `liteq.Task` that it is; raises NotRegistered for a class that was not registered."""
        return self.app.registered(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task here, as a plain call."""
        running = innermost()
        if running is not None and _beginning.get() is running:
            _beginning.set(None)
            return self.run(*args, **kwargs)
        make = partial(Request, task=self.name, args=args, kwargs=kwargs, called_directly=True)
        token = push_request(make, direct=True)
        try:
            return self.run(*args, **kwargs)
        finally:
            pop_request(token)

    # ---- calling -----------------------------------------------------------------------------------

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Enqueue a call with these arguments; see `liteq.Task.delay`."""
        return self.app.hand_out(self.registered.delay(*args, **kwargs))

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Enqueue a call with options; see `liteq.Task.apply_async`.

        An `eta` or `expires` without a time zone is in UTC, as in Celery.
        """
        return self.app.hand_out(self.registered.apply_async(args, kwargs, **call_options(options)))

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        throw: bool | None = None,
        **options: Any,
    ) -> EagerResult:
        """Run the task here and now, as a job that nothing stores.

        Args:
            args: the positional arguments.
            kwargs: the arguments by name.
            throw: raise what the task raises; default the setting `task_eager_propagates`.
            options: as for `apply_async`.
        """
        task = self.registered
        job = task.new_job(tuple(args or ()), kwargs or {}, task.place(call_options(options)))
        result = EagerResult(task.run_eagerly(job), self.app)
        if self.app.conf.task_eager_propagates if throw is None else throw:
            result.get(disable_sync_subtasks=False)
        return result

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a signature: a call with these arguments, as a value."""
        return Signature(self, args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a signature that takes no further arguments."""
        return Signature(self, args, kwargs, None, True)

    def signature(self, args: Sequence[Any] | None = None, *more: Any, **options: Any) -> Signature:
        """Return a signature: a call with these arguments and options, as a value."""
        return signature(self, args, *more, **options)

    subtask = signature

    def AsyncResult(self, task_id: str) -> AsyncResult:  # noqa: N802 (Celery's name)
        """Return the result of a job by its id."""
        return AsyncResult(task_id, app=self.app)

    # ---- about the running job ---------------------------------------------------------------------

    @property
    def request(self) -> Request:
        """The job that runs in this thread, if it is of this task; else one that is `called_directly`."""
        return Request.showing(super().request)

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: Any = None,
        **options: Any,
    ) -> Any:
        """Ask for another attempt of the running job; see `liteq.calls.bound.Bound.retry`.

        The arguments may be given if they are those that the job has.
        """
        request = self.request
        if args is not None and list(args) != list(request.args):
            options["args"] = args
        if kwargs is not None and dict(kwargs) != dict(request.kwargs):
            options["kwargs"] = kwargs
        return super().retry(exc=exc, throw=throw, eta=as_utc(eta), **options)

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: object = None) -> None:  # type: ignore[override]
        """Store a state of the task's own for the running job; see `liteq.calls.bound.Bound.update_state`.

        Raises:
            NotSupportedError: `task_id` is not the running job's.
        """
        if task_id is not None and task_id != self.request.id:
            raise NotSupportedError(f"{self.name}: update_state() is for the running job, not for {task_id}.")
        if state is None:
            raise ConfigurationError(f"{self.name}: update_state() takes a state: update_state(state='...').")
        super().update_state(state, meta)

    def __getattr__(self, name: str) -> NoReturn:
        refuse_attribute(self, name, ABSENT_ATTRIBUTES)

    def __repr__(self) -> str:
        return f"<@task: {self.name}>"


def function_task(
    app: Any, function: Callable[..., Any], base: type[Task], bind: bool, options: Mapping[str, Any]
) -> Task:
    """Return a task of a class of its own, whose `run` is a function.

    Raises:
        ConfigurationError: the class is none of tasks; an option that the class does not know.
    """
    if not (isinstance(base, type) and issubclass(base, Task)):
        raise ConfigurationError(f"base must be a class that descends from Task, not {base!r}.")
    own = {
        "_app": app,
        "run": function if bind else staticmethod(function),
        "__doc__": function.__doc__,
        "__module__": getattr(function, "__module__", None),
        "__qualname__": getattr(function, "__qualname__", type(function).__name__),
    }
    made = type(getattr(function, "__name__", "task"), (base,), {**own, **options})()
    assert isinstance(made, Task)
    # As a function would, for whoever shows or documents it.
    vars(made).update(__wrapped__=made.run, __name__=getattr(function, "__name__", "task"))
    return made


def given_options(task: Task) -> dict[str, Any]:
    """Return the options that a task's class, those it descends from, and the task itself give."""
    found: dict[str, Any] = {}
    for kind in reversed(type(task).__mro__):
        if issubclass(kind, Task) and kind is not Task:
            found.update({name: value for name, value in vars(kind).items() if is_task_option(name)})
    found.update({name: value for name, value in vars(task).items() if is_task_option(name)})
    return {name: value for name, value in found.items() if value is not None or name == "max_retries"}


def runner_of(task: Task) -> Callable[..., Any]:
    """Return what a worker is to call.

    Raises:
        ConfigurationError: the class has no method `run`.
    """
    run = getattr(type(task), "run", None)
    if run is None:
        raise ConfigurationError(f"{type(task).__qualname__} has no method run(), so it is no task.")
    run = task.run
    is_plain = type(task).__call__ is Task.__call__
    if is_plain and isinstance(run, FunctionType):
        return run
    called: Callable[..., Any] = run if is_plain else partial(_begin, task)

    def runner(*args: Any, **kwargs: Any) -> Any:
        return called(*args, **kwargs)

    runner.__module__, runner.__doc__ = type(task).__module__, type(task).__doc__
    runner.__name__, runner.__qualname__ = type(task).__name__, type(task).__qualname__
    # Its signature is that of `run`, and so is its place in a file.
    runner.__wrapped__ = run  # type: ignore[attr-defined]
    return runner


def _begin(task: Task, /, *args: Any, **kwargs: Any) -> Any:
    """Call a task whose class has a `__call__` of its own, as the worker's call of the job."""
    token = _beginning.set(innermost())
    try:
        return task(*args, **kwargs)
    finally:
        _beginning.reset(token)
