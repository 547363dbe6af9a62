"""Rules on benchmarks, their protocols and the judge. Each error has the field, the value and the rule."""

from collections.abc import Iterator
from itertools import product

from fusionrun.api.spec.evaluation import Benchmark, Evaluation, Grader
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.servers import ServerSettings
from fusionrun.api.spec.target import ChatTemplate, EvaluateOnly
from fusionrun.api.stage import EvaluatedModel
from fusionrun.errors import SpecError
from fusionrun.plan.benchmarks.protocols import protocol_of
from fusionrun.plan.benchmarks.table import benchmark_data
from fusionrun.plan.servers import server_of

OWN_GRADERS = (Grader.MATHEMATICS, Grader.CODING, Grader.EXACT_MATCH, Grader.CHOICE, Grader.RUBRIC)
"""Graders of benchmarks without a preset."""


def check_evaluation(spec: FusionRunSpec) -> Iterator[SpecError]:
    """Check the benchmarks of a spec that has all defaults."""
    evaluation = spec.evaluation
    broken = [error for benchmark in evaluation.benchmarks for error in _benchmark(benchmark)]
    yield from broken
    yield from _names(evaluation)
    yield from _judge(evaluation)
    if not broken:
        yield from _lengths(spec)


def check_purpose(spec: FusionRunSpec) -> Iterator[SpecError]:
    """Check that a spec has all that it needs to train a model, or to evaluate models, and nothing of the other."""
    training = {"target": spec.target, "sources": spec.sources, "datasets": spec.datasets}
    only = spec.evaluate_only
    if only is None:  # ``plan.checks`` reports a missing reward model
        for name in (name for name, value in training.items() if not value):
            yield SpecError(name, None, "is required without evaluateOnly")
        return
    other = {
        "rewardModel": spec.reward_model.place,
        "publish": spec.publish,
        "evaluation.gate": spec.evaluation.gate,
    }
    for name in (name for name, value in (training | other).items() if value):
        yield SpecError(name, "", "is forbidden with evaluateOnly: the run trains no model")
    if not spec.evaluation.benchmarks:
        yield SpecError("evaluation.benchmarks", [], "is required with evaluateOnly: add one, or set evaluation.preset")
    yield from _measured(only)


def _measured(only: EvaluateOnly) -> Iterator[SpecError]:
    """Check the models of a run that trains none."""
    names = [model.name for model in only.models]
    for model in only.models:
        if model.chat_template is ChatTemplate.RECIPE and model.family is None:
            rule = "is required for chatTemplate Recipe: it selects the template"
            yield SpecError(f"evaluateOnly.models[{model.name}].family", None, rule)
    for name in dict.fromkeys(names):
        if name in set(EvaluatedModel):
            yield SpecError("evaluateOnly.models[].name", name, "is reserved for the models of a run that trains")
        if names.count(name) > 1:
            yield SpecError("evaluateOnly.models[].name", name, "must be unique")
    if only.baseline and only.baseline not in names:
        rule = f"must be the name of a model in evaluateOnly.models: {', '.join(names)}"
        yield SpecError("evaluateOnly.baseline", only.baseline, rule)


def _benchmark(benchmark: Benchmark) -> Iterator[SpecError]:
    """Check one benchmark; this repeats the rules of admission that its protocol depends on."""
    field = f"evaluation.benchmarks[{benchmark.name}]"
    if benchmark.harness:
        yield from _task(benchmark, field)
        return
    grader = benchmark.grader.value if benchmark.grader else None
    if benchmark.uri is None:
        rule = "is required without a preset"
        if benchmark.preset:
            known = benchmark_data(benchmark.preset)
            rule = (
                f"is required for preset {benchmark.preset}, whose files are not a data set of the hub: set it, or set "
                f"evaluation.uri to a folder with the subfolder {known.folder}. It needs: {known.data}"
            )
        yield SpecError(f"{field}.uri", None, rule)
    if benchmark.preset is None and benchmark.grader not in OWN_GRADERS:
        rule = f"must be {', '.join(OWN_GRADERS[:-1])} or {OWN_GRADERS[-1]} without a preset"
        yield SpecError(f"{field}.grader", grader, rule)
    if benchmark.preset and benchmark.grader is not benchmark_data(benchmark.preset).grader:
        rule = f"must be {benchmark_data(benchmark.preset).grader} for preset {benchmark.preset}"
        yield SpecError(f"{field}.grader", grader, rule)
    if benchmark.prompt_template is not None and "{prompt}" not in benchmark.prompt_template:
        yield SpecError(f"{field}.promptTemplate", benchmark.prompt_template, "must contain {prompt}")
    if benchmark.grader is Grader.CHOICE and benchmark.prompt_template and "{options}" not in benchmark.prompt_template:
        rule = "must contain {options} for grader Choice: the model would not see them"
        yield SpecError(f"{field}.promptTemplate", benchmark.prompt_template, rule)
    if (benchmark.grader is Grader.RUBRIC) != (benchmark.rubric is not None):
        yield SpecError(f"{field}.rubric", benchmark.rubric, "is required for grader Rubric and forbidden otherwise")
    window = benchmark.window
    if window and window.start > window.end:
        yield SpecError(f"{field}.window.start", window.start.isoformat(), f"must not be after end, {window.end}")


