"""Rules between the fields on evaluation, in CEL."""

from collections.abc import Sequence
from typing import Any

from fusionrun.api.crd.immutable_rules import cel_rule

_OWN_GRADERS = "['Mathematics', 'Coding', 'ExactMatch', 'Choice', 'Rubric']"
_GRADED_BY = "has(self.grader) && self.grader == '{}'"
_KNOWN = "has(self.preset) || has(self.harness)"
"""Whether the protocol of a benchmark is known: that of a preset, or of a task of lm-eval."""
_OF_HARNESS = ("fewShot", "metric", "chatTemplate")
_NOT_OF_HARNESS = (
    "preset", "uri", "revision", "split", "grader", "columns", "systemPrompt", "promptTemplate", "prefill", "stop",
    "samples", "window", "rubric",
)  # fmt: skip
_JUDGED_PRESETS = "['AlpacaEval2', 'ArenaHard', 'MTBench', 'AlignBench']"
_JUDGED = f"(has(b.preset) && b.preset in {_JUDGED_PRESETS}) || (has(b.grader) && b.grader == 'Rubric')"


def _any_of(fields: Sequence[str], place: str = "self") -> str:
    return " || ".join(f"has({place}.{name})" for name in fields)


def _listed(fields: Sequence[str]) -> str:
    return f"{', '.join(fields[:-1])} and {fields[-1]}"


EVALUATION_RULES: dict[str, list[dict[str, Any]]] = {
    "EvaluateOnly": [
        cel_rule(
            "!has(self.baseline) || self.models.exists(m, m.name == self.baseline)",
            "baseline must be the name of a model in evaluateOnly.models",
        ),
    ],
    "Benchmark": [
        cel_rule(f"{_KNOWN} || has(self.uri)", "uri is required without a preset or a harness"),
        cel_rule(f"{_KNOWN} || has(self.grader)", "grader is required without a preset or a harness"),
        cel_rule("has(self.harness) == has(self.task)", "task is required with harness and forbidden otherwise"),
        cel_rule(
            f"has(self.harness) || !({_any_of(_OF_HARNESS)})",
            f"{_listed(_OF_HARNESS)} are allowed with harness only",
        ),
        cel_rule(
            f"!has(self.harness) || !({_any_of(_NOT_OF_HARNESS)})",
            f"{_listed(_NOT_OF_HARNESS)} are forbidden with harness: lm-eval reads the questions and builds the "
            "requests",
        ),
        cel_rule(
            "!has(self.harness) || !has(self.sampling) || "
            f"!({_any_of(('temperature', 'topP', 'topK', 'repetitionPenalty'), 'self.sampling')})",
            "sampling may have maxTokens only with harness: the task has the other values",
        ),
        cel_rule(
            f"{_KNOWN} || !has(self.grader) || self.grader in {_OWN_GRADERS}",
            "grader must be Mathematics, Coding, ExactMatch, Choice or Rubric: the others belong to presets",
        ),
        cel_rule(
            "!has(self.preset) || !has(self.columns)",
            "columns is forbidden with a preset: its files have a known format",
        ),
        cel_rule(
            f"has(self.preset) || !({_GRADED_BY.format('Coding')}) || (has(self.columns) && has(self.columns.tests))",
            "columns.tests is required for grader Coding",
        ),
        cel_rule(
            f"({_GRADED_BY.format('Coding')}) || !has(self.columns) || !has(self.columns.preamble)",
            "columns.preamble is allowed for grader Coding only",
        ),
        cel_rule(
            "!has(self.columns) || !has(self.columns.solution)",
            "columns.solution is not allowed for benchmarks",
        ),
        cel_rule(
            "has(self.preset) || !has(self.grader) || !(self.grader in ['Mathematics', 'ExactMatch', 'Choice']) || "
            "(has(self.columns) && has(self.columns.answer))",
            "columns.answer is required for graders Mathematics, ExactMatch and Choice",
        ),
        cel_rule(
            f"has(self.preset) || ({_GRADED_BY.format('Choice')}) == (has(self.columns) && has(self.columns.options))",
            "columns.options is required for grader Choice and forbidden otherwise",
        ),
        cel_rule(
            f"has(self.preset) ? !has(self.rubric) : ({_GRADED_BY.format('Rubric')}) == has(self.rubric)",
            "rubric is required for grader Rubric and forbidden otherwise",
        ),
        cel_rule(
            "!has(self.rubric) || self.rubric.contains('{response}')",
            "rubric must contain {response}",
        ),
        cel_rule(
            "!has(self.promptTemplate) || self.promptTemplate.contains('{prompt}')",
            "promptTemplate must contain {prompt}",
        ),
        cel_rule(
            "!has(self.window) || (has(self.preset) && self.preset == 'LiveCodeBench')",
            "window is allowed for preset LiveCodeBench only",
        ),
    ],
    "Window": [cel_rule("self.start <= self.end", "start must not be after end")],
    "Judge": [cel_rule("has(self.endpoint) != has(self.served)", "exactly one of endpoint and served is required")],
    "Evaluation": [
        cel_rule(
            "!has(self.gate) || has(self.preset) || self.gate.all(g, has(self.benchmarks) && "
            "self.benchmarks.exists(b, b.name == g.benchmark))",
            "gate[].benchmark must be the name of a benchmark in evaluation.benchmarks",
        ),
        cel_rule(
            "!has(self.uri) || !self.uri.startsWith('hf://')",
            "uri must start with pvc:// or s3://: a repository of the hub has no subfolders here",
        ),
        cel_rule(
            f"has(self.judge) || !(has(self.preset) || (has(self.benchmarks) && self.benchmarks.exists(b, {_JUDGED})))",
            "judge is required for grader Rubric and for the presets AlpacaEval2, ArenaHard, MTBench and AlignBench",
        ),
    ],
}
