"""Checks before the first program runs: no network access, and isolation between programs."""

import os
from dataclasses import dataclass
from typing import Any

from fusionrun.api.sandbox import PROGRAMS_AT_ONCE_ENV, RUNTIME_CLASS_ENV
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.pod.cgroup import count_cpus
from fusionrun_stages.sandbox.confine import landlock_version
from fusionrun_stages.sandbox.connection import connect
from fusionrun_stages.sandbox.probe import WAIT_SECONDS, wait_until_closed
from fusionrun_stages.sandbox.wire import PROBE, FrameError, receive

PROBE_ENV = "FUSIONRUN_SANDBOX_PROBE"
NETWORK_SECONDS = WAIT_SECONDS


@dataclass(frozen=True)
class Isolation:
    """Isolation of the sandbox; part of the manifest."""

    landlock: int
    """Version of the kernel's Landlock; 0 if it is missing."""
    runtime_class: str | None

    @property
    def programs_at_once(self) -> int:
        """Number of programs to run at once: one without Landlock, so that it cannot harm another."""
        return int(os.environ.get(PROGRAMS_AT_ONCE_ENV) or count_cpus()) if self.landlock else 1


def check_isolation() -> Isolation:
    """Check that programs can be run safely; in a pod the check cannot be disabled.

    Raise UserError if the runner has network access, or programs are not isolated from each other;
    InfrastructureError if the network access cannot be determined.
    """
    isolation = Isolation(landlock_version(), os.environ.get(RUNTIME_CLASS_ENV) or None)
    if not isolation.landlock and isolation.runtime_class is None:
        raise UserError(
            "the node's kernel has no Landlock (Linux 5.13, in the list /sys/kernel/security/lsm, and allowed by the "
            "container runtime's seccomp profile), so a program could write to the files of other programs: set "
            "scheduling.sandboxRuntimeClassName to a RuntimeClass that isolates (gVisor, Kata), which the chart value "
            "security.isolatingRuntimeClasses must list; no program was run"
        )
    if os.environ.get(PROBE_ENV) != "off" or "KUBERNETES_SERVICE_HOST" in os.environ:
        _check_no_network()
    return isolation


def _check_no_network() -> None:
    if reached := wait_until_closed(_probe, NETWORK_SECONDS):
        raise UserError(
            f"the sandbox has network access ({', '.join(reached)} answered for {NETWORK_SECONDS:.0f} s): set "
            "scheduling.sandboxRuntimeClassName to a RuntimeClass without network, or use a network plugin that "
            "enforces the run's NetworkPolicy; no program was run"
        )


def _probe() -> list[str]:
    try:
        with connect() as control:
            control.sendall(PROBE)
            reply: dict[str, Any] = receive(control)
    except (FrameError, OSError) as error:
        raise InfrastructureError(f"the sandbox runner died during the network check: {error}") from error
    if "unreadable" in reply:
        raise InfrastructureError(
            f"cannot determine whether the sandbox has network access: {reply['unreadable']}; no program was run"
        )
    reached: list[str] = reply["reached"]
    return reached
