"""A program that the benchmark runs as a process, and its memory and CPU time from the kernel."""

import os
import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

STOP_SECONDS = 30.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """CPU time in seconds since the start, and resident memory and its maximum in MiB (``VmHWM`` in proc(5))."""

    cpu: float
    rss: float
    peak: float


class Process:
    """A running program, as a context manager that stops it. Its output is appended to a file."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self._log = log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def check(self) -> None:
        """Raise RuntimeError if the program has ended."""
        if (status := self._process.poll()) is not None:
            raise RuntimeError(f"{self._process.args} ended with status {status}: see {self._log}")

    def usage(self) -> Usage:
        """Return what the process has used. It must run."""
        self.check()
        process = Path("/proc") / str(self._process.pid)
        status, times = (process / "status").read_text(), (process / "stat").read_text().rpartition(")")[2].split()
        rss, peak = (int(re.findall(rf"^{n}:\s+(\d+) kB", status, re.MULTILINE)[0]) / 1024 for n in ("VmRSS", "VmHWM"))
        return Usage(sum(map(int, times[11:13])) / TICKS, rss, peak)

    def stop(self) -> None:
        """Terminate the program if it still runs, and wait for its end."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that no process uses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
