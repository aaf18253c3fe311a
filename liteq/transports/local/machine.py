"""Which machine this is, and since when it runs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["boot_id", "machine_id"]


@cache
def boot_id() -> str:
    """Return what tells one run of this machine from the next, or "" where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@cache
def machine_id() -> str:
    """Return what tells this machine from others, or "" where nothing does."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            return Path(path).read_text(encoding="ascii", errors="replace").strip()[:64]
        except OSError:
            continue
    return ""
