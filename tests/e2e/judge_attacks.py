"""Runs in the judge's container: grades each case, then a right program, and prints a JSON line per case.

    python judge_attacks.py CASES_JSON

``CASES_JSON``: ``{"targets": [[protocol, host, port]], "packages": [[name, program, test]], "cases": [[name, program,
tests, entry_point, patient]], "together": [[name, program, test]]}``. The limits of all but ``packages`` are lower. The
programs of ``together`` run concurrently, as in a verify stage.
"""
# ruff: noqa: T201 (the log is the report)

import json
import os
import sys
from pathlib import Path

from fusionrun_stages.errors import UserError
from fusionrun_stages.grading import coding
from fusionrun_stages.sandbox import judge, probe, routes

GOOD = ("def f(a, b):\n    return a + b\n", ("assert f(1, 2) == 3",))


def report(**fields: object) -> None:
    """Print a line of the report."""
    print(json.dumps(fields), flush=True)


def walls(targets: list[probe.Target]) -> dict[str, object]:
    """Return what an unconfined process of the pod can reach, read and write."""
    return {
        "uid": os.getuid(),
        "reached": probe.reach(targets),
        "token": Path("/var/run/secrets/kubernetes.io").exists(),
        "routed": [a for a in (probe.METADATA[1], *probe.INTERNET) if routes.is_routed(a, routes.read_routes())],
        "writable": [str(p) for p in (Path("/"), Path("/usr"), Path("/opt"), Path("/etc")) if os.access(p, os.W_OK)],
    }


def main() -> None:
    """Check the isolation of the pod, as ``verify`` does, then grade."""
    given = json.loads(Path(sys.argv[1]).read_text())
    report(walls=walls([tuple(t) for t in given["targets"]]))
    try:
        found = coding.isolation()
    except UserError as error:
        report(refused=str(error))
        return
    report(runtime_class=found.runtime_class, programs_at_once=found.programs_at_once)
    judged = judge.Judge()
    for name, program, test in given["packages"]:
        grade = judged.grade(program, (test,), None)
        report(package=name, verdict=grade.verdict, detail=grade.detail)
    judged.close()
    judge.CPU_SECONDS, judge.PROGRAM_LIMITS = 1, judge.ResourceLimits(1, 256 * 2**20, 2**20)
    judged = judge.Judge()
    for name, program, tests, entry_point, patient in given["cases"]:
        judge.WALL_SECONDS = 30.0 if patient else 3.0
        grade = judged.grade(program, tuple(tests), entry_point)
        after = judged.grade(*GOOD, None)
        report(name=name, verdict=grade.verdict, detail=grade.detail, after=after.verdict)
    judged.close()
    judge.WALL_SECONDS = 30.0
    together = [coding.Submission(program, (test,), None) for _, program, test in given["together"]]
    for number, grade in coding.grade_all(together):
        report(beside=given["together"][number][0], verdict=grade.verdict, detail=grade.detail)
    report(done=True)


if __name__ == "__main__":
    main()
