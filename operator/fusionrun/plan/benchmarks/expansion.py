"""The benchmarks of a spec: those that it lists, and those that ``evaluation.preset`` adds."""

from fusionrun.api.spec.evaluation import Benchmark, Evaluation, Window
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.plan.benchmarks.table import SETS, benchmark_data


def with_preset(spec: FusionRunSpec) -> FusionRunSpec:
    """Return the spec with the benchmarks of ``evaluation.preset`` that it does not list."""
    evaluation = spec.evaluation
    if evaluation.preset is None:
        return spec
    listed = {benchmark.preset for benchmark in evaluation.benchmarks}
    added = [
        Benchmark(name=benchmark_data(preset).folder, preset=preset)
        for preset in SETS[evaluation.preset]
        if preset not in listed
    ]
    if not added:
        return spec
    more = evaluation.model_copy(update={"benchmarks": [*evaluation.benchmarks, *added]})
    return spec.model_copy(update={"evaluation": more})


def benchmark_uri(evaluation: Evaluation, benchmark: Benchmark) -> str | None:
    """Return where the files of a benchmark with a preset are by default; None if they must be named."""
    if benchmark.preset is None:
        return None
    known = benchmark_data(benchmark.preset)
    return f"{evaluation.uri.rstrip('/')}/{known.folder}" if evaluation.uri else known.hub


def default_window(benchmark: Benchmark) -> Window | None:
    """Return the days of the problems of a preset."""
    window = benchmark_data(benchmark.preset).window if benchmark.preset else None
    return Window(start=window[0], end=window[1]) if window else None
