"""What must stand before the first program is run: no network, and a kernel that keeps programs apart."""

import os
import time
from dataclasses import dataclass
from typing import Any

from fusionrun.api.sandbox import PROGRAMS_AT_ONCE_ENV, RUNTIME_CLASS_ENV
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.pod.cgroup import count_cpus
from fusionrun_stages.sandbox.confine import landlock_version
from fusionrun_stages.sandbox.connection import connect
from fusionrun_stages.sandbox.runner import PROBE
from fusionrun_stages.sandbox.wire import FrameError, receive

PROBE_ENV = "FUSIONRUN_SANDBOX_PROBE"
NETWORK_SECONDS = 30.0
"""A network plugin may apply a NetworkPolicy some seconds after the pod has started."""


@dataclass(frozen=True)
class Walls:
    """What was found; the manifest tells it."""

    landlock: int
    """Version of the kernel's Landlock; 0 without."""
    runtime_class: str | None

    @property
    def programs_at_once(self) -> int:
        """How many programs may run at once: without Landlock one, which has no neighbour to harm."""
        return int(os.environ.get(PROGRAMS_AT_ONCE_ENV) or count_cpus()) if self.landlock else 1


def prove_walls() -> Walls:
    """Prove that programs can be run here; within a pod this cannot be switched off.

    Raises
    ------
    UserError
        If anything answered, or nothing keeps the programs apart.
    InfrastructureError
        If it cannot be told whether anything answers.
    """
    walls = Walls(landlock_version(), os.environ.get(RUNTIME_CLASS_ENV) or None)
    if not walls.landlock and walls.runtime_class is None:
        raise UserError(
            "the node's kernel has no Landlock (Linux 5.13, in the list /sys/kernel/security/lsm, and allowed by the "
            "container runtime's seccomp profile), so a program could write to its neighbours' files: set "
            "scheduling.sandboxRuntimeClassName to a RuntimeClass that isolates (gVisor, Kata); no program was run"
        )
    if os.environ.get(PROBE_ENV) != "off" or "KUBERNETES_SERVICE_HOST" in os.environ:
        _prove_no_network()
    return walls


def _prove_no_network() -> None:
    deadline = time.monotonic() + NETWORK_SECONDS
    while reached := _look():
        if time.monotonic() >= deadline:
            raise UserError(
                f"the sandbox has network ({', '.join(reached)} answered for {NETWORK_SECONDS:.0f} s): set "
                "scheduling.sandboxRuntimeClassName to a RuntimeClass without one, or use a network plugin that "
                "enforces the run's NetworkPolicy, which denies it; no program was run"
            )
        time.sleep(1.0)


def _look() -> list[str]:
    try:
        with connect() as control:
            control.sendall(PROBE)
            found: dict[str, Any] = receive(control)
    except (FrameError, OSError) as error:
        raise InfrastructureError(f"the sandbox runner died while it looked for a network: {error}") from error
    if "unreadable" in found:
        raise InfrastructureError(
            f"cannot tell whether the sandbox has network: {found['unreadable']}; no program was run"
        )
    reached: list[str] = found["reached"]
    return reached
