"""The reference model: the transport's rules in plain lists and dicts, for one program's lifetime.

What it does is what every other transport must do; `liteq.testing.model` compares them step by step.
"""

from __future__ import annotations

from liteq.transports.memory.transport import MemoryTransport

__all__ = ["MemoryTransport"]
