"""Print the operator's own part of each transition, from its log and the API server's audit log.

    kubectl -n fusionrun-system logs deployment/fusionrun | python hack/demo/transitions.py AUDIT_LOG RUN SINCE

SINCE is when the run was created, as RFC 3339: a namesake that ran before does not count. A transition lasts from the
watch event that told the operator that a stage's last object is done, to the API server's receipt of the create of
the next stage's workload.
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


def transitions(log: Iterable[str], created: dict[str, float], run: str, since: float) -> Iterator[tuple[float, str]]:
    """Yield the milliseconds of each transition of a run, and what it created."""
    for line in log:
        if "watched_at" not in line:
            continue
        entry = json.loads(line)
        if entry.get("run", "").endswith(f"/{run}") and entry["watched_at"] >= since:
            yield from ((1000 * (created[n] - entry["watched_at"]), n) for n in entry["made"] if n in created)


def main() -> None:
    """Read, measure, print."""
    audit_log, run, since = sys.argv[1:]
    took = sorted(transitions(sys.stdin, creates(Path(audit_log)), run, datetime.fromisoformat(since).timestamp()))
    if took:
        median = statistics.median(milliseconds for milliseconds, _ in took)
        longest, name = took[-1]
        print(f"operator's part of {len(took)} transitions: median {median:.0f} ms, longest {longest:.0f} ms ({name})")


if __name__ == "__main__":
    main()
