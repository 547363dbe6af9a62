"""The simulated results of pods: the classes that the real programs report, with invented values."""

from typing import Any

from fusionrun.api.result import Outcome, StageResult
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.api.values import (
    Constructed,
    Evaluated,
    Fetched,
    Generated,
    Prepared,
    Promoted,
    Published,
    Resolved,
    Scored,
    SourceCounts,
    Trained,
    Values,
    Verified,
)
from fusionrun.plan.stages import Plan, Stage

SCORES = {"base": 20.0, "sft": 50.0, "final": 60.0}
"""Percentage of right answers by model, which pass the gates of the samples."""
PEAK_MEMORY_BYTES = 512 << 20
ROWS = 400


_TRAINED = {"rows": ROWS, "tokens": 80 * ROWS, "steps": 36, "first_loss": 0.6931, "last_loss": 0.5172}
_VALUES: dict[StageKind, Values] = {
    StageKind.FETCH: Fetched(files=9, bytes=1 << 30),
    StageKind.PREPARE: Prepared(),
    StageKind.VERIFY: Verified(right=ROWS // 3, wrong=ROWS // 3, unknown=ROWS // 3),
    StageKind.SCORE: Scored(scored=ROWS),
    StageKind.SFT: Trained(kind=StageKind.SFT, **_TRAINED),
    StageKind.DPO: Trained(kind=StageKind.DPO, first_reward_accuracy=0.51, last_reward_accuracy=0.83, **_TRAINED),
    StageKind.PROMOTE: Promoted(step=15, candidates=3, held_out_pairs=20, held_out_accuracy=0.85, held_out_loss=0.61),
    StageKind.PUBLISH: Published(),
}


def simulated_result(stage: Stage, plan: Plan, spec: FusionRunSpec, script: dict[str, Any]) -> StageResult:
    """Return the result of a successful pod of a stage.

    ``resolve`` finds a pin for each reference, and no complete artifact, so that every stage runs.
    """
    values: Values | None
    if stage.kind is StageKind.RESOLVE:
        values = Resolved(pins=[f"{number:012x}" for number, _ in enumerate(plan.references)])
    elif stage.kind is StageKind.CONSTRUCT:
        values = _constructed([source.name for source in spec.sources])
    elif stage.kind is StageKind.EVALUATE:
        benchmarks = [benchmark.name for benchmark in spec.evaluation.benchmarks]
        score = SCORES[stage.evaluated_model]
        values = Evaluated(scores=dict.fromkeys(benchmarks, score), graded=dict.fromkeys(benchmarks, ROWS))
    elif stage.kind is StageKind.GENERATE:
        rate = round(60 * ROWS / script["work_seconds"], 3)
        tokens = {"prompt_tokens": 20 * ROWS, "completion_tokens": 60 * ROWS}
        values = Generated(requests=ROWS, responses=ROWS, truncated=3, tokens_per_second=rate, **tokens)
    else:
        values = _VALUES.get(stage.kind)
    return StageResult(outcome=Outcome.SUCCEEDED, peak_memory_bytes=PEAK_MEMORY_BYTES, values=values)


def _constructed(sources: list[str]) -> Constructed:
    rate = round(1 / len(sources), 4)
    return Constructed(
        sft_rows=40 * len(sources),
        pairs=60 * len(sources),
        held_out_pairs=20,
        truncated_share=0.0075,
        mean_margin=1.25,
        by_source={source: SourceCounts(sft_rows=40, pairs=60, win_rate=rate) for source in sources},
        drops={"AllCorrect": 20},
    )
