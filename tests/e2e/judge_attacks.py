"""Runs in the judge's container: grade every case, and after each a good program; print a JSON line for each.

    python judge_attacks.py CASES_JSON

``CASES_JSON``: ``{"targets": [[protocol, host, port]], "cases": [[name, program, tests, entry_point, patient]],
"together": [[name, program, test]]}``. Those that run together do so as in a verify stage: as many at once as the pod
has room for.
"""
# ruff: noqa: T201 (it reports by its log)

import json
import os
import sys
from pathlib import Path

from fusionrun_stages.errors import UserError
from fusionrun_stages.grading import coding
from fusionrun_stages.sandbox import judge, probe

GOOD = ("def f(a, b):\n    return a + b\n", ("assert f(1, 2) == 3",))


def tell(**fields: object) -> None:
    """Print one line of the report."""
    print(json.dumps(fields), flush=True)


def walls(targets: list[probe.Target]) -> dict[str, object]:
    """Tell what the pod itself, before any program is confined, can reach, read and write."""
    return {
        "uid": os.getuid(),
        "reached": probe.reach(targets),
        "token": Path("/var/run/secrets/kubernetes.io").exists(),
        "routed": [t[1] for t in probe.OUTSIDE if probe.is_routed(t[1], probe.read_routes())],
        "writable": [str(p) for p in (Path("/"), Path("/usr"), Path("/opt"), Path("/etc")) if os.access(p, os.W_OK)],
    }


def main() -> None:
    """Prove that the walls stand, as ``verify`` does; then grade."""
    asked = json.loads(Path(sys.argv[1]).read_text())
    tell(walls=walls([tuple(t) for t in asked["targets"]]))
    try:
        found = coding.isolation()
    except UserError as error:
        tell(refused=str(error))
        return
    tell(runtime_class=found.runtime_class, programs_at_once=found.programs_at_once)
    judge.CPU_SECONDS, judge.PROGRAM_LIMITS = 1, judge.ResourceLimits(1, 256 * 2**20, 2**20)
    judged = judge.Judge()
    for name, program, tests, entry_point, patient in asked["cases"]:
        judge.WALL_SECONDS = 30.0 if patient else 3.0
        grade = judged.grade(program, tuple(tests), entry_point)
        after = judged.grade(*GOOD, None)
        tell(name=name, verdict=grade.verdict, detail=grade.detail, after=after.verdict)
    judged.close()
    judge.WALL_SECONDS = 30.0
    together = [coding.Submission(program, (test,), None) for _, program, test in asked["together"]]
    for number, grade in coding.grade_all(together):
        tell(beside=asked["together"][number][0], verdict=grade.verdict, detail=grade.detail)
    tell(done=True)


if __name__ == "__main__":
    main()
