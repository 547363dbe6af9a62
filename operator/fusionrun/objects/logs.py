"""Logs on the claim: the output of a stage's containers, which is kept after its pods are deleted.

A container runs its command under bash, which copies the output to a file and still writes it to the container's log.
An error of the file, such as a full volume, does not affect the command.
"""

from collections.abc import Iterable
from typing import Any

from fusionrun.api.artifacts import LOGS
from fusionrun.api.contract import Manifest
from fusionrun.api.pod import EXIT_SIGTERM, POD_UID_ENV
from fusionrun.objects import meta
from fusionrun.objects.templates import containers
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.stages import Stage
from fusionrun.plan.tasks import output_directory
from fusionrun.settings import Settings

LOG_KIBIBYTES = 64 * 1024
"""Maximum size of one container's log file. Later output is only in the container's log."""
SERVER_LOGS = "server"
"""Folder for the logs of a server, below those of the stage that it serves."""
DRAIN_SECONDS = 5
"""Maximum time to copy the last lines. A process that the command leaves behind may keep the output open: it ends with
the container."""

_COPY_OUTPUT = f"""\
trap 'exit {EXIT_SIGTERM}' TERM
log=$0/$HOSTNAME-${{{POD_UID_ENV}:0:8}}.log
mkdir -p "$0" && : >>"$log" || log=/dev/null
exec 3> >(trap '' TERM XFSZ; ulimit -f {LOG_KIBIBYTES}; exec tee --output-error=warn --append "$log" 2>/dev/null)
copier=$!
"$@" >&3 2>&1 3>&- &
command=$!
trap 'kill -TERM "$command" 2>/dev/null' TERM
exec 3>&-
wait "$command"
while kill -0 "$command" 2>/dev/null; do wait "$command"; done
trap '' TERM
wait "$command"
code=$?
for ((tenth = 0; tenth < {10 * DRAIN_SECONDS}; tenth++)); do
  kill -0 "$copier" 2>/dev/null || break
  sleep 0.1
done
exit "$code"
"""
"""The directory is ``$0``, the command its arguments.

Without a trap, SIGTERM has no effect on the first process of a container. ``wait`` returns early for SIGTERM, hence the
loop; the last one returns the exit code of the command, also if the command has ended before. tee ignores the signal of
a file that reaches the limit (setrlimit(2), RLIMIT_FSIZE): it stops writing to this file only.
"""


def log_directory(pinned: PinnedPlan, stage: Stage) -> str:
    """Return the directory of the logs of a stage, beside its artifact.

    A server may run code of a model, which can write to its directory: no other pod writes there.
    """
    directory = f"{output_directory(pinned, stage)}/{LOGS}"
    return f"{directory}/{SERVER_LOGS}" if stage.traits.is_server else directory


def copy_to_claim(workloads: Iterable[Manifest], directory: str) -> None:
    """Copy the output of each container of workloads to a file in a directory."""
    for container in containers(workloads):
        container["command"] = ["bash", "-c", _COPY_OUTPUT, directory, *container["command"]]


def mount_for_server(deployment: Manifest, stage: Stage, directory: str, settings: Settings) -> None:
    """Mount the log directory, which an init container makes, into a server. It mounts the claim read-only."""
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    pod["containers"][0]["volumeMounts"].append(meta.sub_path(directory, read_only=False))
    maker = meta.make_directory(stage, directory, settings) | {"image": settings.images.data}
    pod["initContainers"] = [maker, *pod.get("initContainers", [])]
