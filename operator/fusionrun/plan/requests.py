"""How many requests a run is expected to send to its models, and how many tokens these have. Pure.

A number of questions is unknown if neither the preset, ``maxPrompts`` nor ``prepare`` says it, as for tasks of lm-eval.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fusionrun.api.spec.evaluation import Benchmark, Grader
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.tasks.protocol import Protocol
from fusionrun.plan.amounts import Amounts
from fusionrun.plan.benchmarks.protocols import protocol_of
from fusionrun.plan.benchmarks.table import benchmark_data
from fusionrun.plan.references import benchmark_field
from fusionrun.plan.stages import Evaluated, family_of

PROMPT_TOKENS, RESPONSE_TOKENS = 150, 450
"""Assumed mean lengths."""
ROW_TOKENS = PROMPT_TOKENS + RESPONSE_TOKENS


class Requests(NamedTuple):
    """Requests to one model, all together."""

    number: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Shown(NamedTuple):
    """What a judge is asked about one response."""

    requests: int
    responses: int
    """Responses in a request, those of a baseline and reference answers among them."""


_JUDGED = {
    Grader.RUBRIC: _Shown(1, 1),
    Grader.ALPACA_EVAL: _Shown(1, 2),
    Grader.ARENA_HARD: _Shown(2, 2),
    Grader.MT_BENCH: _Shown(1, 2),
    Grader.ALIGN_BENCH: _Shown(1, 2),
}
"""By the grader of a benchmark, without second attempts. Source: ``fusionrun_stages/judges``."""


def to_source(found: Sequence[Amounts], source: str) -> Requests:
    """Return the requests to a source; data sets whose prompts are unknown are left out."""
    responses = sum(each.by_source.get(source) or 0 for each in found)
    return Requests(responses, responses * PROMPT_TOKENS, responses * RESPONSE_TOKENS)


def to_evaluated(spec: FusionRunSpec, model: Evaluated, counted: Mapping[str, int]) -> Requests:
    """Return the requests to an evaluated model; benchmarks whose questions are unknown are left out."""
    return _sum(_responses(protocol, turns) for protocol, turns in _asked(spec, model, counted))


def to_judge(spec: FusionRunSpec, model: Evaluated, counted: Mapping[str, int]) -> Requests:
    """Return the requests to the judge of an evaluated model's responses."""
    asked = _asked(spec, model, counted)
    return _sum(_judgements(protocol, turns) for protocol, turns in asked if protocol.grader.needs_judge)


def unknown_benchmarks(spec: FusionRunSpec, counted: Mapping[str, int]) -> list[str]:
    """Return the fields of the benchmarks whose questions are unknown."""
    return [benchmark_field(b) for b in spec.evaluation.benchmarks if _turns(b, counted) is None]


def _asked(spec: FusionRunSpec, model: Evaluated, counted: Mapping[str, int]) -> list[tuple[Protocol, int]]:
    """Return the protocol of each benchmark and its number of messages of the user, if that is known."""
    found = ((protocol_of(b, spec, family_of(model)), _turns(b, counted)) for b in spec.evaluation.benchmarks)
    return [(protocol, turns) for protocol, turns in found if turns is not None]


def _turns(benchmark: Benchmark, counted: Mapping[str, int]) -> int | None:
    if benchmark.harness:
        return None
    known = benchmark_data(benchmark.preset) if benchmark.preset else None
    limits = [n for n in (benchmark.max_prompts, known.questions if known else None) if n is not None]
    questions = counted.get(benchmark.name, min(limits, default=None))
    return None if questions is None else questions * (known.turns if known else 1)


def _responses(protocol: Protocol, turns: int) -> Requests:
    count = turns * protocol.samples
    return Requests(
        count, count * PROMPT_TOKENS, count * min(RESPONSE_TOKENS, protocol.sampling.max_tokens or RESPONSE_TOKENS)
    )


def _judgements(protocol: Protocol, turns: int) -> Requests:
    shown = _JUDGED[protocol.grader]
    count = turns * protocol.samples * shown.requests
    longest = protocol.judge.max_tokens if protocol.judge else None
    prompt = PROMPT_TOKENS + shown.responses * RESPONSE_TOKENS
    return Requests(count, count * prompt, count * min(RESPONSE_TOKENS, longest or RESPONSE_TOKENS))


def _sum(requests: Iterable[Requests]) -> Requests:
    return Requests(*(sum(column) for column in zip(*requests, strict=True)))
