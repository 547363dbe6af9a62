"""Who answers what: which source a data set's responses come from, and by which rule they are judged."""

from fusionrun.api.data import Dataset, Grader, Task
from fusionrun.api.models import Source, SourceType
from fusionrun.api.spec import FusionRunSpec
from fusionrun.plan.references import dataset_columns

SOLUTIONS = "verify/solutions"
"""The stage that judges the reference solutions of the prompts, before anybody is asked."""

GRADED_TASKS = {Task.MATHEMATICS: Grader.MATHEMATICS, Task.CODING: Grader.CODING}


def answered(spec: FusionRunSpec, source: str) -> list[Dataset]:
    """List the data sets that a source answers."""
    return [d for d in spec.datasets if source in (d.sources or [])]


def judged(spec: FusionRunSpec, source: Source, task: Task) -> list[str]:
    """List the data sets of a task to which a source's responses may belong.

    A prompt that stands in two data sets of a task belongs to the first, with the responses that the second brings for
    it: of a source whose responses data sets hold these are all data sets up to the last that holds some.
    """
    names = [d.name for d in spec.datasets if d.task is task]
    own = [d.name for d in answered(spec, source.name) if d.task is task]
    if source.type is not SourceType.DATASET or not own:
        return own
    return names[: names.index(own[-1]) + 1]


def solved(spec: FusionRunSpec) -> list[str]:
    """List the data sets that bring reference solutions, to be checked by the prompts' own tests."""
    return [d.name for d in spec.datasets if dataset_columns(d).solution]


def checked(spec: FusionRunSpec) -> tuple[str, ...]:
    """Return the stage that checks reference solutions, if there are any."""
    return (SOLUTIONS,) if solved(spec) else ()


def responses_stage(source: Source) -> str:
    """Name the stage that leaves a source's responses: ``prepare/prompts`` where a data set holds them."""
    return "prepare/prompts" if source.type is SourceType.DATASET else f"generate/{source.name}"
