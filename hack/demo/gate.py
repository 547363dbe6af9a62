"""Judge a finished run of the tiny world, one line for each condition: gate.py NAMESPACE NAME. Exits 1 when one fails.

Here is every number that the demo must reach. They hold for the tiny world, whose target's weakness is made to be
overcome; no other run is judged by them.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

AVERAGE_GAIN = 20.0
"""Percentage points by which the final model beats the base, on average over the benchmarks."""
BENCHMARKS = 3
DPO_LOSS = math.log(2)
"""The loss of a model that prefers nothing yet; the last one must be below."""
DPO_ACCURACY = 0.5
"""The reward accuracy of a coin; the last one must be above."""


def judge(status: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """Yield each condition: whether it holds, and its line."""
    deltas = {r["benchmark"]: r.get("delta", math.nan) for r in status.get("results", [])}
    average = sum(deltas.values()) / len(deltas) if deltas else math.nan
    yield len(deltas) == BENCHMARKS, f"{len(deltas)} benchmarks measured, of {BENCHMARKS}"
    for name, delta in deltas.items():
        yield delta > 0, f"{name}: final - base {delta:+.1f} points, must rise"
    yield average >= AVERAGE_GAIN, f"average: final - base {average:+.1f} points, at least {AVERAGE_GAIN:+g}"
    dpo = next((s for s in status.get("stages", []) if s["name"] == "dpo"), {})
    if dpo.get("cacheHit"):
        yield True, "DPO: an earlier run's, judged then"
        return
    loss, accuracy = dpo.get("loss", math.nan), dpo.get("rewardAccuracy", math.nan)
    yield loss < DPO_LOSS, f"DPO: last loss {loss:.4f}, below {DPO_LOSS:.4f}"
    yield accuracy > DPO_ACCURACY, f"DPO: reward accuracy {accuracy:.2f}, above {DPO_ACCURACY:g}"


def main(namespace: str, name: str) -> int:
    """Read the run, print each condition."""
    command = ["kubectl", "-n", namespace, "get", "fusionrun", name, "-o", "json"]
    shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    judged = list(judge(json.loads(shown).get("status", {})))
    for holds, line in judged:
        print(f"{'passed' if holds else 'FAILED'}  {line}")
    if not all(holds for holds, _ in judged):
        print("the demo FAILED: a number above is not reached", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
