"""Check of pods against the restricted Pod Security Standard.

Source: Kubernetes, "Pod Security Standards", profile Restricted (with Baseline, which it includes), v1.34.
"""

from collections.abc import Iterator
from typing import Any

from fusionrun.objects.templates import pod_templates

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
CAPABILITIES = {"NET_BIND_SERVICE"}
SECCOMP = {"RuntimeDefault", "Localhost"}


def pod_specs(manifest: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield metadata and spec of every pod template of an object."""
    for template in pod_templates(manifest):
        yield template["metadata"], template["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """List every container of a pod, with its init containers."""
    return [*pod.get("initContainers", []), *pod["containers"], *pod.get("ephemeralContainers", [])]


def violations(pod: dict[str, Any]) -> list[str]:
    """List the settings of a pod that the restricted standard forbids."""
    found = [f"spec.{f}" for f in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") if f in pod]
    found += [f"volume {v['name']}" for v in pod.get("volumes", []) if not (set(v) - {"name"}) <= VOLUMES]
    shared = pod.get("securityContext", {})
    found += [f"spec.securityContext.{f}" for f in ("sysctls", "windowsOptions", "seLinuxOptions") if f in shared]
    for container in containers(pod):
        name, own = container["name"], container.get("securityContext", {})
        merged = shared | own
        add = own.get("capabilities", {}).get("add", [])
        found += [
            f"{name}: {what}"
            for what, broken in {
                "privileged": own.get("privileged", False),
                "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
                "capabilities are kept": own.get("capabilities", {}).get("drop") != ["ALL"],
                "capabilities are added": bool(set(add) - CAPABILITIES),
                "runAsNonRoot": merged.get("runAsNonRoot") is not True,
                "runAsUser is root": merged.get("runAsUser") == 0,
                "seccompProfile": merged.get("seccompProfile", {}).get("type") not in SECCOMP,
                "procMount": own.get("procMount", "Default") != "Default",
                "hostPort": any("hostPort" in p for p in container.get("ports", [])),
            }.items()
            if broken
        ]
    return found
