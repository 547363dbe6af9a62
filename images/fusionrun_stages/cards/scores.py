"""Scores on the model card: tables with intervals, paired differences and judges, and results in the hub's format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusionrun.api.spec.evaluation import Benchmark
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import EvaluatedModel
from fusionrun.api.status.results import BenchmarkResult, GroupResult
from fusionrun.api.tasks.protocol import Unit
from fusionrun_stages.judges.templates import shown
from fusionrun_stages.remote.hub import hub_id

P_VALUE_MIN = 0.001
"""Smaller p-values are shown as less than it."""
METRICS = {
    "ArenaHard": "win_rate",
    "AlpacaEval": "length_controlled_win_rate",
    "EvalPlus": "pass@1",
    "LiveCodeBench": "pass@1",
    "Coding": "pass@1",
}
"""Names of metrics in model-index, by grader; of others ``accuracy``, or ``rating`` by their unit."""


@dataclass(frozen=True)
class Scores:
    """The scores of a run's models."""

    results: Sequence[BenchmarkResult] = ()
    groups: Sequence[GroupResult] = field(default=())

    @classmethod
    def of_numbers(cls, scores: Mapping[str, Mapping[str, float]]) -> "Scores":
        """Return scores without intervals, by benchmark, then by model: those of tasks of release 0.2.0."""
        return cls([BenchmarkResult(benchmark=name, **by_model) for name, by_model in sorted(scores.items())])


def score_rows(scores: Scores) -> list[dict[str, str]]:
    """Return the cells of the table of scores."""
    return [
        {
            "benchmark": row.benchmark,
            **{model.value: _score(row, model) for model in EvaluatedModel},
            "against_base": _difference(row, EvaluatedModel.BASE),
            "against_sft": _difference(row, EvaluatedModel.SFT),
            "unit": _unit(row),
            "protocol": _protocol(row),
            "judge": row.judge or "",
        }
        for row in scores.results
    ]


def _score(row: BenchmarkResult, model: EvaluatedModel) -> str:
    value = getattr(row, model.value)
    if value is None:
        return ""
    found = next((s for s in row.scores if s.model == model), None)
    if found is None or found.lower is None or found.upper is None:
        return f"{value:.{_digits(row)}f}"
    return f"{value:.{_digits(row)}f} ({_interval(row, found.lower, found.upper)})"


def _difference(row: BenchmarkResult, against: EvaluatedModel) -> str:
    found = next((d for d in row.differences if (d.model, d.against) == (EvaluatedModel.FINAL, against)), None)
    baseline = getattr(row, against.value)
    if found is None:
        known = row.final is not None and baseline is not None
        return f"{row.final - baseline:+.{_digits(row)}f}" if known else ""
    text = f"{found.delta:+.{_digits(row)}f}"
    if found.lower is not None and found.upper is not None:
        text += f" ({_interval(row, found.lower, found.upper)})"
    return text if found.p_value is None else f"{text}, p {_p_value(found.p_value)}"


def _p_value(value: float) -> str:
    return f"< {P_VALUE_MIN}" if value < P_VALUE_MIN else f"= {value:.2g}"


def _interval(row: BenchmarkResult, lower: float, upper: float) -> str:
    return f"{lower:.{_digits(row)}f} to {upper:.{_digits(row)}f}"


def _digits(row: BenchmarkResult) -> int:
    """Return the decimals that are shown: a rating has a range of 9 points."""
    return 2 if row.unit == Unit.RATING else 1


def _unit(row: BenchmarkResult) -> str:
    return "rating, 1 to 10" if row.unit == Unit.RATING else "percent"


def _protocol(row: BenchmarkResult) -> str:
    return f"{row.protocol}, modified" if row.protocol and row.modified else row.protocol or ""


def judge_rows(evaluated: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the cells of the table of judges, from the details of the benchmarks of a model."""
    return [
        {
            "benchmark": name,
            "judge": details["judge"] or "",
            "files": shown(details["templates_sha256"]),
            "unparsed": str(details["unparsed"]),
            "position_consistency": _share(details["position_consistency"]),
            "length_bias": _share(details["length_bias"]),
        }
        for name, details in evaluated.items()
        if "judge" in details
    ]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def eval_results(scores: Scores, spec: FusionRunSpec) -> list[Any]:
    """Return the scores of the final model as ``huggingface_hub.EvalResult``, for the model-index of the card."""
    benchmarks = {b.name: b for b in spec.evaluation.benchmarks}
    return [
        _eval_result(row, benchmarks[row.benchmark])
        for row in scores.results
        if row.final is not None and row.benchmark in benchmarks
    ]


def _eval_result(row: BenchmarkResult, benchmark: Benchmark) -> Any:
    from huggingface_hub import EvalResult

    on_hub = benchmark.uri is not None and benchmark.uri.startswith("hf://")
    final = next((s for s in row.scores if s.model == EvaluatedModel.FINAL), None)
    arguments = {
        "protocol": row.protocol,
        "modified": row.modified,
        "judge": row.judge,
        "prompts": final and final.prompts,
        "lower": final and final.lower,
        "upper": final and final.upper,
    }
    rated = row.unit == Unit.RATING
    return EvalResult(
        task_type="text-generation",
        dataset_type=hub_id(benchmark.uri) if on_hub and benchmark.uri else benchmark.name,
        dataset_name=benchmark.preset.value if benchmark.preset else benchmark.task or benchmark.name,
        dataset_split=benchmark.split if on_hub else None,
        dataset_revision=benchmark.revision if on_hub else None,
        metric_type="rating" if rated else METRICS.get(str(benchmark.grader), "accuracy"),
        metric_value=row.final,
        metric_name=_protocol(row) or None,
        metric_args={name: value for name, value in arguments.items() if value is not None} or None,
    )
