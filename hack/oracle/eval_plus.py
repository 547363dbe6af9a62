"""Ask evalplus for its verdicts on invented texts, outputs and programs.

``hack/oracles eval-plus --python PYTHON`` writes them to ``tests/stages/grading/eval_plus_verdicts.json``, which tests
compare with this project's. PYTHON has evalplus 0.3.1; ``pip install --no-deps evalplus==0.3.1`` with tree-sitter,
tree-sitter-python, numpy, psutil, tqdm, termcolor, wget, tempdir, appdirs, fire,
multipledispatch and datasets is enough.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fusionrun_stages.grading.eval_plus.inputs import restore
from fusionrun_stages.grading.eval_plus.outputs import WHETHER_FOUND
from oracle.eval_plus_cases import PROBLEMS, PROGRAMS, outputs, texts

VERDICTS = Path(__file__).parents[2] / "tests/stages/grading/eval_plus_verdicts.json"
TEXTS, OUTPUTS = 260, 320
ENTRY_POINT = "target"


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask for all verdicts, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the Python that has evalplus")
    python = parser.parse_args(arguments).python
    made = list(texts(TEXTS))
    sanitized = ask(python, [{"sanitize": [text, ENTRY_POINT]} for text in made])
    compared = list(outputs(OUTPUTS))
    verdicts = ask(python, [{"check": _replay(*output)} for output in compared])
    rows = {
        "sanitized": [list(pair) for pair in zip(made, sanitized, strict=True)],
        "outputs": [[*output, verdict] for output, verdict in zip(compared, verdicts, strict=True)],
        "programs": list(_judge_programs(python)),
    }
    VERDICTS.write_text(json.dumps(rows, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print({name: len(found) for name, found in rows.items()}, f"in {VERDICTS}")


def ask(python: str, requests: list[dict[str, Any]]) -> list[str]:
    """Return evalplus's answers, from a process of its own."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    command = [python, str(Path(__file__).parent / "official_eval_plus.py")]
    found = subprocess.run(command, input=lines, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    if len(found) != len(requests):
        raise SystemExit(f"{len(found)} answers to {len(requests)} requests")
    return [json.loads(line) for line in found]


def _benchmark(task_id: str) -> str:
    return "mbpp" if task_id.startswith("Mbpp") else "humaneval"


def _replay(task_id: str, name: str, tolerance: float, given: str, output: str, expected: str) -> list[Any]:
    """Return a check of a program that returns the outputs in their order."""
    program = f"inf, nan = float('inf'), float('nan')\noutputs = {output}\ndef {name}(*_):\n    return outputs.pop(0)\n"
    return [_benchmark(task_id), program, given, name, expected, tolerance]


def _judge_programs(python: str) -> Iterator[list[str]]:
    """Yield the entry point, the program, and the verdicts of base and plus tests."""
    for problem in PROBLEMS:
        task_id, name = problem["task_id"], problem["entry_point"]
        solution = problem["prompt"] + problem["canonical_solution"]
        inputs = [repr(restore(task_id, problem[kind])) for kind in ("base_input", "plus_input")]
        expected = ask(python, [{"solve": [solution, given, name, name in WHETHER_FOUND]} for given in inputs])
        programs = [solution, *PROGRAMS[name]]
        checked = ask(python, [{"sanitize": [program, name]} for program in programs])
        for program, code in zip(programs, checked, strict=True):
            checks = [
                {"check": [_benchmark(task_id), code, given, name, wanted, problem["atol"]]}
                for given, wanted in zip(inputs, expected, strict=True)
            ]
            yield [name, program, *ask(python, checks)]


if __name__ == "__main__":
    main()
