"""Print the operator's latency between stages, from its log and the audit log of the API server.

    kubectl -n fusionrun-system logs deployment/fusionrun |
        python hack/demo/transitions.py AUDIT_LOG NAMESPACE RUN SINCE

SINCE is the creation time of the run in RFC 3339, which excludes earlier runs of the same name. A transition lasts from
the watch event that completes a stage to the API server's receipt of the create request for the workload of the next
stage. A workload that was created after a timer or a back-off has no such event and is not counted.
"""

import json
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

CREATED = 201
WORKLOADS = {"jobs": "Job", "pytorchjobs": "PyTorchJob", "trainjobs": "TrainJob", "deployments": "Deployment"}


def creates(audit_log: Path, namespace: str, run: str) -> Iterator[tuple[str, float]]:
    """Yield ``Kind/name`` of each created workload of a run, and the time of the request.

    The names of a run's objects start with its name. Rotated parts of the log are in the same folder.
    """
    for part in sorted(audit_log.parent.glob(f"{audit_log.stem}*.log")):
        with part.open() as lines:
            for line in lines:
                event = json.loads(line)
                reference = event.get("objectRef", {})
                kind, name = WORKLOADS.get(reference.get("resource")), reference.get("name", "")
                of_run = reference.get("namespace") == namespace and name.startswith(f"{run}-")
                made = event["verb"] == "create" and event.get("responseStatus", {}).get("code") == CREATED
                if kind and of_run and made:
                    yield f"{kind}/{name}", datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


def transitions(log: Iterable[str], created: dict[str, float], run: str, since: float) -> Iterator[tuple[float, str]]:
    """Yield the milliseconds and the workload of each transition of a run (``NAMESPACE/NAME``)."""
    for line in log:
        if "watched_at" not in line:
            continue
        entry = json.loads(line)
        if entry.get("run") == run and entry["watched_at"] >= since:
            yield from ((1000 * (created[n] - entry["watched_at"]), n) for n in entry["made"] if n in created)


def describe(took: Sequence[tuple[float, str]], created: int) -> str:
    """Return a summary of the sorted measurements."""
    rest = f"{created - len(took)} of {created} workloads were created without one"
    if not took:
        return f"no transition was triggered by a watch event; {rest}"
    median = statistics.median(milliseconds for milliseconds, _ in took)
    longest, name = took[-1]
    return (
        f"operator's latency in {len(took)} transitions triggered by a watch event: median {median:.0f} ms, "
        f"maximum {longest:.0f} ms ({name}); {rest}"
    )


def main() -> None:
    """Print the summary."""
    audit_log, namespace, run, created_at = sys.argv[1:]
    since = datetime.fromisoformat(created_at).timestamp()
    created = {name: when for name, when in creates(Path(audit_log), namespace, run) if when >= since}
    took = sorted(transitions(sys.stdin, created, f"{namespace}/{run}", since))
    print(describe(took, len(created)))


if __name__ == "__main__":
    main()
