"""The transport contract: the port's prose as a test suite that every transport passes.

Derive a test class from `TransportContract` and override its `transport` fixture. No test sleeps or
looks at the wall clock; times are passed in. The promises are grouped by subject, a module each.
"""

from __future__ import annotations

from liteq.testing.contract.ending import EndingContract
from liteq.testing.contract.leasing import LeasingContract
from liteq.testing.contract.moving import MovingContract
from liteq.testing.contract.producing import ProducingContract
from liteq.testing.contract.reading import ReadingContract
from liteq.testing.contract.recovering import RecoveringContract
from liteq.testing.contract.scheduling import SchedulingContract
from liteq.testing.contract.settling import SettlingContract
from liteq.testing.contract.waking import WakingContract

__all__ = ["TransportContract"]


class TransportContract(
    ProducingContract,
    LeasingContract,
    SettlingContract,
    EndingContract,
    RecoveringContract,
    ReadingContract,
    WakingContract,
    SchedulingContract,
    MovingContract,
):
    """Everything that a transport promises; override `transport`, and `reopen` where that is possible."""
