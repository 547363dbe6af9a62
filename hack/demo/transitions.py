"""Print the operator's own part of each transition, from its log and the API server's audit log.

    kubectl -n fusionrun-system logs deployment/fusionrun | python hack/demo/transitions.py AUDIT_LOG RUN

From the watch event that told the operator that a stage's last object is done, to the API server's receipt of the
create of the next stage's workload.
"""

import json
import statistics
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

WORKLOADS = {"jobs": "Job", "pytorchjobs": "PyTorchJob", "deployments": "Deployment"}


def creates(audit_log: Path) -> dict[str, float]:
    """Return when the API server received the create of each workload, by ``Kind/name``."""
    found = {}
    for line in audit_log.open():
        event = json.loads(line)
        reference = event.get("objectRef", {})
        if event["verb"] == "create" and reference.get("resource") in WORKLOADS and "name" in reference:
            when = datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
            found[f"{WORKLOADS[reference['resource']]}/{reference['name']}"] = when
    return found


def transitions(log: Iterable[str], created: dict[str, float], run: str) -> Iterator[float]:
    """Yield the milliseconds of each transition of a run."""
    for line in log:
        if "watched_at" not in line:
            continue
        entry = json.loads(line)
        if entry.get("run", "").endswith(f"/{run}"):
            yield from (1000 * (created[name] - entry["watched_at"]) for name in entry["made"] if name in created)


def main() -> None:
    """Read, measure, print."""
    took = sorted(transitions(sys.stdin, creates(Path(sys.argv[1])), sys.argv[2]))
    if took:
        median = statistics.median(took)
        print(f"operator's part of {len(took)} transitions: median {median:.0f} ms, longest {took[-1]:.0f} ms")


if __name__ == "__main__":
    main()
