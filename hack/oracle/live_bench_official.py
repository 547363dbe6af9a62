"""Score responses with LiveBench's official code, in its own Python: ``python live_bench_official.py FOLDER < CASES``.

It reads one JSON list ``[category, task, prompt, row, response]`` per line and writes the score, or ``"error"`` if the
code raises an exception. FOLDER is a checkout of github.com/LiveBench/LiveBench at the commit that ``COMMIT`` names, or
the folder FuseEval/General-Eval/LiveBench of FuseChat-3.0, whose graders are the same byte by byte.
"""

import contextlib
import importlib
import io
import json
import sys
import warnings
from types import SimpleNamespace

COMMIT = "0678e4e"
"""Version 0.0.4 of 2024-10-21, the last one whose default release is 2024-08-31."""
GRADERS = {
    "amc": ("math.math_competitions", "mathcontest"),
    "smc": ("math.math_competitions", "mathcontest"),
    "aime": ("math.math_competitions", "aime"),
    "imo": ("math.olympiad", "proof_rearrangement"),
    "usamo": ("math.olympiad", "proof_rearrangement"),
    "amps": ("math.AMPS_Hard", "amps_hard"),
    "cta": ("data_analysis.cta", "cta"),
    "tablereformat": ("data_analysis.tablereformat", "table"),
    "tablejoin": ("data_analysis.tablejoin", "joinmap"),
    "web": ("reasoning.web_of_lies_v2", "web_of_lies"),
    "house": ("reasoning.house_traversal", "house_traversal"),
    "zebra": ("reasoning.zebra_puzzle", "zebra_puzzle"),
    "spatial": ("reasoning.spatial", "spatial"),
    "typos": ("writing.typos", "typos"),
    "connections": ("writing.connections", "connections"),
    "plot": ("writing.plot_unscrambling", "plot_unscrambling"),
}
"""Module and function by the first part of the task's name."""


def score(category: str, task: str, prompt: str, row: dict, response: str) -> float:
    """Return the score; the choice of the grader is that of ``gen_ground_truth_judgment.py``."""
    if category == "instruction_following":
        return _instructions(prompt, row, response)
    gold = row["ground_truth"]
    first = (row.get("subtask") or task).removeprefix("updated_").split("_")[0]
    module, name = GRADERS[first]
    grade = getattr(importlib.import_module(f"livebench.process_results.{module}.utils"), f"{name}_process_results")
    if first in ("amc", "smc"):
        return grade(gold, response, prompt)
    if first in ("imo", "usamo"):
        return grade(gold, response, edit_distance=True)
    if first in ("tablereformat", "tablejoin"):
        return grade(prompt, gold, response)
    return grade(gold, response)


def _instructions(prompt: str, row: dict, response: str) -> float:
    evaluation = importlib.import_module("livebench.if_runner.instruction_following_eval.evaluation_main")
    utils = importlib.import_module("livebench.process_results.instruction_following.utils")
    arguments = [{name: value for name, value in values.items() if value is not None} for values in row["kwargs"]]
    example = SimpleNamespace(key=0, prompt=prompt, instruction_id_list=row["instruction_id_list"], kwargs=arguments)
    result = evaluation.test_instruction_following_strict(example, {prompt: response})
    return utils.score_results(result.follow_all_instructions, result.follow_instruction_list)


def main() -> None:
    """Score every line."""
    sys.path.insert(0, sys.argv[1])
    warnings.simplefilter("ignore")
    importlib.import_module("langdetect").DetectorFactory.seed = 0  # the official code has none
    for line in sys.stdin:
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                result = json.dumps(float(score(*json.loads(line))))
        except Exception:  # noqa: BLE001 (whatever the graders raise)
            result = '"error"'
        print(result, flush=True)


if __name__ == "__main__":
    main()
