"""A row of HumanEvalPlus.jsonl or MbppPlus.jsonl."""

import json
from dataclasses import dataclass
from typing import Any

from fusionrun_stages.grading.eval_plus.inputs import restore


@dataclass(frozen=True)
class Problem:
    """A function to write, with the inputs that it is tested on."""

    task_id: str
    """``HumanEval/<number>`` or ``Mbpp/<number>``."""
    entry_point: str
    solution: str
    """The benchmark's own program."""
    base: list[tuple[Any, ...]]
    """Arguments of each call of the base tests."""
    plus: list[tuple[Any, ...]]
    """Arguments of each call of the tests that EvalPlus added."""
    tolerance: float
    """Absolute tolerance of numbers; 0 if the outputs must be equal."""


def read_problem(data: str | None) -> Problem:
    """Return the problem of ``Question.data``. Raise ValueError if a field is missing or has another form."""
    row = json.loads(data or "{}")
    if not isinstance(row, dict):
        raise ValueError("the data of the question is not a JSON object")  # noqa: TRY004 (of a data set)
    texts: dict[str, str] = {}
    for name in ("task_id", "entry_point", "prompt", "canonical_solution"):
        if not isinstance(row.get(name), str):
            raise ValueError(f"its field {name} is not a text")  # noqa: TRY004 (of a data set)
        texts[name] = row[name]
    if "base_input" not in row or "plus_input" not in row:
        raise ValueError("it has no field base_input or plus_input")
    tolerance = row.get("atol") or 0
    if not isinstance(tolerance, int | float):
        raise ValueError(f"its atol is {tolerance!r}, not a number")  # noqa: TRY004 (of a data set)
    return Problem(
        task_id=texts["task_id"],
        entry_point=texts["entry_point"],
        solution=texts["prompt"] + texts["canonical_solution"],
        base=restore(texts["task_id"], row["base_input"]),
        plus=restore(texts["task_id"], row["plus_input"]),
        tolerance=tolerance,
    )
