"""compare: the differences of the evaluated models, question by question.

Run: ``FUSIONRUN_TASK=task.json python -m fusionrun_stages compare``

All models answered the same prompts, so most of the variance of their scores is common to them: the difference per
question says more than two intervals. ``comparison.json`` has all numbers, and the averages over the groups of the
paper's table.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import COMPARISON_FILE
from fusionrun.api.published.paper_scores import group_means, preset_of
from fusionrun.api.results.values import Compared, Difference
from fusionrun.api.spec.evaluation import BenchmarkPreset
from fusionrun.api.tasks.evaluation import BenchmarkParameters, CompareParameters
from fusionrun.api.tasks.protocol import Aggregation, Unit
from fusionrun_stages.evaluation.tasks_of_lm_eval import is_task
from fusionrun_stages.harness.stage import read_score
from fusionrun_stages.uncertainty.corrections import holm
from fusionrun_stages.uncertainty.paired import Pair, Paired, compare
from fusionrun_stages.uncertainty.question_scores import Column, aligned, read_columns
from fusionrun_stages.uncertainty.scored import score
from fusionrun_stages.volume.atomic import write_atomic
from fusionrun_stages.work import Made, Work

DIGITS = 4
SHOWN_DIGITS = 2
"""Digits of differences in the status, which are in percentage points or points of a rating."""

ByPair = dict[str, dict[str, Paired]]
"""Differences by pair of models, then by benchmark."""


def run(work: Work) -> Made:
    """Compare the models of each pair on each benchmark, and correct the p-values for the number of benchmarks."""
    parameters = work.parameters(CompareParameters)
    found: ByPair = {pair_name(pair): {} for pair in parameters.pairs}
    scores: dict[str, dict[str, float]] = {}
    for done, benchmark in enumerate(parameters.benchmarks, start=1):
        columns = _columns(parameters, benchmark)
        aggregation = _aggregation(parameters, benchmark)
        scores[benchmark.name] = _scores(columns, aggregation)
        for pair in parameters.pairs:
            paired = _compare(columns, pair, aggregation, _unit(benchmark), parameters.seed)
            if paired is not None:
                found[pair_name(pair)][benchmark.name] = paired
        work.report(done, len(parameters.benchmarks), "benchmarks")
    corrected = {name: _corrected(differences) for name, differences in found.items()}
    comparison = {
        "units": {b.name: str(_unit(b)) for b in parameters.benchmarks},
        "scores": scores,
        "differences": {
            name: {b: _described(paired, corrected[name].get(b)) for b, paired in differences.items()}
            for name, differences in found.items()
        },
        "averages": _averages(parameters, scores),
    }
    write_atomic(work.output / COMPARISON_FILE, json.dumps(comparison, indent=1).encode())
    return Made(
        values=Compared(
            differences={
                name: {b: _difference(paired, corrected[name].get(b)) for b, paired in differences.items()}
                for name, differences in found.items()
            }
        ),
        files=[COMPARISON_FILE],
        details=comparison,
    )


def pair_name(pair: tuple[str, str]) -> str:
    """Name a pair of models, the first against the second: ``final-base``."""
    return f"{pair[0]}-{pair[1]}"


def _aggregation(parameters: CompareParameters, benchmark: BenchmarkParameters) -> Aggregation:
    """Return how questions become a score; for a task of lm-eval, ``evaluate`` has it, the same for every model."""
    if is_task(benchmark):
        scores = Path(next(iter(parameters.scores.values())))
        return read_score(scores.parent, benchmark.name).aggregation
    return benchmark.protocol.aggregation if benchmark.protocol else Aggregation.MEAN


def _unit(benchmark: BenchmarkParameters) -> Unit:
    return benchmark.protocol.unit if benchmark.protocol else Unit.PERCENT


def _columns(parameters: CompareParameters, benchmark: BenchmarkParameters) -> dict[str, dict[str, Column]]:
    """Read the scores of one benchmark: by metric, then by model."""
    metrics = [""]
    protocol = benchmark.protocol
    if protocol is not None and protocol.aggregation is Aggregation.LENGTH_CONTROLLED:
        metrics += protocol.metrics[1:2]
    return {
        metric: {model: read_columns(Path(path), benchmark.name, metric) for model, path in parameters.scores.items()}
        for metric in metrics
    }


def _scores(columns: dict[str, dict[str, Column]], aggregation: Aggregation) -> dict[str, float]:
    values = {model: score(column.scored, aggregation) for model, column in columns[""].items()}
    return {model: round(value, DIGITS) for model, value in values.items() if value is not None}


def _compare(
    columns: dict[str, dict[str, Column]], pair: tuple[str, str], aggregation: Aggregation, unit: Unit, seed: int
) -> Paired | None:
    """Compare two models on the questions that both have; None if one of them has no score.

    The values of the length-controlled win rate are predictions: they vary less between questions than the judge's
    preferences do. So the interval and the test use the preferences.
    """
    main, *others = (aligned(models[pair[0]], models[pair[1]]) for models in columns.values())
    spread = Pair(*others[0]) if others and len(others[0][0]) == len(main[0]) else None
    return compare(Pair(*main), aggregation, unit, seed, spread)


def _corrected(differences: dict[str, Paired]) -> dict[str, float]:
    return holm({name: paired.p_value for name, paired in differences.items() if paired.p_value is not None})


def _described(paired: Paired, p_value: float | None) -> dict[str, Any]:
    numbers = {name: round(v, DIGITS) if isinstance(v, float) else v for name, v in asdict(paired).items()}
    return numbers | {"p_value": _significant(paired.p_value), "p_value_corrected": _significant(p_value)}


def _difference(paired: Paired, p_value: float | None) -> Difference:
    return Difference(
        delta=round(paired.delta, SHOWN_DIGITS),
        lower=None if paired.lower is None else round(paired.lower, SHOWN_DIGITS),
        upper=None if paired.upper is None else round(paired.upper, SHOWN_DIGITS),
        p_value=_significant(p_value),
        prompts_needed=paired.prompts_needed,
    )


def _significant(p_value: float | None) -> float | None:
    """Return a p-value with two significant digits."""
    return None if p_value is None else float(f"{p_value:.2g}")


def _averages(parameters: CompareParameters, scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return the averages over the benchmarks of the paper: by model, then by group."""
    presets: Sequence[tuple[str, BenchmarkPreset | None]] = [
        (b.name, preset_of(b.protocol) if b.protocol else None) for b in parameters.benchmarks
    ]
    averages = {}
    for model in parameters.scores:
        known = {preset: scores[name][model] for name, preset in presets if preset and model in scores[name]}
        if means := group_means(known):
            averages[model] = {str(group): round(mean, DIGITS) for group, mean in means.items()}
    return averages
