"""The length-controlled win rate of AlpacaEval 2, from the preferences of all questions."""

import math
from collections.abc import Iterator
from pathlib import Path

from fusionrun.api.evaluation_records import QuestionScore
from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.evaluation.tallies import Column, Tally


def complete(tally: Tally, materials: Path | None) -> tuple[Iterator[QuestionScore], float | None]:
    """Put the values of the regression into the main scores; return the rows and the protocol's standard error.

    Both are in percent. Every question gets a value, also one whose judgement is unusable: the regression predicts it.
    The standard error is None for one question. Without any usable judgement, the scores stay empty.
    """
    from fusionrun_stages.judges import length_control

    control = tally.length_control
    if control is None or materials is None:
        raise InfrastructureError(f"benchmark {tally.name} is judged, but the task has no materials")
    preferences = [row.score for row in control.scores]
    if all(preference is None for preference in preferences):
        return iter(control.scores), None
    gamed = length_control.read_gamed(materials / tally.name)
    found = length_control.length_controlled(preferences, control.deltas, control.difficulties, gamed)
    tally.columns[""] = Column()
    rows = []
    for row, value in zip(control.scores, found.values, strict=True):
        completed = row.model_copy(update={"score": float(value), "weight": 1.0})
        tally.columns[""].append(completed.score, 1.0, row.group)
        rows.append(completed)
    return iter(rows), found.standard_error if math.isfinite(found.standard_error) else None
