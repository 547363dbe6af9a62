"""Rules between a FusionRun's fields, in CEL for the API server; ``plan.checks`` has those that CEL cannot express."""

from collections.abc import Sequence
from typing import Any

from fusionrun.api.mutable import KEY, SPEC_FIELDS, SpecField

_ARMORM = "hf://RLHFlow/ArmoRM-Llama3-8B-v0.1"
_SCORED_BY_ARMORM = (
    f"!has(self.rewardModel) || (has(self.rewardModel.model) && self.rewardModel.model.uri == '{_ARMORM}')"
)
_TYPE = "(has(self.type) ? self.type : 'Served')"
_STORED = "model.uri.startsWith('s3://')"
_IN_AN_OBJECT_STORE = (
    f"(has(self.target) && self.target.{_STORED}) || "
    f"(has(self.rewardModel) && has(self.rewardModel.model) && self.rewardModel.{_STORED}) || "
    f"(has(self.sources) && self.sources.exists(s, has(s.served) && s.served.{_STORED})) || "
    "(has(self.datasets) && self.datasets.exists(d, has(d.uri) && d.uri.startsWith('s3://'))) || "
    f"(has(self.evaluateOnly) && self.evaluateOnly.models.exists(m, m.{_STORED})) || "
    "(has(self.evaluation) && (has(self.evaluation.uri) && self.evaluation.uri.startsWith('s3://') || "
    "has(self.evaluation.benchmarks) && "
    "self.evaluation.benchmarks.exists(b, has(b.uri) && b.uri.startsWith('s3://')) || "
    "has(self.evaluation.judge) && has(self.evaluation.judge.served) && "
    f"self.evaluation.judge.served.{_STORED}))"
)
_HAS_IDENTITY = "(has(self.dataStages) && has(self.dataStages.pod) && has(self.dataStages.pod.serviceAccountName))"
"""Whether the cloud gives an identity to the pods that download and publish."""

_PINNED_IF_TRUSTED = (
    "!has(self.model.trustRemoteCode) || !self.model.trustRemoteCode || "
    "(has(self.model.revision) && self.model.revision.matches('^[0-9a-f]{40}$'))"
)
_NOT_PINNED = "model.revision must be a 40-digit commit if trustRemoteCode is true"

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


def _rule(rule: str, message: str) -> dict[str, Any]:
    return {"rule": rule, "message": message}


def _any_of(fields: Sequence[str], place: str = "self") -> str:
    return " || ".join(f"has({place}.{name})" for name in fields)


def _listed(fields: Sequence[str]) -> str:
    return f"{', '.join(fields[:-1])} and {fields[-1]}"


_RESTART = "create a new FusionRun, which reuses finished work"


def _immutable_rules(owner: str, fields: Sequence[SpecField]) -> dict[str, list[dict[str, Any]]]:
    """Return the rules that keep fields from changing, by class: those of the class ``owner`` and of classes below."""
    rules: dict[str, list[dict[str, Any]]] = {owner: []}
    for field in fields:
        if field.mutable:
            continue
        if not field.mixed:
            rules[owner].append(_same_value(field))
            continue
        if field.is_list:
            rules[owner].append(_same_items(field))
        elif not field.required:
            rules[owner].append(_same_presence(field))
        if field.inner:
            below = [f for f in field.fields if not (field.is_list and f.name == KEY)]
            rules |= _immutable_rules(field.inner.__name__, below)
    return rules


def _same_value(field: SpecField) -> dict[str, Any]:
    name, message = field.name, f"spec.{field.path} is immutable: {_RESTART}"
    if field.required:
        return _rule(f"self.{name} == oldSelf.{name}", message)
    both = f"has(self.{name}) == has(oldSelf.{name})"
    return _rule(f"{both} && (!has(self.{name}) || self.{name} == oldSelf.{name})", message)


def _same_items(field: SpecField) -> dict[str, Any]:
    """Return the rule of a list whose items have mutable fields. The API server matches items by their key."""
    name = field.name
    all_known = f"self.{name}.all(each, oldSelf.{name}.exists(old, old.{KEY} == each.{KEY}))"
    message = f"spec.{field.path} is immutable: no item may be added or removed: {_RESTART}"
    same = f"self.{name}.size() == oldSelf.{name}.size() && {all_known}"
    if field.required:
        return _rule(same, message)
    return _rule(f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {same})", message)


