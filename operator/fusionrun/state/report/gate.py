"""Whether the final model passes the gates of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from fusionrun.api.power import QUANTILE, prompts_needed
from fusionrun.api.spec.evaluation import Evaluation, Gate, GateBaseline, GateStatistic
from fusionrun.api.stage import EvaluatedModel
from fusionrun.api.status.results import BenchmarkResult, ModelDifference
from fusionrun.api.tasks.protocol import Unit
from fusionrun.state.report.scores import missing_scores

UNIT_NAMES = {Unit.PERCENT: "percentage points", Unit.RATING: "points"}


@dataclass(frozen=True)
class GateResult:
    """Whether a gate is passed, and its numbers for people."""

    passed: bool
    message: str


def gate_results(evaluation: Evaluation, results: Sequence[BenchmarkResult]) -> list[GateResult]:
    """Return the result of every gate, with the scores, the difference and its interval."""
    rows = {r.benchmark: r for r in results}
    return [
        _result(gate, rows.get(gate.benchmark, BenchmarkResult(benchmark=gate.benchmark))) for gate in evaluation.gate
    ]


def gate_failures(evaluation: Evaluation, results: Sequence[BenchmarkResult]) -> list[str]:
    """Return a message for every gate that the final model does not pass, with its scores."""
    return [result.message for result in gate_results(evaluation, results) if not result.passed]


def _result(gate: Gate, row: BenchmarkResult) -> GateResult:
    name, against = gate.benchmark, gate.against.value
    baseline = row.base if gate.against is GateBaseline.BASE else row.sft
    if row.final is None or baseline is None:
        return GateResult(passed=False, message=f"{name}: {'; '.join(missing_scores(row)) or 'no score'}")
    difference = _difference(gate, row)
    scores = f"{name}: {row.final:g} against {against} {baseline:g}"
    bound = gate.statistic is GateStatistic.LOWER_BOUND
    if bound and (difference is None or difference.lower is None):
        return GateResult(passed=False, message=f"{scores}: the interval of the difference is not known")
    tested = difference.lower if bound and difference else row.final - baseline
    passed = tested is not None and tested >= gate.min_delta
    if difference is None or difference.lower is None or difference.upper is None:
        verdict = f"{'at least' if passed else 'less than'} minDelta {gate.min_delta:g}"
        return GateResult(passed, f"{scores}: {verdict}")
    unit = UNIT_NAMES[Unit(row.unit)] if row.unit in set(Unit) else ""
    interval = f"95 % interval {difference.lower:g} to {difference.upper:g}"
    what = "the lower bound" if bound else "the difference"
    verdict = f"{what} is {'at least' if passed else 'less than'} minDelta {gate.min_delta:g}"
    text = f"{scores}: difference {difference.delta:+g} {unit}".rstrip() + f" ({interval}): {verdict}"
    return GateResult(passed, text + _prompts(gate, row, difference))


def _difference(gate: Gate, row: BenchmarkResult) -> ModelDifference | None:
    baseline = EvaluatedModel.BASE if gate.against is GateBaseline.BASE else EvaluatedModel.SFT
    pairs = ((d.model, d.against, d) for d in row.differences)
    return next((d for model, other, d in pairs if (model, other) == (EvaluatedModel.FINAL, baseline)), None)


def _prompts(gate: Gate, row: BenchmarkResult, difference: ModelDifference) -> str:
    """Say how many prompts show the asked difference, or the measured one if the gate asks for none."""
    graded = next((s.prompts for s in row.scores if s.model == EvaluatedModel.FINAL), None)
    if difference.lower is None or difference.upper is None:
        return ""
    asked, needed = difference.delta, difference.prompts_needed
    if gate.min_delta > 0 and graded:
        error = (difference.upper - difference.lower) / (2 * QUANTILE)
        asked, needed = gate.min_delta, prompts_needed(error, graded, gate.min_delta)
    if needed is None:
        return ""
    measured = f", {graded:,} were graded" if graded else ""
    return f"; to see a difference of {asked:g} takes {needed:,} prompts{measured}"
