"""Job ids: valid, unique, and in the order in which they were made."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq.ids import _NODE_LIMIT, _Maker, _text_of, id_time, new_id


def test_an_id_is_a_version_7_uuid_in_its_usual_form():
    for job_id in (new_id() for _ in range(1000)):
        uuid = UUID(job_id)
        assert (uuid.version, uuid.variant, str(uuid)) == (7, RFC_4122, job_id)


def test_ids_of_one_process_sort_by_when_they_were_made():
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_ids_made_by_many_threads_are_unique():
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: [new_id() for _ in range(2000)], range(8)))
    assert len({job_id for batch in batches for job_id in batch}) == 16_000


def test_ids_stay_in_order_when_the_clock_goes_back(monkeypatch):
    before = new_id()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    assert before < new_id() < new_id()


def test_ids_stay_in_order_when_a_millisecond_runs_out_of_them(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 5_000_000_000)
    maker = _Maker()
    first = maker.make()
    for high, node in ((0, _NODE_LIMIT - 1), (2**26 - 1, _NODE_LIMIT - 1)):
        maker._high, maker._node = high, node
        maker._text = _text_of(5000, high)
        last = f"{maker._text}{node:012x}"
        following = [maker.make() for _ in range(3)]
        assert [last, *following] == sorted([last, *following])
        assert all(UUID(job_id).version == 7 for job_id in following)
    assert id_time(first) == 5.0
    assert id_time(following[0]) == 5.001


def test_an_id_tells_when_it_was_made():
    before = time.time()
    made = id_time(new_id())
    assert made is not None
    assert before - 0.002 <= made <= time.time() + 1


@given(st.text())
def test_the_time_of_any_other_text_is_unknown_or_a_number(text):
    made = id_time(text)
    assert made is None or made >= 0


@pytest.mark.parametrize(
    "job_id", ["", "order-17", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "zzzzzzzz-zzzz-7zzz-8zzz-zzzzzzzzzzzz"]
)
def test_an_id_of_another_kind_has_no_time(job_id):
    assert id_time(job_id) is None


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_makes_ids_of_its_own():
    new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, "".join(new_id()[14:] for _ in range(10)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        theirs = pipe.read()
    os.waitpid(child, 0)
    assert all(new_id()[14:] not in theirs for _ in range(10))
