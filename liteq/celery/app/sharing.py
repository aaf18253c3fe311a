"""Tasks of whichever application is the current one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liteq.app.attribution import declaring_from, declaring_place
from liteq.celery.state import Proxy, app_or_default, shared

__all__ = ["shared_task"]


def shared_task(*args: Any, **options: Any) -> Any:
    """Make a function a task of every application of this program: `@shared_task`, or with options.

    What it returns stands for the task of the current application.

    Args:
        args: the function, where the decorator has no options.
        options: as `Celery.task` takes them.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        place = declaring_place()

        def share(app: Any) -> Any:
            if share not in app.shared_tasks:
                # What is said of its options is to point here, and not at who first uses the application.
                with declaring_from(place):
                    app.shared_tasks[share] = app.add_function(function, options)
            return app.shared_tasks[share]

        # Each application takes it when it is next asked for its tasks.
        shared.append(share)
        return Proxy(lambda: share(app_or_default()))

    return decorate(args[0]) if len(args) == 1 and callable(args[0]) and not options else decorate
