"""The row of a LiveBench question, as the data set has it."""

import json
from dataclasses import dataclass
from typing import Any

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.errors import UserError


class UngradableError(Exception):
    """No response to the question can be graded; the message says why."""


@dataclass(frozen=True)
class LiveBenchRow:
    """What the graders read."""

    category: str
    task: str
    """The subtask if the row has one, such as ``amc_12a_2023``, otherwise the task."""
    prompt: str
    """The user message; the choices of AMC and the formats of a table are in it."""
    fields: dict[str, Any]
    """The other columns of the row."""

    @property
    def ground_truth(self) -> str:
        """The reference answer.

        Raises
        ------
        UngradableError
            The row has none.
        """
        value = self.fields.get("ground_truth")
        if not isinstance(value, str) or not value:
            raise UngradableError(f"its ground_truth is {value!r}, not a text")
        return value


def read_row(question: Question) -> LiveBenchRow:
    """Return the row of a question.

    Raises
    ------
    UserError
        ``group`` is not ``category/task``, or ``data`` is not a JSON object.
    """
    category, slash, task = (question.group or "").partition("/")
    if not slash or not category or not task:
        raise UserError(f"question {question.prompt_id}: group is {question.group!r}, not category/task")
    try:
        fields = json.loads(question.data or "")
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise UserError(f"question {question.prompt_id}: data is {(question.data or '')[:80]!r}, not a JSON object")
    turns = fields.get("turns")
    prompt = turns[0] if isinstance(turns, list) and turns and isinstance(turns[0], str) else question.prompt
    return LiveBenchRow(category, fields.get("subtask") or task, prompt, fields)
