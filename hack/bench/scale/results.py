"""The simulated results of pods: the fields that the real programs report, with invented values."""

import zlib
from typing import Any

from pydantic import TypeAdapter

from fusionrun.api.results.result import Outcome, StageResult
from fusionrun.api.results.values import Values
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.plan.stages import Plan, Stage, model_name

SCORES = {"base": 20.0, "sft": 50.0, "final": 60.0}
"""Percentage of right answers by model, which pass the gates of the samples."""
ANY_SCORE = 40.0
PEAK_MEMORY_BYTES = 512 << 20
ROWS = 400
ANY_RUN = "fedcba98"
"""Start of a simulated pin, in place of a hash of the run."""

_TRAINED = {"rows": ROWS, "tokens": 80 * ROWS, "steps": 36, "first_loss": 0.6931, "last_loss": 0.5172}
_VALUES: dict[StageKind, dict[str, Any]] = {
    StageKind.FETCH: {"files": 9, "bytes": 1 << 30},
    StageKind.PREFLIGHT: {"sft_step_seconds": 5.8, "dpo_step_seconds": 9.1, "gpu_memory_bytes": 61 << 30},
    StageKind.VERIFY: {"right": ROWS // 3, "wrong": ROWS // 3, "unknown": ROWS // 3},
    StageKind.SCORE: {"scored": ROWS},
    StageKind.SFT: _TRAINED,
    StageKind.DPO: {"first_reward_accuracy": 0.51, "last_reward_accuracy": 0.83} | _TRAINED,
    StageKind.PROMOTE: {"step": 15, "candidates": 3, "held_out_pairs": 20}
    | {"held_out_accuracy": 0.85, "held_out_loss": 0.61},
}


def message_of_run(message: str, run: str) -> str:
    """Return the message of a pod with pins of its run: runs with the same pins share artifacts."""
    return message.replace(ANY_RUN, f"{zlib.crc32(run.encode()):08x}")


def simulated_result(stage: Stage, plan: Plan, spec: FusionRunSpec, seconds: float) -> StageResult:
    """Return the result of a pod of a stage that has run for these seconds.

    ``resolve`` finds a pin for each reference, and no complete artifact, so that every stage runs.
    """
    values = _VALUES.get(stage.kind, {})
    if stage.kind is StageKind.RESOLVE:
        values = {"pins": [f"{ANY_RUN}{number:04x}" for number, _ in enumerate(plan.references)]}
    elif stage.kind is StageKind.CONSTRUCT:
        count = len(spec.sources)
        each = {"sft_rows": 40, "pairs": 60, "win_rate": round(1 / count, 4)}
        values = {"sft_rows": 40 * count, "pairs": 60 * count, "held_out_pairs": 20, "truncated_share": 0.0075}
        values |= {"mean_margin": 1.25, "by_source": {s.name: each for s in spec.sources}, "drops": {"AllCorrect": 20}}
    elif stage.kind is StageKind.EVALUATE:
        benchmarks = [benchmark.name for benchmark in spec.evaluation.benchmarks]
        scores = dict.fromkeys(benchmarks, SCORES.get(model_name(stage.evaluated_model), ANY_SCORE))
        values = {"scores": scores, "graded": dict.fromkeys(benchmarks, ROWS)}
    elif stage.kind is StageKind.GENERATE:
        values = {"requests": ROWS, "responses": ROWS, "truncated": 3, "prompt_tokens": 20 * ROWS}
        values |= {"completion_tokens": 60 * ROWS, "tokens_per_second": round(60 * ROWS / seconds, 3)}
    reported = TypeAdapter(Values).validate_python({"kind": stage.kind} | values)
    return StageResult(outcome=Outcome.SUCCEEDED, peak_memory_bytes=PEAK_MEMORY_BYTES, values=reported)
