"""All presets of benchmarks, and the paper's set of them."""

from fusionrun.api.spec.evaluation import BenchmarkPreset, EvaluationPreset
from fusionrun.plan.benchmarks import choice, coding, judged, live_bench, mathematics
from fusionrun.plan.benchmarks.preset import BenchmarkData

_ALL = {**judged.PRESETS, **live_bench.PRESETS, **choice.PRESETS, **mathematics.PRESETS, **coding.PRESETS}

PAPER = tuple(preset for preset in _ALL if preset is not BenchmarkPreset.MMLU)
"""The 14 benchmarks of the paper, in the order of its table. Source: README of FuseChat-3.0, "Evaluation"."""

SETS = {EvaluationPreset.FUSECHAT_3: PAPER}


def benchmark_data(preset: BenchmarkPreset) -> BenchmarkData:
    """Return the benchmark of a preset."""
    return _ALL[preset]
