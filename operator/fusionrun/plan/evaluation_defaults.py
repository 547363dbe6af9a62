"""Defaults of the fields on evaluation: from the protocols of benchmarks."""

from collections.abc import Callable
from typing import TypeVar

from fusionrun.api.spec.evaluation import Benchmark, BenchmarkPreset, Grader, Window
from fusionrun.api.spec.models import Sampling
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.servers import ServerOverride, ServerSettings
from fusionrun.plan import recipe
from fusionrun.plan.benchmarks.expansion import benchmark_uri, default_window
from fusionrun.plan.benchmarks.preset import BenchmarkData
from fusionrun.plan.benchmarks.table import benchmark_data
from fusionrun.plan.default import Default, cases_text, constant, each_field, listed

V = TypeVar("V")


def _of_benchmark(value: Callable[[BenchmarkData], V | None]) -> dict[str, V]:
    """Return a value of each preset of benchmarks that has one, by its name."""
    return {preset.value: found for preset in BenchmarkPreset if (found := value(benchmark_data(preset)))}


def _window(_spec: FusionRunSpec, benchmark: Benchmark) -> Window | None:
    return default_window(benchmark)


def _grader(_spec: FusionRunSpec, benchmark: Benchmark) -> object:
    if benchmark.harness:
        return Grader.LM_EVAL
    return benchmark_data(benchmark.preset).grader if benchmark.preset else None


_OF_PROTOCOL = "Defaults to that of the preset (docs/evaluation.md)"
_HUB = _of_benchmark(lambda known: known.hub)

EVALUATION_DEFAULTS: dict[str, Default] = {
    "evaluateOnly.baseline": Default(
        "Defaults to the first model.",
        lambda spec, _item: spec.evaluate_only.models[0].name if spec.evaluate_only else None,
    ),
    "evaluation.benchmarks[].uri": Default(
        f"Defaults to the subfolder of `evaluation.uri`, if that is set, and else to the hub for {listed(_HUB)}.",
        lambda spec, benchmark: benchmark_uri(spec.evaluation, benchmark),
    ),
    "evaluation.benchmarks[].grader": Default(f"{_OF_PROTOCOL}, and to LmEval with `harness`.", _grader),
    "evaluation.benchmarks[].columns": Default("Defaults to the format of the preset."),
    "evaluation.benchmarks[].systemPrompt": Default(f"{_OF_PROTOCOL}, and to no message without a preset."),
    "evaluation.benchmarks[].promptTemplate": Default(
        f"{_OF_PROTOCOL}, and without a preset to the prompt alone, for grader Choice with the options and a request."
    ),
    "evaluation.benchmarks[].prefill": Default(f"{_OF_PROTOCOL}, and to nothing without a preset."),
    **dict.fromkeys(
        (
            "evaluation.benchmarks[].sampling",
            *(f"evaluation.benchmarks[].sampling.{f.alias}" for f in Sampling.model_fields.values()),
        ),
        Default(f"{_OF_PROTOCOL}, to that of the task with `harness`, and to `evaluation.sampling` otherwise."),
    ),
    "evaluation.benchmarks[].stop": Default(f"{_OF_PROTOCOL}, and to none without a preset."),
    "evaluation.benchmarks[].samples": Default(
        cases_text(_of_benchmark(lambda known: known.samples if known.samples > 1 else None), "to 1 otherwise")
    ),
    "evaluation.benchmarks[].window": Default(
        "Defaults to "
        + listed(
            f"{start} to {end} for {preset}"
            for preset, (start, end) in _of_benchmark(lambda known: known.window).items()
        )
        + ".",
        _window,
    ),
    "evaluation.sampling": constant(Sampling(), "Defaults to the defaults of its fields."),
    **each_field(
        "evaluation.sampling", {"": recipe.EVALUATION_SAMPLING}, lambda _spec, _item: recipe.EVALUATION_SAMPLING
    ),
    "evaluation.server": constant(ServerSettings(), "Defaults to the defaults of its fields."),
    **dict.fromkeys(
        (f"evaluateOnly.models[].server.{field.alias}" for field in ServerOverride.model_fields.values()),
        Default("Defaults to that of `evaluation.server`."),
    ),
}
"""By the path of a field in the spec, without the resources of servers."""