def _same_presence(field: SpecField) -> dict[str, Any]:
    """Return the rule of an object that may be added or removed if it has mutable fields only.

    The rules of its class compare two objects, and so do not apply if there is only one.
    """
    name, message = field.name, f"spec.{field.path}: its immutable fields must not be added or removed: {_RESTART}"
    both = f"has(self.{name}) == has(oldSelf.{name})"
    if any(f.required for f in field.fields):
        return _rule(both, message)
    new, old = (_only_mutable(f"{place}.{name}", field.fields) for place in ("self", "oldSelf"))
    return _rule(f"{both} || (has(self.{name}) ? {new} : {old})", message)


def _only_mutable(place: str, fields: Sequence[SpecField]) -> str:
    """Return the condition that an object has mutable fields only."""
    parts = []
    for field in fields:
        if field.mixed:
            parts.append(f"(!has({place}.{field.name}) || {_only_mutable(f'{place}.{field.name}', field.fields)})")
        elif not field.mutable:
            parts.append(f"!has({place}.{field.name})")
    return f"({' && '.join(parts)})"


_ENDPOINT = [
    _rule(
        "!has(self.quota) || !has(self.quota.maxCost) || has(self.prices)",
        "prices is required if quota.maxCost is set",
    ),
]

_VALUE_RULES: dict[str, list[dict[str, Any]]] = {
    "FusionRunSpec": [
        *(
            _rule(
                f"has(self.evaluateOnly) != has(self.{name})",
                f"{name} is required without evaluateOnly and forbidden with it",
            )
            for name in ("target", "sources", "rewardModel", "datasets")
        ),
        *(
            _rule(f"!has(self.evaluateOnly) || !has(self.{name})", f"{name} is forbidden with evaluateOnly")
            for name in ("training", "publish")
        ),
        _rule(
            "!has(self.evaluateOnly) || !has(self.evaluation) || !has(self.evaluation.gate)",
            "evaluation.gate is forbidden with evaluateOnly",
        ),
        _rule(
            "!has(self.evaluateOnly) || (has(self.evaluation) && (has(self.evaluation.preset) || "
            "(has(self.evaluation.benchmarks) && self.evaluation.benchmarks.size() > 0)))",
            "evaluation.benchmarks or evaluation.preset is required with evaluateOnly",
        ),
        _rule(
            "!has(self.datasets) || !has(self.sources) || "
            "self.datasets.all(d, !has(d.sources) || d.sources.all(n, self.sources.exists(s, s.name == n)))",
            "datasets[].sources must be names of spec.sources",
        ),
        _rule(
            f"{_SCORED_BY_ARMORM} || (has(self.construction) && has(self.construction.rewardMargin))",
            f"construction.rewardMargin is required unless the reward model is {_ARMORM}: the default fits its scores",
        ),
        _rule(
            f"{_SCORED_BY_ARMORM} || has(self.rewardModel.calibration)",
            f"rewardModel.calibration is required unless the reward model is {_ARMORM}",
        ),
        _rule(
            f"has(self.s3) || {_HAS_IDENTITY} || !({_IN_AN_OBJECT_STORE})",
            "s3.secretRef is required for s3:// models and data sets, unless dataStages.pod.serviceAccountName is set",
        ),
        _rule(
            "!has(self.publish) || !self.publish.uri.startsWith('s3://') || has(self.publish.s3SecretRef) || "
            f"{_HAS_IDENTITY}",
            "publish.s3SecretRef is required for an s3:// uri, unless dataStages.pod.serviceAccountName is set",
        ),
    ],
    "Endpoint": _ENDPOINT,
    "JudgeEndpoint": _ENDPOINT,
    "Target": [
        _rule(
            "!has(self.model.trustRemoteCode) || !self.model.trustRemoteCode",
            "model.trustRemoteCode must be false for the target: the target must not run custom code",
        ),
    ],
    "MeasuredModel": [
        _rule("!(self.name in ['base', 'sft', 'final'])", "name must not be base, sft or final: they are reserved"),
        _rule(_PINNED_IF_TRUSTED, _NOT_PINNED),
        _rule(
            "!has(self.chatTemplate) || self.chatTemplate != 'Recipe' || has(self.family)",
            "family is required for chatTemplate Recipe: it selects the template",
        ),
    ],
    "EvaluateOnly": [
        _rule(
            "!has(self.baseline) || self.models.exists(m, m.name == self.baseline)",
            "baseline must be the name of a model in evaluateOnly.models",
        ),
    ],
    "Publish": [
        _rule(
            "self.uri.startsWith('hf://') == has(self.tokenSecretRef)",
            "tokenSecretRef is required for an hf:// uri and forbidden otherwise; hub.tokenSecretRef is for reading",
        ),
        _rule(
            "self.uri.startsWith('s3://') || !has(self.s3SecretRef)",
            "s3SecretRef is forbidden unless the uri is s3://; s3.secretRef is for reading",
        ),
    ],
    "Scheduling": [
        _rule(
            "!has(self.queueName) || !has(self.cpuQueueName) || self.queueName != self.cpuQueueName",
            "cpuQueueName must differ from queueName: clients would wait behind servers, which wait for their clients",
        ),
    ],
    "DataStages": [
        _rule(
            "!has(self.resources) || !has(self.resources.limits) || "
            "!self.resources.limits.exists(name, name.endsWith('/gpu'))",
            "resources.limits must not include GPUs: these stages do not use them",
        ),
    ],
    "RewardModel": [
        _rule("has(self.model) != has(self.endpoint)", "exactly one of model and endpoint is required"),
        _rule(
            "!has(self.endpoint) || !has(self.resources)",
            "resources is forbidden with endpoint: the run does not load the model",
        ),
        _rule("!has(self.endpoint) || !has(self.pod)", "pod is forbidden with endpoint: use dataStages.pod"),
        _rule(f"!has(self.model) || {_PINNED_IF_TRUSTED}", _NOT_PINNED),
    ],
    "Served": [_rule(_PINNED_IF_TRUSTED, _NOT_PINNED)],
    "JudgeServed": [_rule(_PINNED_IF_TRUSTED, _NOT_PINNED)],
    "Source": [
        _rule(
            f"{_TYPE} == '{name.capitalize()}' ? has(self.{name}) : !has(self.{name})",
            f"{name} is required for type {name.capitalize()} and forbidden otherwise",
        )
        for name in ("served", "endpoint")
    ],
    "Dataset": [
        _rule("has(self.preset) != has(self.uri)", "exactly one of preset and uri is required"),
        _rule(
            "self.task != 'Coding' || has(self.preset) || (has(self.columns) && has(self.columns.tests)) || "
            "(has(self.testsFrom) && self.testsFrom == 'Prompt')",
            "columns.tests or testsFrom: Prompt is required for task Coding",
        ),
        _rule(
            "!has(self.testsFrom) || self.task == 'Coding'",
            "testsFrom is allowed for task Coding only",
        ),
        _rule(
            "!has(self.testsFrom) || self.testsFrom != 'Prompt' || !has(self.columns) || !has(self.columns.tests)",
            "columns.tests is forbidden with testsFrom: Prompt",
        ),
        _rule(
            "self.task == 'Coding' || !has(self.columns) || !has(self.columns.preamble)",
            "columns.preamble is allowed for task Coding only",
        ),
        _rule(
            "self.task == 'Coding' || !has(self.columns) || !has(self.columns.solution)",
            "columns.solution is allowed for task Coding only",
        ),
        _rule(
            "self.task != 'Mathematics' || has(self.preset) || (has(self.columns) && has(self.columns.answer))",
            "columns.answer is required for task Mathematics",
        ),
        _rule(
            "self.task != 'SftOnly' || !has(self.sources) || self.sources.size() == 1",
            "sources must have exactly one item for task SftOnly",
        ),
    ],
    "Benchmark": [
        _rule(f"{_KNOWN} || has(self.uri)", "uri is required without a preset or a harness"),
        _rule(f"{_KNOWN} || has(self.grader)", "grader is required without a preset or a harness"),
        _rule("has(self.harness) == has(self.task)", "task is required with harness and forbidden otherwise"),
        _rule(
            f"has(self.harness) || !({_any_of(_OF_HARNESS)})",
            f"{_listed(_OF_HARNESS)} are allowed with harness only",
        ),
        _rule(
            f"!has(self.harness) || !({_any_of(_NOT_OF_HARNESS)})",
            f"{_listed(_NOT_OF_HARNESS)} are forbidden with harness: lm-eval reads the questions and builds the "
            "requests",
        ),
        _rule(
            "!has(self.harness) || !has(self.sampling) || "
            f"!({_any_of(('temperature', 'topP', 'topK', 'repetitionPenalty'), 'self.sampling')})",
            "sampling may have maxTokens only with harness: the task has the other values",
        ),
        _rule(
            f"{_KNOWN} || !has(self.grader) || self.grader in {_OWN_GRADERS}",
            "grader must be Mathematics, Coding, ExactMatch, Choice or Rubric: the others belong to presets",
        ),
        _rule(
            "!has(self.preset) || !has(self.columns)",
            "columns is forbidden with a preset: its files have a known format",
        ),
        _rule(
            f"has(self.preset) || !({_GRADED_BY.format('Coding')}) || (has(self.columns) && has(self.columns.tests))",
            "columns.tests is required for grader Coding",
        ),
        _rule(
            f"({_GRADED_BY.format('Coding')}) || !has(self.columns) || !has(self.columns.preamble)",
            "columns.preamble is allowed for grader Coding only",
        ),
        _rule(
            "!has(self.columns) || !has(self.columns.solution)",
            "columns.solution is not allowed for benchmarks",
        ),
        _rule(
            "has(self.preset) || !has(self.grader) || !(self.grader in ['Mathematics', 'ExactMatch', 'Choice']) || "
            "(has(self.columns) && has(self.columns.answer))",
            "columns.answer is required for graders Mathematics, ExactMatch and Choice",
        ),
        _rule(
            f"has(self.preset) || ({_GRADED_BY.format('Choice')}) == (has(self.columns) && has(self.columns.options))",
            "columns.options is required for grader Choice and forbidden otherwise",
        ),
        _rule(
            f"has(self.preset) ? !has(self.rubric) : ({_GRADED_BY.format('Rubric')}) == has(self.rubric)",
            "rubric is required for grader Rubric and forbidden otherwise",
        ),
        _rule(
            "!has(self.rubric) || self.rubric.contains('{response}')",
            "rubric must contain {response}",
        ),
        _rule(
            "!has(self.promptTemplate) || self.promptTemplate.contains('{prompt}')",
            "promptTemplate must contain {prompt}",
        ),
        _rule(
            "!has(self.window) || (has(self.preset) && self.preset == 'LiveCodeBench')",
            "window is allowed for preset LiveCodeBench only",
        ),
    ],
    "Window": [_rule("self.start <= self.end", "start must not be after end")],
    "Judge": [_rule("has(self.endpoint) != has(self.served)", "exactly one of endpoint and served is required")],
    "Training": [
        _rule(
            "!has(self.reportTo) || !self.reportTo.exists(t, t == 'MLflow') || has(self.mlflow)",
            "mlflow is required if reportTo has MLflow",
        ),
        # offload may change during a run. With stage 1 the checkpoints of an offloaded optimizer have another format.
        # Source: DeepSpeed 0.19.8, _do_optimizer_sanity_check.
        _rule(
            "!has(self.offload) || !has(self.zeroStage) || self.zeroStage >= 2",
            "offload requires zeroStage 2 or 3",
        ),
    ],
    "RewardMargin": [_rule("self.min <= self.max", "min must be less than or equal to max")],
    "ScoreRange": [_rule("self.min < self.max", "min must be less than max")],
    "Evaluation": [
        _rule(
            "!has(self.gate) || has(self.preset) || self.gate.all(g, has(self.benchmarks) && "
            "self.benchmarks.exists(b, b.name == g.benchmark))",
            "gate[].benchmark must be the name of a benchmark in evaluation.benchmarks",
        ),
        _rule(
            "!has(self.uri) || !self.uri.startsWith('hf://')",
            "uri must start with pvc:// or s3://: a repository of the hub has no subfolders here",
        ),
        _rule(
            f"has(self.judge) || !(has(self.preset) || (has(self.benchmarks) && self.benchmarks.exists(b, {_JUDGED})))",
            "judge is required for grader Rubric and for the presets AlpacaEval2, ArenaHard, MTBench and AlignBench",
        ),
    ],
}
_IMMUTABLE_RULES = _immutable_rules("FusionRunSpec", SPEC_FIELDS)

CEL_RULES: dict[str, list[dict[str, Any]]] = {
    owner: [*_IMMUTABLE_RULES.get(owner, []), *_VALUE_RULES.get(owner, [])]
    for owner in dict.fromkeys([*_IMMUTABLE_RULES, *_VALUE_RULES])
}
"""CEL rules by class. The CRD has them wherever it has the class."""

LIST_KEYS: dict[tuple[str, str], list[str]] = {
    ("EvaluateOnly", "models"): ["name"],
    ("FusionRunSpec", "sources"): ["name"],
    ("FusionRunSpec", "datasets"): ["name"],
    ("FusionRunSpec", "stageDeadlines"): ["kind"],
    ("Evaluation", "benchmarks"): ["name"],
    ("PodSettings", "env"): ["name"],
    ("PodSettings", "volumes"): ["name"],
    ("PodSettings", "volumeMounts"): ["mountPath"],
    ("FusionRunStatus", "conditions"): ["type"],
}
"""Lists that the API server treats as maps (``x-kubernetes-list-type: map``), so that names are unique."""
