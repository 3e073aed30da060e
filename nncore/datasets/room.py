"""How much memory there is for a dataset, so that a file that needs more is refused instead of begun."""

import os
import resource
from pathlib import Path

from nncore.errors import DatasetError

# What Linux lets a container have; the files of version 2 and version 1 of its control groups.
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
# The interpreter, its libraries, and room to work in.
BESIDES = 200 << 20


def room() -> int:
    """Return how many bytes of memory this process may have for data."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft - _mapped())
    limits += filter(None, map(_limit_in, _CGROUPS))
    return max(0, min(limits) - BESIDES)


def check_room(needed: int, what: str) -> None:
    """Raise DatasetError, with both figures, where so many bytes are more than there are."""
    there = room()
    if needed > there:
        raise DatasetError(
            f"{what} would take about {needed:,} bytes of memory, and {there:,} are there: "
            f"use fewer rows or columns"
        )


def _mapped() -> int:
    """Return how much address space this process has taken already."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _limit_in(path: str) -> int:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        # No such group, or `max`.
        return 0
