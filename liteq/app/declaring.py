"""The recurring work that programs declare: kept in memory, until a start brings it into the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakSet, ref

from liteq.app.attribution import Place, declaring_place, place_of_error, same_place
from liteq.app.recurring import Recurring, describe, make_template, tell_of
from liteq.app.store import Store
from liteq.canvas import Signature
from liteq.errors import ConfigurationError, DuplicateScheduleError, LiteqError
from liteq.registry import Registry, await_latecomers
from liteq.schedule import Custom, Schedule, encode
from liteq.signals import Signal
from liteq.task import Task
from liteq.timetable import ScheduleRecord

__all__ = ["Declaration", "Declarations", "all_declarations", "declarations_on", "find_declared"]

_all: WeakSet[Declarations] = WeakSet()


class Declaration(NamedTuple):
    """Recurring work, and the code that declares it."""

    work: Recurring
    place: Place


class Declarations:
    """What is declared with one queue.

    Args:
        store: the queue's hold on its store.
        registry: the queue's tasks.
        queue: the queue, which receivers of the signals get as `sender`.

    Attributes:
        on_after_configure: sent once, before declarations are first brought into the store.
        on_after_finalize: sent once, right after that.
    """

    def __init__(self, store: Store, registry: Registry, queue: object) -> None:
        self.store = store
        self.registry = registry
        self.on_after_configure = Signal("on_after_configure")
        self.on_after_finalize = Signal("on_after_finalize")
        self._queue = ref(queue)
        self._declared: dict[str, Declaration] = {}
        self._more: Callable[[], Sequence[Declaration]] = tuple
        self._has_more: Callable[[str], bool] = ().__contains__
        self._called: list[Callable[..., Any]] = []
        self._is_asking = False
        _all.add(self)

    def stand_for(self, application: object, on_after_configure: Signal, on_after_finalize: Signal) -> None:
        """Let an application be the sender in the queue's place, and bring its signals along."""
        self._queue = ref(application)
        self.on_after_configure = on_after_configure
        self.on_after_finalize = on_after_finalize

    def declare(
        self,
        what: str,
        schedule: object,
        signature: object,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        name: str | None,
        options: Mapping[str, Any],
    ) -> None:
        """Declare recurring work; see `Queue.add_periodic_task`."""
        work = describe(
            what,
            self.store,
            schedule,
            signature,
            args=args,
            kwargs=kwargs,
            name=name,
            options=options,
            parameters=("args", "kwargs", "name"),
        )
        self.check(work)
        declaration = Declaration(work, self.place())
        other = self._other(declaration)
        if other is not None and not work.is_named and other.work.schedule != work.schedule:
            # One call at several times is common, and none of them needs a name for it.
            work = work._replace(name=f"{work.name[:120]} {work.schedule}"[:200])
            declaration = Declaration(work, declaration.place)
            other = self._other(declaration)
        if other is not None:
            raise duplicate(declaration, other)
        if self._has_more(work.name):
            raise DuplicateScheduleError(
                f"Two schedules are named {work.name!r}: one in beat_schedule, and {work.schedule} "
                f"({declaration.place}). Give each a name of its own: name='...'."
            )
        self._declared[work.name] = declaration

    def periodic(
        self,
        schedule: object,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        name: str | None,
        options: Mapping[str, Any],
    ) -> Callable[[Any], Any]:
        """Return a decorator that declares the task it is given; see `Queue.periodic`."""

        def decorate(task: Any) -> Any:
            if not isinstance(task, Task):
                raise ConfigurationError(
                    f"@q.periodic(...) takes a task, not {task!r}; write it above @q.task, not below."
                )
            self.declare("@q.periodic", schedule, Signature(task), args, kwargs, name, options)
            return task

        return decorate

    def check(self, work: Recurring) -> None:
        """Raise if a call does not fit its task, as far as that is known by now."""
        task = work.callee or self.registry.tasks.get(work.task)
        if task is not None:
            make_template(self.store, work, task)

    def place(self) -> Place:
        """Return where the user's code is that declares something now."""
        return declaring_place(self._is_asking)

    def read_also(self, more: Callable[[], Sequence[Declaration]], has: Callable[[str], bool]) -> None:
        """Name what else is asked for declarations: `beat_schedule` may be changed until it is read.

        Args:
            more: returns what it declares.
            has: tells whether a name is in it.
        """
        self._more, self._has_more = more, has

    def refuse_declared(self, declaration: Declaration) -> None:
        """Raise DuplicateScheduleError if something of another place has the name of this declaration."""
        other = self._other(declaration)
        if other is not None:
            raise duplicate(declaration, other)

    def all(self) -> list[Declaration]:
        """Return all that is declared.

        Raises:
            ConfigurationError: what has come into `beat_schedule` is wrong.
        """
        return [*self._declared.values(), *self._more()]

    def find(self, name: str) -> Declaration | None:
        """Return what is declared under a name."""
        found = self._declared.get(name)
        if found is not None or not self._has_more(name):
            return found
        return next((each for each in self._more() if each.work.name == name), None)

    def configure(self) -> None:
        """Let those who wait for it declare what they have; each is called once."""
        queue = self._queue()
        self._is_asking = True
        try:
            for signal in (self.on_after_configure, self.on_after_finalize):
                for receiver in signal.receivers(queue):
                    if receiver not in self._called:
                        self._call(receiver, signal, queue)
        finally:
            self._is_asking = False

    def _call(self, receiver: Callable[..., Any], signal: Signal, queue: object) -> None:
        try:
            receiver(signal=signal, sender=queue)
        except LiteqError as error:
            # Nothing else says where, if it is told as one line.
            name, place = getattr(receiver, "__qualname__", repr(receiver)), place_of_error(error)
            tell_of(f"{name}, receiver of {signal.name}" + (f" ({place})" if place else ""), error)
            raise
        self._called.append(receiver)

    def _other(self, declaration: Declaration) -> Declaration | None:
        """Return what has this name in this program, unless it is this declaration, made again."""
        # Applications that have not made their queue yet will ask this themselves; they must not do so now.
        for declarations in (self, *(each for each in _all if each.store.is_same(self.store))):
            found = declarations._declared.get(declaration.work.name)
            if found is not None and not is_again(found, declaration):
                return found
        return None


