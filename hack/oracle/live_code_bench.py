"""Ask two versions of LiveCodeBench's runner for their verdicts on invented responses, outputs and programs.

``hack/oracles live-code-bench --repo FOLDER --package FOLDER --python PYTHON`` writes them to
``tests/stages/grading/live_code_bench_verdicts.json``. The first folder is a checkout of
github.com/SLIT-AI/FuseChat-3.0, whose rules this project follows; the second is ``livecodebench`` of
nvidia-livecodebench 26.3 (``pip install --no-deps``), a later version. PYTHON needs numpy. Without ``--repo``, only the
package is asked, and the verdicts of FuseChat-3.0 stay as they are in the file.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oracle.live_code_bench_cases import PROBLEMS, outputs, responses, results

VERDICTS = Path(__file__).parents[2] / "tests/stages/grading/live_code_bench_verdicts.json"
RUNNER = "FuseEval/Code-Eval/LiveCodeBench/lcb_runner"
RESPONSES, OUTPUTS = 120, 400


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask for all verdicts, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", type=Path, help="a checkout of github.com/SLIT-AI/FuseChat-3.0")
    parser.add_argument("--package", type=Path, required=True, help="the folder livecodebench of nvidia-livecodebench")
    parser.add_argument("--python", default=sys.executable, help="the Python that has numpy")
    options = parser.parse_args(arguments)
    rows: dict[str, list[Any]] = {}

    def judge(name: str, made: list[list[Any]], requests: list[dict[str, Any]]) -> None:
        first = ask(options.python, options.repo / RUNNER, requests) if options.repo else read_first(name, made)
        second = ask(options.python, options.package, requests)
        rows[name] = [[*row, *found] for row, *found in zip(made, first, second, strict=True)]

    texts = list(responses(RESPONSES))
    judge("responses", [[text] for text in texts], [{"extract": text} for text in texts])
    printed = list(outputs(OUTPUTS))
    writes = [f"import sys\nsys.stdout.write({text!r})" for text, _ in printed]
    requests = [{"run": [code, ["1"], [pair[1]], None]} for code, pair in zip(writes, printed, strict=True)]
    judge("outputs", [[*pair] for pair in printed], requests)
    returned = list(results())
    requests = [{"run": [f"def f(_):\n    return {pair[0]}", ["1"], [pair[1]], "f"]} for pair in returned]
    judge("results", [[*pair] for pair in returned], requests)
    programs = [(number, program) for number, problem in enumerate(PROBLEMS) for program in problem.programs]
    requests = [
        {"run": [program, *map(list, zip(*PROBLEMS[number].tests, strict=True)), PROBLEMS[number].function]}
        for number, program in programs
    ]
    judge("programs", [[*pair] for pair in programs], requests)
    VERDICTS.write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
    for name, found in rows.items():
        different = sum(row[-1] != row[-2] for row in found)
        print(f"{name}: {len(found)}, of which the two versions differ in {different}")


def read_first(name: str, made: list[list[Any]]) -> list[Any]:
    """Return the committed answers of FuseChat-3.0's version."""
    found = json.loads(VERDICTS.read_text(encoding="utf-8"))[name]
    if [row[:-2] for row in found] != made:
        raise SystemExit(f"{name}: the cases are not those of {VERDICTS}; --repo is required")
    return [row[-2] for row in found]


def ask(python: str, folder: Path, requests: list[dict[str, Any]]) -> list[Any]:
    """Return the answers of one version, from a process of its own."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    command = [python, str(Path(__file__).parent / "official_live_code_bench.py"), str(folder)]
    found = subprocess.run(command, input=lines, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    if len(found) != len(requests):
        raise SystemExit(f"{len(found)} answers to {len(requests)} requests")
    return [json.loads(line) for line in found]


if __name__ == "__main__":
    main()
