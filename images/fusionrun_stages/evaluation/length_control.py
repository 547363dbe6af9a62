"""The length-controlled win rate of AlpacaEval 2, from the preferences of all questions."""

from collections.abc import Iterator
from pathlib import Path

from fusionrun.api.evaluation_records import QuestionScore
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.evaluation.tallies import Column, Tally

GAMED_FILE = "gamed.csv"
"""The annotations of the baseline's gamed responses, among the materials of the benchmark."""


def complete(tally: Tally, materials: Path | None) -> tuple[Iterator[QuestionScore], float]:
    """Put the values of the regression into the main scores; return the rows and the protocol's standard error.

    Both are in percent. Every question gets a value, also one whose judgement is unusable: the regression predicts it.
    """
    from fusionrun_stages.judges import length_control

    control = tally.length_control
    if control is None or materials is None:
        raise InfrastructureError(f"benchmark {tally.name} needs {GAMED_FILE}, but the task has no materials")
    found = length_control.length_controlled(
        [row.score for row in control.scores], control.deltas, control.difficulties, materials / tally.name / GAMED_FILE
    )
    tally.columns[""] = Column()
    rows = []
    for row, value in zip(control.scores, found.values, strict=True):
        completed = row.model_copy(update={"score": float(value), "weight": 1.0})
        tally.columns[""].append(completed.score, 1.0, row.group)
        rows.append(completed)
    return iter(rows), found.standard_error
