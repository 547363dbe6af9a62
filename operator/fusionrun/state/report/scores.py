"""The scores of a run's models from the results of its pods: with intervals, differences and averages."""

from collections.abc import Iterable, Mapping, Sequence

from fusionrun.api.published.paper_scores import GROUPS, BenchmarkGroup, PaperRow, averaged, group_means, row_of
from fusionrun.api.results.result import StageResult
from fusionrun.api.results.values import Compared, Difference, Evaluated
from fusionrun.api.spec.evaluation import BenchmarkPreset, Evaluation
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import EvaluatedModel
from fusionrun.api.status.results import (
    SCORE_MESSAGE_CHARACTERS,
    BenchmarkResult,
    GroupResult,
    ModelDifference,
    ModelScore,
)
from fusionrun.api.tasks.evaluation import BenchmarkParameters
from fusionrun.api.tasks.protocol import Protocol

DIGITS = 2


def with_scores(
    previous: Sequence[BenchmarkResult],
    evaluation: Evaluation,
    model: str,
    results: Sequence[StageResult],
    benchmarks: Iterable[BenchmarkParameters] = (),
    judge: str | None = None,
    models: Sequence[str] = tuple(EvaluatedModel),
) -> list[BenchmarkResult]:
    """Return the benchmark results with the scores of one model, from the result of ``evaluate/MODEL``.

    ``benchmarks`` have the protocols, and ``judge`` is the model that judged. Scores are in the order of ``models``,
    since models are evaluated in any order.
    """
    evaluated = results[0].values if results else None
    evaluated = evaluated if isinstance(evaluated, Evaluated) else Evaluated()
    protocols = {b.name: b.protocol for b in benchmarks}
    known = {r.benchmark: r for r in previous}
    updated = []
    for benchmark in evaluation.benchmarks:
        row = known.get(benchmark.name, BenchmarkResult(benchmark=benchmark.name))
        if protocol := protocols.get(benchmark.name):
            row = _with_protocol(row, protocol, judge)
        if benchmark.name in evaluated.scores:
            row = _with_score(row, model, evaluated)
        elif reason := evaluated.unscored.get(benchmark.name):
            row = _with_model(row, ModelScore(model=model, message=reason[:SCORE_MESSAGE_CHARACTERS]))
        ordered = sorted(row.scores, key=lambda s: models.index(s.model) if s.model in models else len(models))
        row = row.model_copy(update={"scores": ordered})
        if row.base is not None and row.final is not None:
            row = row.model_copy(update={"delta": round(row.final - row.base, DIGITS)})
        updated.append(row)
    return updated


def _with_protocol(row: BenchmarkResult, protocol: Protocol, judge: str | None) -> BenchmarkResult:
    return row.model_copy(
        update={
            "unit": str(protocol.unit),
            "protocol": f"{protocol.name} {protocol.version}",
            "modified": protocol.modified or None,
            "judge": judge if protocol.grader.needs_judge else None,
        }
    )


def _with_score(row: BenchmarkResult, model: str, evaluated: Evaluated) -> BenchmarkResult:
    name = row.benchmark
    value = round(evaluated.scores[name], DIGITS)
    fields = {model: value} if model in set(EvaluatedModel) else {}
    if name not in evaluated.lower and row.unit is None:  # of release 0.2.0
        return row.model_copy(update=fields)
    score = ModelScore(
        model=model,
        score=value,
        lower=evaluated.lower.get(name),
        upper=evaluated.upper.get(name),
        prompts=evaluated.graded.get(name),
    )
    return _with_model(row.model_copy(update=fields), score)


def _with_model(row: BenchmarkResult, score: ModelScore) -> BenchmarkResult:
    return row.model_copy(update={"scores": [*(s for s in row.scores if s.model != score.model), score]})


def with_differences(
    previous: Sequence[BenchmarkResult], pairs: Iterable[tuple[str, str]], results: Sequence[StageResult]
) -> list[BenchmarkResult]:
    """Return the benchmark results with the differences of the pairs of models, from the result of ``compare``."""
    compared = results[0].values if results else None
    found = compared.differences if isinstance(compared, Compared) else {}
    named = [(first, second, found.get(f"{first}-{second}", {})) for first, second in pairs]
    updated = []
    for row in previous:
        mine = [(first, second, by_name.get(row.benchmark)) for first, second, by_name in named]
        differences = [_difference(*one) for one in mine]
        updated.append(row.model_copy(update={"differences": [d for d in differences if d is not None]}))
    return updated


def _difference(model: str, against: str, difference: Difference | None) -> ModelDifference | None:
    if difference is None or difference.delta is None:
        return None
    return ModelDifference(
        model=model,
        against=against,
        delta=difference.delta,
        lower=difference.lower,
        upper=difference.upper,
        p_value=difference.p_value,
        prompts_needed=difference.prompts_needed,
    )


def missing_scores(row: BenchmarkResult) -> list[str]:
    """Return which models have no score on a benchmark, and why."""
    return [f"no score of {s.model}: {s.message}" for s in row.scores if s.message]


def by_model(rows: Iterable[BenchmarkResult]) -> dict[str, dict[str, float]]:
    """Return the scores by benchmark, then by model, for the published card."""
    return {
        r.benchmark: {m: v for m, v in (("base", r.base), ("sft", r.sft), ("final", r.final)) if v is not None}
        for r in rows
    }


def group_results(spec: FusionRunSpec, rows: Sequence[BenchmarkResult]) -> list[GroupResult]:
    """Return the averages over the benchmarks of the paper, if the run has some of them and trains a model.

    The average of a model is shown when it has a score on each of them.
    """
    if spec.target is None:
        return []
    presets = {b.name: b.preset for b in spec.evaluation.benchmarks if b.preset is not None}
    mine = {presets[row.benchmark]: row for row in rows if row.benchmark in presets}
    published = row_of(spec.target.model.uri)
    kept = averaged(frozenset(presets.values()), published)
    means = {model: _means(mine, kept, model, published) for model in EvaluatedModel}
    paper = {
        model: group_means({p: v for p, v in published.of(model).items() if p in kept}, published) if published else {}
        for model in EvaluatedModel
    }
    if not any(means.values()):
        return []
    groups = []
    for group, members in GROUPS.items():
        if not members & kept:
            continue
        numbers = {str(model): means[model].get(group) for model in EvaluatedModel}
        numbers |= {f"published_{model}": by_group.get(group) for model, by_group in paper.items()}
        groups.append(
            GroupResult(
                group=group,
                benchmarks=len(members & kept),
                modified=sum(bool(mine[p].modified) for p in members & kept if p in mine) or None,
                published_target=published.target if published else None,
                **{name: None if value is None else round(value, DIGITS) for name, value in numbers.items()},
            )
        )
    return groups


def _means(
    rows: Mapping[BenchmarkPreset, BenchmarkResult],
    kept: frozenset[BenchmarkPreset],
    model: EvaluatedModel,
    published: PaperRow | None,
) -> Mapping[BenchmarkGroup, float]:
    """Return the averages of a model by group; none unless it has a score on each of the benchmarks."""
    scores = {preset: getattr(rows[preset], model.value) for preset in kept if preset in rows}
    if len(scores) < len(kept) or any(score is None for score in scores.values()):
        return {}
    return group_means(scores, published)
