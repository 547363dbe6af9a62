"""CPU and memory limits of this container. Other system calls report the resources of the whole node."""

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
UNLIMITED_BYTES = 2**60
"""Without a limit, version 1 reports a number near 2^63."""


def count_cpus(cgroups: Path = CGROUPS) -> int:
    """Return the number of CPUs that this process may use, rounded up."""
    allowed = len(os.sched_getaffinity(0))
    quota = _read(cgroups / "cpu.max") or [
        *_read(cgroups / "cpu" / "cpu.cfs_quota_us"),
        *_read(cgroups / "cpu" / "cpu.cfs_period_us"),
    ]
    if len(quota) != 2 or not all(word.isdecimal() for word in quota):  # noqa: PLR2004 (no limit is "max" or -1)
        return allowed
    return max(1, min(allowed, -(-int(quota[0]) // int(quota[1]))))


def memory_bytes(cgroups: Path = CGROUPS) -> int:
    """Return the memory limit of this container, or the memory of the machine if there is no limit.

    Source: linux/Documentation/admin-guide/cgroup-v2.rst, and cgroup-v1/memory.rst.
    """
    limit = _read(cgroups / "memory.max") or _read(cgroups / "memory" / "memory.limit_in_bytes")
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if not limit or not limit[0].isdecimal() or int(limit[0]) >= UNLIMITED_BYTES:
        return machine
    return min(machine, int(limit[0]))


def _read(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
