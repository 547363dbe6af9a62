"""The memory and CPU time of a pod, from the kernel of this machine."""

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
    """Reads the usage of one pod.

    Parameters
    ----------
    uid
        UID of the pod.

    Raises
    ------
    LookupError
        If no process of the pod runs on this machine.
    """

    def __init__(self, uid: str) -> None:
        # Drivers write the UID with dashes (cgroupfs) or underscores (systemd).
        spellings = (uid, uid.replace("-", "_"))
        for process in PROC.glob("[0-9]*/cgroup"):
            paths = _cgroups(process)
            found = {name: path for name, path in paths.items() if any(s in path for s in spellings)}
            if found:
                self._paths = {name: _pod_part(path, spellings) for name, path in found.items()}
                return
        raise LookupError(f"no process of pod {uid} runs on this machine")

    def read(self) -> Usage:
        """Return the current usage."""
        if "memory" in self._paths:  # cgroup v1: one hierarchy for each controller
            memory, cpu = self._folder("memory"), self._folder("cpuacct")
            charged = int((memory / "memory.max_usage_in_bytes").read_text())
            seconds = int((cpu / "cpuacct.usage").read_text()) / 1e9
        else:
            memory = CGROUPS / self._paths[""].lstrip("/")
            charged = int((memory / "memory.peak").read_text())
            fields = dict(line.split() for line in (memory / "cpu.stat").read_text().splitlines())
            seconds = int(fields["usage_usec"]) / 1e6
        resident = [_resident(pid) for file in memory.rglob("cgroup.procs") for pid in _lines(file)]
        return Usage(sum(rss for rss, _ in resident), sum(peak for _, peak in resident), charged / MIB, seconds)

    def _folder(self, controller: str) -> Path:
        # The folder, or a link to it, has the name of the controller.
        return CGROUPS / controller / self._paths[controller].lstrip("/")


def _cgroups(file: Path) -> dict[str, str]:
    """Return the cgroups of a process by controller; v2 has the empty string (cgroups(7), /proc/pid/cgroup)."""
    found = {}
    for line in _lines(file):
        _, controllers, path = line.split(":", 2)
        found |= dict.fromkeys(controllers.split(","), path)
    return found


def _pod_part(path: str, spellings: tuple[str, ...]) -> str:
    """Return the cgroup of the pod from that of a container."""
    parts = path.split("/")
    last = max(number for number, part in enumerate(parts) if any(s in part for s in spellings))
    return "/".join(parts[: last + 1])


def _resident(pid: str) -> tuple[float, float]:
    """Return the resident memory of a process and its maximum in MiB; 0 if it has ended."""
    lines = _lines(PROC / pid / "status")
    fields = dict(line.split(":", 1) for line in lines if line.startswith(("VmRSS", "VmHWM")))
    rss, peak = (int(fields[name].split()[0]) / 1024 if name in fields else 0.0 for name in ("VmRSS", "VmHWM"))
    return rss, peak


def _lines(file: Path) -> list[str]:
    """Return the lines of a kernel file; none if its process or container has ended."""
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