def _task(benchmark: Benchmark, field: str) -> Iterator[SpecError]:
    """Check a task of lm-eval. ``resolve`` checks its name, the number of examples and the metric."""
    if benchmark.task is None:
        yield SpecError(f"{field}.task", None, "is required with harness")
    for name, value in (("preset", benchmark.preset), ("uri", benchmark.uri)):
        if value is not None:
            yield SpecError(f"{field}.{name}", str(value), "is forbidden with harness: lm-eval reads the questions")
    if benchmark.grader is not Grader.LM_EVAL:
        grader = benchmark.grader.value if benchmark.grader else None
        yield SpecError(f"{field}.grader", grader, "is forbidden with harness: lm-eval grades the replies")


def _names(evaluation: Evaluation) -> Iterator[SpecError]:
    seen = dict[str, Benchmark]()
    for benchmark in evaluation.benchmarks:
        if benchmark.name in seen:
            rule = f"must be unique: evaluation.preset {evaluation.preset} adds a benchmark of this name"
            yield SpecError("evaluation.benchmarks[].name", benchmark.name, rule)
        seen[benchmark.name] = benchmark
    for gate in evaluation.gate:
        if gate.benchmark not in seen:
            rule = f"must be the name of a benchmark: {', '.join(seen) or 'there are none'}"
            yield SpecError("evaluation.gate[].benchmark", gate.benchmark, rule)
    for name, benchmark in seen.items():
        if evaluation.uri and evaluation.uri.startswith("hf://") and benchmark.preset:
            rule = "must start with pvc:// or s3://: a repository of the hub has no subfolders here"
            yield SpecError("evaluation.uri", evaluation.uri, f"{rule} (benchmark {name})")
            return


def _judge(evaluation: Evaluation) -> Iterator[SpecError]:
    judge = evaluation.judge
    judged = [b.name for b in evaluation.benchmarks if b.grader and b.grader.needs_judge]
    if judge is None and judged:
        yield SpecError("evaluation.judge", None, f"is required for the benchmarks {', '.join(judged)}")
    if judge and (judge.endpoint is None) == (judge.served is None):
        yield SpecError("evaluation.judge", None, "exactly one of endpoint and served is required")


def _lengths(spec: FusionRunSpec) -> Iterator[SpecError]:
    """Check that questions have room beside the longest response, and responses beside the longest judgement."""
    evaluation = spec.evaluation
    served = evaluation.judge.served if evaluation.judge else None
    own = evaluation.sampling.max_tokens if evaluation.sampling else None
    measured = spec.evaluate_only.models if spec.evaluate_only else []
    servers = {(m.family, server_of(evaluation, m).max_model_len): server_of(evaluation, m) for m in measured}
    if not spec.evaluate_only:
        servers = {(None, None): evaluation.server or ServerSettings()}
    for server in servers.values():
        if rule := too_long(own, server):
            yield SpecError("evaluation.sampling.maxTokens", own, rule)
    for benchmark, ((family, _), server) in product(evaluation.benchmarks, servers.items()):
        protocol, field = protocol_of(benchmark, spec, family), f"evaluation.benchmarks[{benchmark.name}]"
        if benchmark.harness and (benchmark.sampling is None or benchmark.sampling.max_tokens is None):
            continue  # the limit is that of the task, and many tasks have no response
        longest = protocol.sampling.max_tokens
        if longest != own and (rule := too_long(longest, server)):
            yield SpecError(f"{field}.sampling.maxTokens", longest, rule)
        judged = protocol.judge.max_tokens if protocol.judge else None
        if too_long(judged, served):
            rule = f"must be more than {judged}, the tokens of a judgement of {benchmark.name}: it includes the prompt"
            yield SpecError("evaluation.judge.served.maxModelLen", served and served.max_model_len, rule)


def too_long(longest: int | None, server: ServerSettings | None) -> str:
    """Return the rule that a limit of tokens of a response breaks; empty if there is room for a prompt.

    vLLM refuses every other request.
    """
    if server is None or not server.max_model_len or not longest or longest < server.max_model_len:
        return ""
    return f"must be less than maxModelLen = {server.max_model_len} of its server, which includes the prompt"
