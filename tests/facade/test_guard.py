"""While a worker imports task modules, nothing is enqueued and no workers start."""

from __future__ import annotations

import pytest

from liteq import ImportGuardError
from liteq.app.guard import importing
from liteq.job import JobFilter


@pytest.fixture
def add(queue):
    return queue.task(name="add")(lambda x: x)


def test_everything_that_starts_work_is_refused(queue, add):
    starts = [
        lambda: add.delay(1),
        lambda: add.apply_async((1,)),
        lambda: add.options(priority=1).delay(1),
        lambda: add.s(1).delay(),
        lambda: queue.enqueue_many([add.s(1)]),
        lambda: queue.start_workers(1),
    ]
    with importing():
        for start in starts:
            with pytest.raises(ImportGuardError, match="__main__"):
                start()
    assert queue.transport.find(JobFilter()) == []


def test_the_module_that_is_being_imported_is_named(add):
    code = compile("add.delay(1)", "shop.py", "exec")
    with importing(), pytest.raises(ImportGuardError, match="'shop'"):
        exec(code, {"__name__": "shop", "add": add})


def test_the_guard_ends_with_its_block_even_after_an_error(add):
    with pytest.raises(KeyError), importing(), importing():
        raise KeyError
    assert add.delay(1).status == "PENDING"


def test_a_plain_call_is_allowed(add):
    with importing():
        assert add(1) == 1
