"""The simulated results of pods: the keys of the real programs, with invented values."""

from typing import Any

from fusionrun.api.records import VerdictValue
from fusionrun.api.result import Outcome, StageResult
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.plan.stages import Plan, Stage

SCORES = {"base": 20.0, "sft": 50.0, "final": 60.0}
"""Percentage of right answers by model, which pass the gates of the samples."""
PEAK_MEMORY_BYTES = 512 << 20
ROWS = 400
_TRAINED = {"rows": ROWS, "dropped_long": 0, "tokens": 80 * ROWS, "steps": 36}
_COUNTS: dict[StageKind, dict[str, int]] = {
    StageKind.FETCH: {"files": 9, "bytes": 1 << 30},
    StageKind.GENERATE: {
        "requests": ROWS,
        "responses": ROWS,
        "truncated": 3,
        "errors": 0,
        "prompt_tokens": 20 * ROWS,
        "completion_tokens": 60 * ROWS,
    },
    StageKind.VERIFY: {str(value): ROWS // 3 for value in VerdictValue},
    StageKind.SCORE: {"scored": ROWS, "unscored": 0},
    StageKind.SFT: _TRAINED,
    StageKind.DPO: _TRAINED,
    StageKind.PROMOTE: {"candidates": 3, "held_out_pairs": 20},
    StageKind.PUBLISH: {"published": 1},
}
_LOSSES = {"first_loss": 0.6931, "last_loss": 0.5172}
_NUMBERS: dict[StageKind, dict[str, float]] = {
    StageKind.SFT: _LOSSES,
    StageKind.DPO: _LOSSES | {"first_reward_accuracy": 0.51, "last_reward_accuracy": 0.83},
    StageKind.PROMOTE: {"step": 15.0, "held_out_accuracy": 0.85, "held_out_loss": 0.61},
}


def simulated_result(stage: Stage, plan: Plan, spec: FusionRunSpec, script: dict[str, Any]) -> StageResult:
    """Return the result of a successful pod of a stage.

    ``resolve`` finds a pin for each reference, and no complete artifact, so that every stage runs.
    """
    counts = dict(_COUNTS.get(stage.kind, {}))
    numbers = dict(_NUMBERS.get(stage.kind, {}))
    pins = []
    if stage.kind is StageKind.RESOLVE:
        pins = [f"{number:012x}" for number, _ in enumerate(plan.references)]
        counts = {"references": len(pins), "complete": 0}
    elif stage.kind is StageKind.CONSTRUCT:
        counts, numbers = _dataset([source.name for source in spec.sources])
    elif stage.kind is StageKind.EVALUATE:
        benchmarks = [benchmark.name for benchmark in spec.evaluation.benchmarks]
        counts = dict.fromkeys(benchmarks, ROWS)
        numbers = dict.fromkeys(benchmarks, SCORES[stage.evaluated_model])
    elif stage.kind is StageKind.GENERATE:
        numbers = {"tokens_per_second": round(60 * ROWS / script["work_seconds"], 3)}
    return StageResult(
        outcome=Outcome.SUCCEEDED, counts=counts | {"peak_memory_bytes": PEAK_MEMORY_BYTES}, numbers=numbers, pins=pins
    )


def _dataset(sources: list[str]) -> tuple[dict[str, int], dict[str, float]]:
    counts = {"sft_rows": 40 * len(sources), "pairs": 60 * len(sources), "held_out_pairs": 20, "drop:AllCorrect": 20}
    counts |= {f"sft:{source}": 40 for source in sources} | {f"pairs:{source}": 60 for source in sources}
    numbers = {"truncated_share": 0.0075, "mean_margin": 1.25}
    return counts, numbers | {f"win:{source}": round(1 / len(sources), 4) for source in sources}
