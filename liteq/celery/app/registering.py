"""How functions and classes become an application's tasks, and where others of its modules are found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from liteq.app.conf import MEMORY_URL, TaskSettings, queue_settings
from liteq.app.naming import definition_of, name_task, nearest
from liteq.calls.arguments import check_function
from liteq.celery.app.discovering import import_modules, related_modules
from liteq.celery.app.task import Task, function_task, given_options, runner_of
from liteq.celery.conf import Settings
from liteq.celery.exceptions import NotRegistered
from liteq.celery.options import check_task_options, is_task_option, route_of
from liteq.celery.state import shared
from liteq.errors import ConfigurationError, DuplicateTaskError, NotSupportedError
from liteq.queue import Queue

__all__ = ["TaskRegistration"]

_PROVISIONAL = queue_settings(
    MEMORY_URL,
    durability="full",
    serializer="msgpack",
    result_expires=None,
    visibility_timeout=60.0,
    timezone="UTC",
    eager=False,
    max_payload=1,
    disable_sync_subtasks=True,
    default_queue="celery",
    busy_timeout=1.0,
    create=True,
    file_mode=0o600,
)
"""What options are checked against before there is a queue."""


class TaskRegistration:
    """The part of an application that is about its tasks.

    Attributes:
        conf: the settings.
        known_tasks: the tasks by name.
        shared_tasks: those that are shared by all applications, by what makes them.
        task_cls: the class of the tasks.
    """

    conf: Settings
    known_tasks: dict[str, Task]
    shared_tasks: dict[Any, Task]
    task_cls: Any
    _queue: Queue | None
    _lock: Any
    _discovered: list[tuple[Any, str | None]]

    @property
    def queue(self) -> Queue:
        """The queue, made at first use."""
        raise NotImplementedError

    def task(self, *args: Any, **options: Any) -> Any:
        """Make a function a task: `@app.task`, or `@app.task(...)` with options.

        Args:
            args: the function, where the decorator has no options.
            options: `bind`, `base` (a class that descends from `Task`), and those of `TaskOptions`; what
                Celery has besides is accepted, warned of or refused, as the guide says.

        Raises:
            ConfigurationError: not a function, an unknown option, or a value that it cannot have.
            NotSupportedError: an option that is not built yet.
            DuplicateTaskError: another function has this task name.
        """
        if len(args) == 1 and callable(args[0]) and not options:
            return self.add_function(args[0], {})
        if args:
            raise ConfigurationError(f"@app.task(...) takes options by name, not {args[0]!r}.")
        return lambda function: self.add_function(function, options)

    def add_function(self, function: Callable[..., Any], options: Mapping[str, Any]) -> Task:
        """Make a function a task; the options are those of `task`."""
        if isinstance(function, Task):
            raise ConfigurationError(f"{function!r} is a task already.")
        check_function(function)
        given = check_task_options(options)
        base = given.pop("base", None) or self.task_cls
        bind = given.pop("bind", False)
        for name in given:
            if not is_task_option(name) and not hasattr(base, name):
                # Says what it is, or which one it is near to.
                TaskSettings.of({name: given[name]}, _PROVISIONAL)
        return self._add(function_task(self, function, base, bind, given))

    def register_task(self, task: Any, **options: Any) -> Task:
        """Register an instance of a class of tasks, or the class; return the task."""
        task = task(**options) if isinstance(task, type) else task
        if not isinstance(task, Task):
            raise ConfigurationError(f"register_task() takes a task, as MyTask(), not {task!r}.")
        task._app = self
        return self._add(task)

    def _add(self, task: Task) -> Task:
        runner = runner_of(task)
        options = given_options(task)
        settings = TaskSettings.of(options, _PROVISIONAL)
        task.name = name_task(runner, settings.name).name
        with self._lock:
            known = self.known_tasks.get(task.name)
            if known is not None and definition_of(runner_of(known)) != definition_of(runner):
                raise DuplicateTaskError(
                    f"Two tasks are named {task.name!r}. Rename one, or give it a name of its own: "
                    "@app.task(name='...')."
                )
            self.known_tasks[task.name] = task
            vars(task)["_named"] = settings.name
            if self._queue is not None:
                self._register(self._queue, task)
        return task

    def _register(self, queue: Queue, task: Task) -> None:
        conf = self.conf
        options = given_options(task)
        options.pop("name", None)
        if (named := vars(task)["_named"]) is not None:
            options["name"] = named
        defaults = {
            "ignore_result": conf.task_ignore_result,
            "time_limit": conf.task_time_limit,
            "priority": conf.task_default_priority,
            **route_of(task.name, conf.task_routes),
        }
        options = {**{name: value for name, value in defaults.items() if value is not None}, **options}
        hard, soft = options.get("time_limit"), conf.task_soft_time_limit
        if soft is not None and (hard is None or soft < hard):
            options.setdefault("soft_time_limit", soft)
        register: Any = queue.task(**options)
        register(runner_of(task))

    def registered(self, task: Task) -> Any:
        """Return the task of the queue that one of this application's tasks is.

        Raises:
            NotRegistered: a class of tasks that was not registered.
        """
        found = self.queue.registry.tasks.get(task.name)
        if found is None:
            raise NotRegistered(
                f"{type(task).__qualname__} is not registered; write task = app.register_task(...) with it."
            )
        return found

    def _take_shared(self) -> None:
        for share in [*shared]:
            if share not in self.shared_tasks:
                share(self)

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks by name."""
        self._take_shared()
        return _Tasks(self.known_tasks)

    @property
    def Task(self) -> type[Task]:  # noqa: N802 (Celery's name)
        """The class of this application's tasks, to descend from."""
        kind: type[Task] = type("Task", (self.task_cls,), {"_app": self})
        return kind

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Let workers and beat import the module `tasks` of each package that has one.

        Args:
            packages: the packages, or a function that returns them.
            related_name: another name of the module.
            force: import them at once.
        """
        if packages is None:
            raise NotSupportedError(
                "autodiscover_tasks() takes the packages here, such as lambda: settings.INSTALLED_APPS."
            )
        if force:
            import_modules(related_modules(packages, related_name))
        else:
            self._discovered.append((packages, related_name))

    def import_default_modules(self) -> None:
        """Import what `include`, `imports` and `autodiscover_tasks` name."""
        for packages, related_name in [*self._discovered]:
            import_modules(related_modules(packages, related_name))
        for names in (self.conf.include, self.conf.imports):
            import_modules([names] if isinstance(names, str) else names)


class _Tasks(dict[str, Task]):
    def __missing__(self, name: str) -> NoReturn:
        raise NotRegistered(f"No task is named {name!r} here.{nearest(name, self)}")
