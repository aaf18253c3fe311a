"""Which machine this is, and since when it runs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["boot_id"]


@cache
def boot_id() -> str:
    """Return what tells one run of this machine from the next, or "" where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
