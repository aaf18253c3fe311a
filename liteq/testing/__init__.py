"""Tools for tests: a clock turned by hand, and the suite and the model that hold a transport to its port.

`ManualClock` needs nothing. `TransportContract` needs pytest and `transport_machine` needs hypothesis as
well; both come with `pip install "liteq-queue[test]"` and are imported when they are asked for. Under
mypy import them from `liteq.testing.contract` and `liteq.testing.model`, where they have types.

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

__all__ = ["ManualClock", "TransportContract", "TransportMachine", "transport_machine"]

_LATE = {
    "TransportContract": "liteq.testing.contract",
    "TransportMachine": "liteq.testing.model",
    "transport_machine": "liteq.testing.model",
}

if (_pytest := sys.modules.get("pytest")) is not None:
    # Without this, pytest explains only the asserts of test modules, and not those of the contract.
    _pytest.register_assert_rewrite(*sorted(set(_LATE.values())))


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
