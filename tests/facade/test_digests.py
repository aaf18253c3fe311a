"""What tells one declaration from a changed one is the same wherever it is made."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from liteq import Queue
from liteq.app.digests import canonical, digest_of
from liteq.app.reconciling import reconcile_declared
from liteq.codec import register_type


@register_type
@dataclass
class Basket:
    items: set[str]


@register_type
class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Unknown:
    pass


VALUES: list[Any] = [
    *(
        None,
        True,
        1,
        1.0,
        "1",
        b"1",
        "",
        (),
        [],
        {},
        set(),
        frozenset(),
        (1,),
        [1],
        {1},
        frozenset({1}),
        {1: 1},
    ),
    *([[1], 2], [1, [2]], [1, 2], {"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": [1, 2]}, {("a", 1): {1, 2}}),
    *(datetime(2030, 1, 1), datetime(2030, 1, 1, tzinfo=UTC), timedelta(1), Decimal("1"), Decimal("1.0"), 1j),
    *(range(3), bytearray(b"1"), Basket(set()), Basket({"a"}), Colour.RED, Colour.BLUE, "\ud800"),
]


def test_different_values_have_different_texts():
    texts = [canonical(value) for value in VALUES]
    assert len(set(texts)) == len(VALUES)


@pytest.mark.parametrize("wrap", [list, tuple, set, frozenset, lambda items: dict.fromkeys(items, 1)])
def test_the_order_of_what_has_none_does_not_count(wrap: Any):
    # Both land in one place of the table, where the first to come is the first to be listed.
    one, other = [0, 1 << 20, 2 << 20], [2 << 20, 1 << 20, 0]
    assert (canonical(wrap(one)) == canonical(wrap(other))) == (wrap not in (list, tuple))
    assert canonical([Basket({"a", "b", "c"})]) == canonical([Basket({"c", "b", "a"})])


def test_where_in_memory_an_object_is_does_not_count():
    assert canonical([Unknown()]) == canonical([Unknown()])


def test_a_value_that_contains_itself_makes_its_schedule_broken(queue: Queue):
    value: list[Any] = []
    value += [value, value]
    queue.add_periodic_task(10, "shop.late", args=value, name="x")

    @queue.task(name="shop.late")
    def late(one: object, other: object) -> None: ...

    reconcile_declared(queue.transport, queue.url, queue)
    (record,) = queue.transport.schedules()
    assert record.broken is not None
    assert "contains itself" in record.broken


@pytest.fixture
def queue() -> Iterator[Queue]:
    with Queue("memory://") as queue:
        yield queue


def declared(on: Queue, *args: Any, **options: Any) -> str:
    on.add_periodic_task(*args, name="x", **options)
    return digest_of(on.declarations.all()[-1].work)


CHANGED: list[tuple[Any, dict[str, Any]]] = [
    (20, {}),
    (10, {"args": (1,)}),
    (10, {"kwargs": {"x": 1}}),
    (10, {"queue": "slow"}),
    (10, {"priority": 1}),
    (10, {"headers": {"x": 1}}),
    (10, {"expires": 5}),
    (10, {"catch_up": "all"}),
    (10, {"timezone": "Europe/Rome"}),
]


def test_whatever_a_declaration_says_counts():
    digests = set()
    for schedule, options in CHANGED:
        with Queue("memory://") as queue:
            digests.add(declared(queue, schedule, "shop.report", **options))
    assert len(digests) == len(CHANGED)


def test_whether_the_task_is_loaded_does_not_count(queue: Queue):
    by_name = declared(queue, 10, "shop.report", args=(1,))
    with Queue("memory://") as other:

        @other.task(name="shop.report", queue="slow", priority=3, expires=60, serializer="json")
        def report(x: int) -> None: ...

        assert declared(other, 10, report.s(1)) == by_name
