"""enqueue_many: a thousand to a transaction, checked before they are stored; all or none if asked."""

from __future__ import annotations

import pytest

import liteq
from liteq import ConfigurationError, Queue
from liteq.codec import decode_call
from liteq.job import JobFilter


@pytest.fixture
def add(queue):
    return queue.task(name="add")(lambda x, y=0: x + y)


@pytest.fixture
def batches(queue, monkeypatch):
    """The sizes of what was stored, one for each transaction."""
    sizes = []
    enqueue = queue.transport.enqueue

    def counted(jobs, now):
        sizes.append(len(jobs))
        return enqueue(jobs, now)

    monkeypatch.setattr(queue.transport, "enqueue", counted)
    return sizes


def count(queue: Queue) -> int:
    return len(queue.transport.find(JobFilter(limit=10_000)))


def test_calls_are_stored_in_order_a_thousand_to_a_transaction(queue, add, batches):
    results = queue.enqueue_many(add.s(i, y=1) for i in range(2500))
    assert batches == [1000, 1000, 500]
    jobs = queue.transport.get([result.id for result in results])
    assert [decode_call(add.codec, job.payload) for job in jobs] == [([i], {"y": 1}) for i in range(2500)]
    assert [result.id for result in results] == sorted(result.id for result in results)


def test_large_calls_are_stored_fewer_to_a_transaction(queue, add, batches):
    queue.enqueue_many(add.s(1, bytes(1_000_000)) for _ in range(30))
    assert batches == [17, 13]


def test_atomic_calls_are_stored_in_one_transaction(queue, add, batches):
    queue.enqueue_many((add.s(i) for i in range(2500)), atomic=True)
    assert batches == [2500]


def test_nothing_is_stored_by_atomic_calls_of_which_one_is_wrong(queue, add):
    with pytest.raises(liteq.SignatureError, match=r"element 2000 .* stored the first 0"):
        queue.enqueue_many((add.s(*range(1 + 2 * (i == 2000))) for i in range(2500)), atomic=True)
    assert count(queue) == 0


def test_an_error_says_how_many_were_stored_before_it(queue, add):
    with pytest.raises(liteq.EncodingError, match=r"element 1003 .* stored the first 1000"):
        queue.enqueue_many(add.s(object() if i == 1003 else i) for i in range(2500))
    assert count(queue) == 1000


def test_an_error_of_the_generator_is_passed_on_with_a_note(queue, add):
    def calls():
        yield add.s(1)
        raise KeyError("mine")

    with pytest.raises(KeyError) as raised:
        queue.enqueue_many(calls())
    assert raised.value.args == ("mine",)
    assert "stored the first 0" in raised.value.__notes__[0]
    assert count(queue) == 0


def test_options_of_a_signature_hold(queue, add):
    (result,) = queue.enqueue_many([add.s(1).set(priority=3, queue="a", task_id="x")])
    (job,) = queue.transport.get(["x"])
    assert (result.id, job.priority, job.queue) == ("x", 3, "a")
    (job,) = queue.transport.get([queue.enqueue_many([add.options(priority=9).s(1)])[0].id])
    assert job.priority == 9


def test_nothing_to_enqueue_is_no_error(queue, add, batches):
    assert queue.enqueue_many([]) == []
    assert batches == []


def test_only_signatures_of_this_queue_are_taken(queue, add):
    with Queue("memory://") as other:
        foreign = other.task(name="foreign")(lambda: None)
        with pytest.raises(ConfigurationError, match="another queue"):
            queue.enqueue_many([foreign.s()])
    for thing in (add, (1, 2), "add"):
        with pytest.raises(ConfigurationError, match="signatures"):
            queue.enqueue_many([thing])
    with pytest.raises(ConfigurationError, match="atomic"):
        queue.enqueue_many([add.s(1)], atomic=1)


# ---- signatures --------------------------------------------------------------------------------------------


def test_a_signature_is_a_call_as_a_value(queue, add):
    signature = add.s(1, y=2)
    assert (signature.task, signature.args, signature.kwargs, signature.immutable) == (
        add,
        (1,),
        {"y": 2},
        False,
    )
    assert repr(signature) == "add(1, y=2)"
    assert signature == add.s(1, y=2)
    assert signature != add.si(1, y=2)
    assert signature != add.s(1, y=2).set(priority=1)
    assert count(queue) == 0


def test_a_signature_can_be_enqueued_by_itself(queue, add):
    first = add.s(2).delay(1)
    second = add.si(2).delay(1)
    jobs = queue.transport.get([first.id, second.id])
    assert [decode_call(add.codec, job.payload)[0] for job in jobs] == [[1, 2], [2]]