def all_declarations() -> list[Declarations]:
    """Return what is declared with every queue that is alive in this process."""
    await_latecomers()
    return list(_all)


def declarations_on(store: Store) -> list[Declarations]:
    """Return what is declared with the queues of this process that are on a store."""
    return [each for each in all_declarations() if each.store.is_same(store)]


def find_declared(record: ScheduleRecord) -> Schedule | None:
    """Return the object of the user's own that a stored schedule describes, from where it is declared.

    None if no code that this process has loaded declares it under that name, or it is another by now.
    """
    for declarations in all_declarations():
        try:
            declarations.configure()
            found = declarations.find(record.name)
        except Exception:
            # What is wrong with one queue's declarations is told where they are stored.
            continue
        schedule = None if found is None else found.work.schedule
        if isinstance(schedule, Custom) and encode(schedule) == record.spec:
            return schedule
    return None


def is_again(one: Declaration, other: Declaration) -> bool:
    """Tell whether two declarations are one that was made twice.

    The same lines are, unless one execution of them, such as a loop, says different things.
    """
    if not same_place(one.place, other.place):
        return False
    says_same = one.work[1:-1] == other.work[1:-1]
    return says_same or one.place.run is not other.place.run or one.place.file.startswith("<")


def duplicate(one: Declaration, other: Declaration) -> DuplicateScheduleError:
    """Return the error about two declarations of one name."""
    return DuplicateScheduleError(
        f"Two schedules are named {one.work.name!r}: {other.work.schedule} ({other.place}) and "
        f"{one.work.schedule} ({one.place}). Give each a name of its own: name='...'."
    )
