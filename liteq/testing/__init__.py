"""Tools for tests of your tasks, and the suite and the model that hold a transport to its port.

`ManualClock` and `override_queue` need nothing. `TransportContract` needs pytest, and `TaskMachine` and
`transport_machine` need hypothesis; both come with `pip install "liteq-queue[test]"` and are imported when
they are asked for. Under mypy import from `liteq.testing.overriding`, `liteq.testing.task_machine`,
`liteq.testing.contract` and `liteq.testing.model`, where these names have types.

A transport of your own is tested with::

    from liteq.testing import TransportContract

    class TestMyTransport(TransportContract):
        @pytest.fixture
        def transport(self, tmp_path):
            with MyTransport(tmp_path / "jobs") as transport:
                yield transport
"""

from __future__ import annotations

import importlib
import sys

from liteq.errors import ExtraRequiredError
from liteq.testing.clock import ManualClock

__all__ = [
    "ManualClock",
    "TaskMachine",
    "TestWorker",
    "TransportContract",
    "TransportMachine",
    "override_queue",
    "transport_machine",
]

_LATE = {
    "TaskMachine": "liteq.testing.task_machine",
    "TestWorker": "liteq.testing.worker",
    "TransportContract": "liteq.testing.contract",
    "TransportMachine": "liteq.testing.model",
    "override_queue": "liteq.testing.overriding",
    "transport_machine": "liteq.testing.model",
}

if (_pytest := sys.modules.get("pytest")) is not None:
    # Without this, pytest explains only the asserts of test modules, and not those of the contract.
    _pytest.register_assert_rewrite(
        "liteq.testing.contract", "liteq.testing.model", "liteq.testing.task_machine"
    )


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module 'liteq.testing' has no attribute {name!r}")
    try:
        module = importlib.import_module(_LATE[name])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"pytest", "hypothesis"}:
            raise
        raise ExtraRequiredError(
            f"liteq.testing.{name} needs {error.name}, which is not installed; "
            'install it with: pip install "liteq-queue[test]"'
        ) from error
    return getattr(module, name)
