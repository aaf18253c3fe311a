"""What a supervisor tells a worker arrives unchanged."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from liteq.worker.config import TaskModule, WorkerConfig

texts = st.text(max_size=20)
configs = st.builds(
    WorkerConfig,
    url=texts,
    settings=st.dictionaries(texts, st.none() | st.integers() | texts | st.booleans(), max_size=3),
    app=st.none() | texts,
    modules=st.lists(st.builds(TaskModule, texts, texts, texts), max_size=3).map(tuple),
    queues=st.none() | st.lists(texts, max_size=3).map(tuple),
    name=texts,
    hostname=texts,
    supervisor=st.integers(min_value=0),
    loglevel=texts,
    visibility_timeout=st.floats(min_value=0.1, max_value=1e6),
    max_jobs=st.none() | st.integers(min_value=1),
    drain=st.booleans(),
)


@given(configs)
def test_a_configuration_survives_the_trip_through_json(config: WorkerConfig) -> None:
    assert WorkerConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
