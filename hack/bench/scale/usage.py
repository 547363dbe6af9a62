"""The memory and CPU time of a pod, from the kernel of this machine."""

import re
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")
MIB = 1 << 20


@dataclass(frozen=True)
class Usage:
    """The usage of a pod; memory in MiB.

    Attributes
    ----------
    rss, rss_peak
        Resident memory of its processes and its maximum (``VmRSS`` and ``VmHWM`` in proc(5)).
    memory_peak
        Maximum memory of its cgroup, to which the limit applies.
    cpu_seconds
        CPU time since its start, including ended containers.
    """

    rss: float
    rss_peak: float
    memory_peak: float
    cpu_seconds: float


class PodUsage:
    """Reads the usage of one pod from its cgroups, version 1 (a folder for each controller) or 2.

    Raises
    ------
    LookupError
        If the pod does not run on this machine.
    """

    def __init__(self, uid: str) -> None:
        # Drivers write the UID with dashes (cgroupfs) or underscores (systemd).
        folders = [f for name in (uid, uid.replace("-", "_")) for f in CGROUPS.rglob(f"*pod{name}*") if f.is_dir()]
        found = {file.name: file for folder in folders for file in folder.iterdir()}
        memory = found.get("memory.max_usage_in_bytes") or found.get("memory.peak")
        if memory is None:
            raise LookupError(f"pod {uid} does not run on this machine")
        self._memory = memory
        self._cpu = found.get("cpuacct.usage") or found["cpu.stat"]

    def read(self) -> Usage:
        """Return the current usage."""
        peak = int(self._memory.read_text()) / MIB
        cpu = self._cpu.read_text()
        seconds = int(cpu) / 1e9 if cpu.strip().isdigit() else int(re.findall(r"usage_usec (\d+)", cpu)[0]) / 1e6
        processes = [pid for file in self._memory.parent.rglob("cgroup.procs") for pid in _read(file).split()]
        status = "\n".join(_read(PROC / pid / "status") for pid in processes)
        rss, rss_peak = (
            sum(int(kib) for kib in re.findall(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)) / 1024
            for name in ("VmRSS", "VmHWM")
        )
        return Usage(rss, rss_peak, peak, seconds)


def _read(file: Path) -> str:
    """Return a kernel file; empty if its process or container has ended."""
    try:
        return file.read_text()
    except OSError:
        return ""
