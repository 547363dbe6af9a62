"""Print the operator's own part of each transition, from its log and the API server's audit log.

    kubectl -n fusionrun-system logs deployment/fusionrun |
        python hack/demo/transitions.py AUDIT_LOG NAMESPACE RUN SINCE

SINCE is when the run was created, as RFC 3339: a namesake that ran before does not count. A transition lasts from the
watch event that told the operator that a stage's last object is done, to the API server's receipt of the create of
the next stage's workload. A workload that was created when a timer or a back-off woke the operator has no such event:
it is told as not counted.
"""

import json
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

CREATED = 201
WORKLOADS = {"jobs": "Job", "pytorchjobs": "PyTorchJob", "deployments": "Deployment"}


def creates(audit_log: Path, namespace: str, run: str) -> Iterator[tuple[str, float]]:
    """Yield ``Kind/name`` of each workload of a run that the API server created, and when it was asked to.

    The operator names a run's objects after it; the log's older parts lie beside it.
    """
    for part in sorted(audit_log.parent.glob(f"{audit_log.stem}*.log")):
        with part.open() as lines:
            for line in lines:
                event = json.loads(line)
                reference = event.get("objectRef", {})
                kind, name = WORKLOADS.get(reference.get("resource")), reference.get("name", "")
                ours = reference.get("namespace") == namespace and name.startswith(f"{run}-")
                made = event["verb"] == "create" and event.get("responseStatus", {}).get("code") == CREATED
                if kind and ours and made:
                    yield f"{kind}/{name}", datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


def transitions(log: Iterable[str], created: dict[str, float], run: str, since: float) -> Iterator[tuple[float, str]]:
    """Yield the milliseconds of each transition of a run (``NAMESPACE/NAME``), and what it created."""
    for line in log:
        if "watched_at" not in line:
            continue
        entry = json.loads(line)
        if entry.get("run") == run and entry["watched_at"] >= since:
            yield from ((1000 * (created[n] - entry["watched_at"]), n) for n in entry["made"] if n in created)


def describe(took: Sequence[tuple[float, str]], created: int) -> str:
    """Put the measurements, in order, into words."""
    rest = f"{created - len(took)} of the run's {created} workloads, created when none woke it, are not counted"
    if not took:
        return f"operator's part of transitions: none was woken by a watch event; {rest}"
    median = statistics.median(milliseconds for milliseconds, _ in took)
    longest, name = took[-1]
    return (
        f"operator's part of {len(took)} transitions that a watch event woke: median {median:.0f} ms, "
        f"longest {longest:.0f} ms ({name}); {rest}"
    )


def main() -> None:
    """Read, measure, print."""
    audit_log, namespace, run, created_at = sys.argv[1:]
    since = datetime.fromisoformat(created_at).timestamp()
    created = {name: when for name, when in creates(Path(audit_log), namespace, run) if when >= since}
    took = sorted(transitions(sys.stdin, created, f"{namespace}/{run}", since))
    print(describe(took, len(created)))


if __name__ == "__main__":
    main()
