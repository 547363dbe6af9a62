"""The scores that the authors of FuseChat-3.0 published, and the averages over benchmarks as in their table.

Source: README of SLIT-AI/FuseChat-3.0 at commit 5af2bad, section "Evaluation": one table per target. The judges of the
authors are retired models, so that scores of the judged benchmarks are comparable in their order of magnitude only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from fusionrun.api.spec.evaluation import BenchmarkPreset
from fusionrun.api.stage import EvaluatedModel
from fusionrun.api.tasks.protocol import Protocol

PROTOCOL_PREFIX = "FuseEval/"
"""Beginning of the names of the protocols that the authors used."""


class BenchmarkGroup(StrEnum):
    """The groups of the benchmarks in the README; ``All`` is their table's average."""

    INSTRUCTION_FOLLOWING = "InstructionFollowing"
    GENERAL = "General"
    MATHEMATICS = "Mathematics"
    CODING = "Coding"
    ALL = "All"


GROUPS: dict[BenchmarkGroup, frozenset[BenchmarkPreset]] = {
    BenchmarkGroup.INSTRUCTION_FOLLOWING: frozenset(
        {
            BenchmarkPreset.ALPACA_EVAL_2,
            BenchmarkPreset.ARENA_HARD,
            BenchmarkPreset.MT_BENCH,
            BenchmarkPreset.ALIGN_BENCH,
        }
    ),
    BenchmarkGroup.GENERAL: frozenset(
        {
            BenchmarkPreset.LIVE_BENCH,
            BenchmarkPreset.MMLU_PRO,
            BenchmarkPreset.MMLU,
            BenchmarkPreset.MMLU_REDUX,
            BenchmarkPreset.GPQA_DIAMOND,
        }
    ),
    BenchmarkGroup.MATHEMATICS: frozenset({BenchmarkPreset.GSM8K, BenchmarkPreset.MATH, BenchmarkPreset.AMC_23}),
    BenchmarkGroup.CODING: frozenset(
        {
            BenchmarkPreset.HUMAN_EVAL,
            BenchmarkPreset.MBPP,
            BenchmarkPreset.LIVE_CODE_BENCH,
        }
    ),
    BenchmarkGroup.ALL: frozenset(BenchmarkPreset),
}


@dataclass(frozen=True)
class PaperRow:
    """The published scores of one target: of the base, the SFT and the final model."""

    target: str
    scores: Mapping[BenchmarkPreset, tuple[float, float, float]]
    average: tuple[float, float, float]

    def of(self, model: EvaluatedModel) -> dict[BenchmarkPreset, float]:
        """Return the scores of a model."""
        number = list(EvaluatedModel).index(model)
        return {preset: scores[number] for preset, scores in self.scores.items()}


