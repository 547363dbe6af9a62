"""Check the results of a finished tiny run, one line per check: gate.py NAMESPACE NAME. Exits 1 if one fails.

The thresholds are for the tiny run only. Its target is trained to make mistakes that the run can correct.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

AVERAGE_GAIN = 20.0
"""Minimum gain of the final model over the base, as the mean of the benchmarks in percentage points."""
BENCHMARKS = 3
DPO_LOSS = math.log(2)
"""Upper bound of the last loss: the loss of a model without a preference."""
DPO_ACCURACY = 0.5
"""Lower bound of the last reward accuracy: that of random choice."""


def judge(status: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """Yield for each check whether it holds, and its line."""
    deltas = {r["benchmark"]: r.get("delta", math.nan) for r in status.get("results", [])}
    average = sum(deltas.values()) / len(deltas) if deltas else math.nan
    yield len(deltas) == BENCHMARKS, f"{len(deltas)} benchmarks of {BENCHMARKS}"
    for name, delta in deltas.items():
        yield delta > 0, f"{name}: final - base {delta:+.1f} points, must be positive"
    yield average >= AVERAGE_GAIN, f"average: final - base {average:+.1f} points, at least {AVERAGE_GAIN:+g}"
    dpo = next((s for s in status.get("stages", []) if s["name"] == "dpo"), {})
    if dpo.get("cacheHit"):
        yield True, "DPO: reused from an earlier run"
        return
    loss, accuracy = dpo.get("loss", math.nan), dpo.get("rewardAccuracy", math.nan)
    yield loss < DPO_LOSS, f"DPO: last loss {loss:.4f}, below {DPO_LOSS:.4f}"
    yield accuracy > DPO_ACCURACY, f"DPO: reward accuracy {accuracy:.2f}, above {DPO_ACCURACY:g}"


def main(namespace: str, name: str) -> int:
    """Read the run, and print each check."""
    command = ["kubectl", "-n", namespace, "get", "fusionrun", name, "-o", "json"]
    shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    judged = list(judge(json.loads(shown).get("status", {})))
    for holds, line in judged:
        print(f"{'passed' if holds else 'FAILED'}  {line}")
    if not all(holds for holds, _ in judged):
        print("the demo FAILED a check", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
