"""The protocol of a benchmark of a spec, and the parts of it that enter digests."""

from typing import Any

from fusionrun.api.spec.evaluation import Benchmark, BenchmarkColumns, Grader, Judge
from fusionrun.api.spec.models import Sampling
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.target import Family
from fusionrun.api.tasks.protocol import JudgeRequest, PromptForm, Protocol, Unit
from fusionrun.errors import PlanError
from fusionrun.plan import recipe
from fusionrun.plan.benchmarks.lm_eval import harness_task, task_protocol, with_questions
from fusionrun.plan.benchmarks.table import benchmark_data

OWN = "FusionRun"
"""Start of the names of protocols of benchmarks without a preset."""
_VERSIONS = {
    Grader.MATHEMATICS: 1,
    Grader.CODING: 1,
    Grader.EXACT_MATCH: 1,
    Grader.CHOICE: 1,
    Grader.RUBRIC: 1,
}
_CHOICE = """\
{prompt}

{options}

Choose one option. The last line must be "The answer is (X)", where X is the letter of the option."""
"""Prompt for grader Choice. Project: its grader finds the letter in this sentence."""
_RUBRIC_TOKENS = 2048
"""Longest reply of a judge to a rubric. Project: as in MT-Bench."""

_TEXT = {"layout", "window_start", "window_end"}
_QUESTION = _TEXT | {"form", "temperatures"}
_REQUESTS = {"sampling", "stop", "samples"}
_JUDGEMENT = {"version", "grader", "judge", "rubric"}


def protocol_of(benchmark: Benchmark, spec: FusionRunSpec, family: Family | None = None) -> Protocol:
    """Return the protocol of a benchmark of a spec whose every field is filled.

    It is that of its task of lm-eval, or that of its preset or of its grader, with the fields that the benchmark sets.
    The protocol of a preset is marked as modified if they differ. ``family`` is that of a model of ``evaluateOnly``;
    without one, it is that of the target.
    """
    if benchmark.harness:
        return task_protocol(harness_task(benchmark))
    if benchmark.preset is None:
        return _with_fields(_of_grader(benchmark, spec), benchmark)
    known = _of_preset(benchmark, spec.target.family if spec.target else family)
    protocol = _with_fields(known, benchmark)
    return protocol.model_copy(update={"modified": protocol != known or benchmark.max_prompts is not None})


def protocols_of(spec: FusionRunSpec, family: Family | None = None) -> dict[str, Protocol]:
    """Return the protocol of every benchmark, by name; ``family`` is that of a model of ``evaluateOnly``."""
    return {benchmark.name: protocol_of(benchmark, spec, family) for benchmark in spec.evaluation.benchmarks}


def asked_protocols(spec: FusionRunSpec, family: Family | None = None) -> dict[str, Protocol]:
    """Return the protocol of every benchmark whose questions this project asks, by name: no task of lm-eval."""
    return {benchmark.name: protocol_of(benchmark, spec, family) for benchmark in with_questions(spec)}


def _of_preset(benchmark: Benchmark, family: Family | None) -> Protocol:
    if benchmark.preset is None:
        raise PlanError(f"{benchmark.name}: has no preset")
    known = benchmark_data(benchmark.preset)
    start, end = known.window or (None, None)
    return Protocol(
        name=known.protocol,
        version=known.version,
        layout=known.layout,
        form=known.forms.get(family, known.form) if family else known.form,
        sampling=known.samplings.get(family, known.sampling) if family else known.sampling,
        temperatures=dict(known.temperatures),
        stop=list(known.stop),
        samples=known.samples,
        grader=known.grader,
        grades_truncated=True,
        metrics=list(known.metrics),
        aggregation=known.aggregation,
        unit=known.unit,
        judge=known.judge,
        window_start=start,
        window_end=end,
        shows_examples=known.shows_examples,
        licence=known.licence,
    )


def _of_grader(benchmark: Benchmark, spec: FusionRunSpec) -> Protocol:
    grader = benchmark.grader
    if grader not in _VERSIONS:
        raise PlanError(f"{benchmark.name}: no protocol for grader {grader}")
    rated = grader is Grader.RUBRIC
    judge = JudgeRequest(temperature=0.0, max_tokens=_RUBRIC_TOKENS, model=judge_name(spec.evaluation.judge) or "")
    return Protocol(
        name=f"{OWN}/{grader}",
        version=_VERSIONS[grader],
        columns=benchmark.columns or BenchmarkColumns(),
        form=PromptForm(template=_CHOICE) if grader is Grader.CHOICE else PromptForm(),
        sampling=spec.evaluation.sampling or recipe.EVALUATION_SAMPLING,
        grader=grader,
        unit=Unit.RATING if rated else Unit.PERCENT,
        judge=judge if rated else None,
        rubric=benchmark.rubric,
    )


def _with_fields(protocol: Protocol, benchmark: Benchmark) -> Protocol:
    """Return a protocol with the fields that a benchmark sets."""
    form = {
        "system": benchmark.system_prompt,
        "template": benchmark.prompt_template,
        "prefill": benchmark.prefill,
    }
    changes: dict[str, Any] = {
        "form": protocol.form.model_copy(update={k: v or None for k, v in form.items() if v is not None}),
        "sampling": _sampling(protocol.sampling, benchmark.sampling),
    }
    if benchmark.sampling and benchmark.sampling.temperature is not None:
        changes["temperatures"] = {}
    if benchmark.stop is not None:
        changes["stop"] = benchmark.stop
    if benchmark.samples is not None:
        changes["samples"] = benchmark.samples
    if benchmark.window is not None:
        changes |= {"window_start": benchmark.window.start, "window_end": benchmark.window.end}
    return protocol.model_copy(update=changes)


def _sampling(known: Sampling, given: Sampling | None) -> Sampling:
    return known.model_copy(update=given.model_dump(by_alias=False, exclude_none=True)) if given else known


def judge_name(judge: Judge | None) -> str | None:
    """Return the name of the judge: at its endpoint, or the URI of the model that the run serves."""
    if judge is None:
        return None
    if judge.endpoint:
        return judge.endpoint.model
    return judge.served.model.uri if judge.served else None


def _part(protocol: Protocol, fields: set[str]) -> dict[str, Any]:
    return protocol.model_dump(mode="json", by_alias=True, include=fields, exclude_defaults=True)


def text_digest(protocol: Protocol) -> dict[str, Any]:
    """Return what decides the text of the questions; nothing for a benchmark of a release up to 0.2.0."""
    return _part(protocol, _TEXT)


def question_digest(protocol: Protocol) -> dict[str, Any]:
    """Return what decides the questions as a model gets them; nothing for a benchmark of a release up to 0.2.0."""
    return _part(protocol, _QUESTION)


def requests_digest(protocol: Protocol, sampling: Sampling | None) -> dict[str, Any]:
    """Return what decides the requests; nothing for one sample with ``sampling`` and without a stop text."""
    part = _part(protocol, _REQUESTS)
    return {} if part.keys() == {"sampling"} and protocol.sampling == sampling else part


def judgement_digest(protocol: Protocol) -> dict[str, Any]:
    """Return what decides the requests to the judge: a judgement may cost money, so nothing else repeats it."""
    return _part(protocol, _JUDGEMENT)


def score_digest(protocol: Protocol) -> dict[str, Any]:
    """Return the whole protocol: all of it is in the result."""
    return protocol.model_dump(mode="json", by_alias=True, exclude_defaults=True)
