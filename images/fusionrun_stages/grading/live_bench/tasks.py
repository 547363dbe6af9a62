"""The grader of each task of LiveBench's release of 2024-08-31, except the coding tasks.

Source: LiveBench 0.0.4, gen_ground_truth_judgment.py, with its default release 2024-08-31.
"""

from collections.abc import Callable

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.errors import UserError
from fusionrun_stages.grading.live_bench.amps_hard import grade_value
from fusionrun_stages.grading.live_bench.competitions import grade_aime, grade_choice
from fusionrun_stages.grading.live_bench.data_analysis import grade_column_type, grade_join
from fusionrun_stages.grading.live_bench.instructions import grade_instructions
from fusionrun_stages.grading.live_bench.language import grade_connections, grade_plot, grade_typos
from fusionrun_stages.grading.live_bench.olympiad import grade_order
from fusionrun_stages.grading.live_bench.reasoning import (
    grade_house_traversal,
    grade_spatial,
    grade_web_of_lies,
    grade_zebra,
)
from fusionrun_stages.grading.live_bench.rows import LiveBenchRow, UngradableError, read_row
from fusionrun_stages.grading.live_bench.tables import grade_table
from fusionrun_stages.grading.marks import Mark

RowGrader = Callable[[LiveBenchRow, str], Mark]

_COMPETITIONS: dict[str, RowGrader] = {
    "amc": grade_choice,
    "smc": grade_choice,
    "aime": grade_aime,
    "imo": grade_order,
    "usamo": grade_order,
}
"""By the first part of the subtask: ``amc_12a_2023``."""
_TASKS: dict[str, RowGrader] = {
    "cta": grade_column_type,
    "tablereformat": grade_table,
    "tablejoin": grade_join,
    "web_of_lies_v2": grade_web_of_lies,
    "house_traversal": grade_house_traversal,
    "zebra_puzzle": grade_zebra,
    "spatial": grade_spatial,
    "typos": grade_typos,
    "connections": grade_connections,
    "plot_unscrambling": grade_plot,
}


def check(question: Question) -> None:
    """Raise UserError if there is no grader for the task of a question."""
    _grader_of(question, read_row(question))


def grade(question: Question, text: str) -> Mark:
    """Return the points of a response; None if the row has no usable reference answer.

    It has no limit of time: ``grade_all`` has.

    Raises
    ------
    UserError
        ``group`` or ``data`` of the question are not those of a row of LiveBench, or there is no grader for the task.
    """
    row = read_row(question)
    grader = _grader_of(question, row)
    try:
        return grader(row, text)
    except UngradableError as error:
        return Mark(None, f"the question cannot be graded: {error}")


def _grader_of(question: Question, row: LiveBenchRow) -> RowGrader:
    if row.category == "instruction_following":
        return grade_instructions
    first, _, rest = row.task.partition("_")
    if grader := _COMPETITIONS.get(first):
        return grader
    if rest.partition("_")[0] == "amc":  # updated_amc_12a_2023
        return grade_choice
    if "amps_hard" in row.task.lower():
        return grade_value
    if grader := _TASKS.get(row.task):
        return grader
    raise UserError(
        f"question {question.prompt_id}: there is no grader for task {row.task!r} of {question.group!r}. The protocol "
        "is that of the release 2024-08-31: later releases have other tasks"
    )
