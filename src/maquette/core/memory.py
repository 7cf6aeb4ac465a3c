"""What memory there is, and how much a process has taken at most."""

import os
import resource
import sys
from pathlib import Path


def available_bytes() -> int:
    """Memory that a process may still take here: what the kernel says on Linux, elsewhere all that there is."""
    told = Path("/proc/meminfo")
    if told.exists():
        return _row(told, "MemAvailable")
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int:
    """The most memory that this process has held at once.

    On Linux by its own status, since the number of `getrusage` begins with what the process held that started this
    one.
    """
    told = Path("/proc/self/status")
    if told.exists():
        return _row(told, "VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _row(table: Path, name: str) -> int:
    rows = dict(line.split(":", 1) for line in table.read_text(encoding="utf-8").splitlines())
    return int(rows[name].split()[0]) * 1024
