"""Everything that liteq does to a queue's file, each verb ready to be broken at any point.

A verb is a generator: it prepares what it needs, yields, and then does its steps, with a yield after each.
Every step is one call of the port, and so has to be all or nothing.
"""

from __future__ import annotations

# Each module adds its own to VERBS.
from chaos.verbs import filing, managing, producing, scheduling, working  # noqa: F401
from chaos.verbs.base import LATER, VERBS, OwnStatementError, Scene, make_stock

__all__ = ["LATER", "VERBS", "OwnStatementError", "Scene", "make_stock"]
