"""The most memory that this process held at once, as the system keeps the books."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path


def restart_peak() -> None:
    """Let the peak be what is held now, where the system can (Linux); elsewhere it stays that of the whole process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int | None:
    """Bytes; None where the system does not tell (Windows)."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