PUBLISHED: dict[str, PaperRow] = {
    "llama3.18b": PaperRow(
        "Llama-3.1-8B-Instruct",
        {
            BenchmarkPreset.ALPACA_EVAL_2: (28.3, 41.3, 65.4),
            BenchmarkPreset.ARENA_HARD: (28.1, 38.7, 58.2),
            BenchmarkPreset.MT_BENCH: (8.4, 8.5, 9.0),
            BenchmarkPreset.ALIGN_BENCH: (4.6, 6.3, 6.7),
            BenchmarkPreset.GSM8K: (85.9, 87.0, 88.0),
            BenchmarkPreset.MATH: (50.7, 54.7, 55.2),
            BenchmarkPreset.AMC_23: (25.0, 30.0, 37.5),
            BenchmarkPreset.LIVE_BENCH: (27.6, 30.2, 32.0),
            BenchmarkPreset.MMLU_PRO: (50.0, 47.8, 49.2),
            BenchmarkPreset.MMLU_REDUX: (67.2, 68.4, 69.2),
            BenchmarkPreset.GPQA_DIAMOND: (33.8, 37.9, 34.9),
            BenchmarkPreset.HUMAN_EVAL: (69.5, 69.5, 71.3),
            BenchmarkPreset.MBPP: (75.4, 71.4, 72.0),
            BenchmarkPreset.LIVE_CODE_BENCH: (12.3, 12.6, 13.1),
        },
        (40.5, 43.2, 47.3),
    ),
    "qwen2.57b": PaperRow(
        "Qwen-2.5-7B-Instruct",
        {
            BenchmarkPreset.ALPACA_EVAL_2: (33.2, 34.2, 63.6),
            BenchmarkPreset.ARENA_HARD: (50.7, 45.2, 61.4),
            BenchmarkPreset.MT_BENCH: (8.4, 8.5, 9.0),
            BenchmarkPreset.ALIGN_BENCH: (7.5, 7.4, 7.6),
            BenchmarkPreset.GSM8K: (91.7, 92.3, 91.7),
            BenchmarkPreset.MATH: (75.0, 72.7, 73.6),
            BenchmarkPreset.AMC_23: (52.5, 45.0, 57.5),
            BenchmarkPreset.LIVE_BENCH: (35.4, 33.7, 33.2),
            BenchmarkPreset.MMLU_PRO: (54.1, 51.7, 53.0),
            BenchmarkPreset.MMLU_REDUX: (75.1, 72.7, 74.4),
            BenchmarkPreset.GPQA_DIAMOND: (34.9, 38.4, 33.8),
            BenchmarkPreset.HUMAN_EVAL: (85.4, 81.7, 79.9),
            BenchmarkPreset.MBPP: (80.2, 84.1, 83.1),
            BenchmarkPreset.LIVE_CODE_BENCH: (15.8, 17.3, 18.9),
        },
        (50.0, 48.9, 52.9),
    ),
    "gemma29b": PaperRow(
        "Gemma-2-9B-It",
        {
            BenchmarkPreset.ALPACA_EVAL_2: (51.1, 49.8, 70.2),
            BenchmarkPreset.ARENA_HARD: (40.8, 44.5, 63.4),
            BenchmarkPreset.MT_BENCH: (8.5, 8.7, 8.6),
            BenchmarkPreset.ALIGN_BENCH: (7.0, 7.1, 7.4),
            BenchmarkPreset.GSM8K: (88.5, 90.5, 91.0),
            BenchmarkPreset.MATH: (49.6, 58.0, 57.8),
            BenchmarkPreset.AMC_23: (20.0, 27.5, 35.0),
            BenchmarkPreset.LIVE_BENCH: (31.6, 33.3, 33.2),
            BenchmarkPreset.MMLU_PRO: (50.5, 52.5, 52.9),
            BenchmarkPreset.MMLU_REDUX: (72.8, 72.8, 73.7),
            BenchmarkPreset.GPQA_DIAMOND: (39.4, 33.3, 35.4),
            BenchmarkPreset.HUMAN_EVAL: (67.1, 65.9, 64.0),
            BenchmarkPreset.MBPP: (75.1, 70.6, 71.7),
            BenchmarkPreset.LIVE_CODE_BENCH: (11.9, 11.0, 10.1),
        },
        (43.9, 44.7, 48.2),
    ),
    "llama3.23b": PaperRow(
        "Llama-3.2-3B-Instruct",
        {
            BenchmarkPreset.ALPACA_EVAL_2: (21.4, 31.1, 54.0),
            BenchmarkPreset.ARENA_HARD: (16.6, 21.3, 30.2),
            BenchmarkPreset.MT_BENCH: (6.9, 7.3, 7.7),
            BenchmarkPreset.ALIGN_BENCH: (3.8, 5.5, 5.9),
            BenchmarkPreset.GSM8K: (82.0, 82.8, 82.0),
            BenchmarkPreset.MATH: (51.4, 52.9, 53.1),
            BenchmarkPreset.AMC_23: (22.5, 20.0, 35.0),
            BenchmarkPreset.LIVE_BENCH: (23.4, 24.5, 24.9),
            BenchmarkPreset.MMLU_PRO: (39.3, 40.3, 40.3),
            BenchmarkPreset.MMLU_REDUX: (58.5, 58.2, 59.0),
            BenchmarkPreset.GPQA_DIAMOND: (29.8, 33.3, 33.8),
            BenchmarkPreset.HUMAN_EVAL: (61.0, 62.8, 60.4),
            BenchmarkPreset.MBPP: (68.5, 67.5, 67.5),
            BenchmarkPreset.LIVE_CODE_BENCH: (8.3, 7.1, 9.0),
        },
        (35.2, 36.8, 40.2),
    ),
    "llama3.21b": PaperRow(
        "Llama-3.2-1B-Instruct",
        {
            BenchmarkPreset.ALPACA_EVAL_2: (9.7, 14.0, 25.3),
            BenchmarkPreset.ARENA_HARD: (5.1, 6.0, 8.6),
            BenchmarkPreset.MT_BENCH: (4.7, 5.2, 5.7),
            BenchmarkPreset.ALIGN_BENCH: (2.9, 3.9, 4.3),
            BenchmarkPreset.GSM8K: (46.3, 55.6, 54.5),
            BenchmarkPreset.MATH: (32.7, 34.7, 33.6),
            BenchmarkPreset.AMC_23: (17.5, 15.0, 20.0),
            BenchmarkPreset.LIVE_BENCH: (14.0, 13.9, 15.8),
            BenchmarkPreset.MMLU_PRO: (22.3, 21.5, 21.3),
            BenchmarkPreset.MMLU: (45.8, 45.0, 44.8),
            BenchmarkPreset.GPQA_DIAMOND: (21.2, 25.3, 24.2),
            BenchmarkPreset.HUMAN_EVAL: (39.6, 36.6, 40.2),
            BenchmarkPreset.MBPP: (49.5, 42.1, 46.6),
        },
        (24.0, 24.5, 26.5),
    ),
}
"""By the name of the target in lower case, with digits and dots only. The row of the 1B target has MMLU instead of
MMLU-Redux and no LiveCodeBench."""


def row_of(uri: str) -> PaperRow | None:
    """Return the published scores of a target, by the last part of the location of its model; None if there are none.

    ``hf://Qwen/Qwen2.5-7B-Instruct`` and ``pvc://claim/models/qwen-2.5-7b-instruct`` are the same target.
    """
    name = re.sub(r"[^a-z0-9.]", "", uri.rstrip("/").rpartition("/")[2].lower())
    return next((row for key, row in PUBLISHED.items() if key in name), None)


def preset_of(protocol: Protocol) -> BenchmarkPreset | None:
    """Return the benchmark of the paper that a protocol measures, or None.

    Names of protocols may have a version of the questions: ``FuseEval/LiveBench-0831``.
    """
    name = protocol.name.removeprefix(PROTOCOL_PREFIX).partition("-")[0]
    known = protocol.name.startswith(PROTOCOL_PREFIX) and name in set(BenchmarkPreset)
    return BenchmarkPreset(name) if known else None


def averaged(presets: frozenset[BenchmarkPreset], row: PaperRow | None = None) -> frozenset[BenchmarkPreset]:
    """Return the benchmarks that enter the averages: those of the paper's row, if there is one.

    MMLU and MMLU-Redux are one column of the table: the row of the target says which one.
    """
    if row is not None:
        return presets & frozenset(row.scores)
    return presets - {BenchmarkPreset.MMLU} if BenchmarkPreset.MMLU_REDUX in presets else presets


def group_means(scores: Mapping[BenchmarkPreset, float], row: PaperRow | None = None) -> dict[BenchmarkGroup, float]:
    """Return the averages of the scores by group, without groups that have no scores.

    Ratings from 1 to 10 enter as they are, as in the paper.
    """
    kept = averaged(frozenset(scores), row)
    return {
        group: fmean(scores[preset] for preset in presets & kept) for group, presets in GROUPS.items() if presets & kept
    }
