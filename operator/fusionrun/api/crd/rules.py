"""Rules between a FusionRun's fields, in CEL for the API server; ``plan.checks`` has those that CEL cannot express."""

from typing import Any

from fusionrun.api.crd.evaluation_rules import EVALUATION_RULES
from fusionrun.api.crd.immutable_rules import cel_rule, immutable_rules
from fusionrun.api.spec.mutable import SPEC_FIELDS

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

_ENDPOINT = [
    cel_rule(
        "!has(self.quota) || !has(self.quota.maxCost) || has(self.prices)",
        "prices is required if quota.maxCost is set",
    ),
]

_VALUE_RULES: dict[str, list[dict[str, Any]]] = {
    **EVALUATION_RULES,
    "FusionRunSpec": [
        *(
            cel_rule(
                f"has(self.evaluateOnly) != has(self.{name})",
                f"{name} is required without evaluateOnly and forbidden with it",
            )
            for name in ("target", "sources", "rewardModel", "datasets")
        ),
        *(
            cel_rule(f"!has(self.evaluateOnly) || !has(self.{name})", f"{name} is forbidden with evaluateOnly")
            for name in ("training", "publish")
        ),
        cel_rule(
            "!has(self.evaluateOnly) || !has(self.evaluation) || !has(self.evaluation.gate)",
            "evaluation.gate is forbidden with evaluateOnly",
        ),
        cel_rule(
            "!has(self.evaluateOnly) || (has(self.evaluation) && (has(self.evaluation.preset) || "
            "(has(self.evaluation.benchmarks) && self.evaluation.benchmarks.size() > 0)))",
            "evaluation.benchmarks or evaluation.preset is required with evaluateOnly",
        ),
        cel_rule(
            "!has(self.datasets) || !has(self.sources) || "
            "self.datasets.all(d, !has(d.sources) || d.sources.all(n, self.sources.exists(s, s.name == n)))",
            "datasets[].sources must be names of spec.sources",
        ),
        cel_rule(
            f"{_SCORED_BY_ARMORM} || (has(self.construction) && has(self.construction.rewardMargin))",
            f"construction.rewardMargin is required unless the reward model is {_ARMORM}: the default fits its scores",
        ),
        cel_rule(
            f"{_SCORED_BY_ARMORM} || has(self.rewardModel.calibration)",
            f"rewardModel.calibration is required unless the reward model is {_ARMORM}",
        ),
        cel_rule(
            f"has(self.s3) || {_HAS_IDENTITY} || !({_IN_AN_OBJECT_STORE})",
            "s3.secretRef is required for s3:// models and data sets, unless dataStages.pod.serviceAccountName is set",
        ),
        cel_rule(
            "!has(self.publish) || !self.publish.uri.startsWith('s3://') || has(self.publish.s3SecretRef) || "
            f"{_HAS_IDENTITY}",
            "publish.s3SecretRef is required for an s3:// uri, unless dataStages.pod.serviceAccountName is set",
        ),
    ],
    "Endpoint": _ENDPOINT,
    "JudgeEndpoint": _ENDPOINT,
    "Target": [
        cel_rule(
            "!has(self.model.trustRemoteCode) || !self.model.trustRemoteCode",
            "model.trustRemoteCode must be false for the target: the target must not run custom code",
        ),
    ],
    "MeasuredModel": [
        cel_rule("!(self.name in ['base', 'sft', 'final'])", "name must not be base, sft or final: they are reserved"),
        cel_rule(_PINNED_IF_TRUSTED, _NOT_PINNED),
        cel_rule(
            "!has(self.chatTemplate) || self.chatTemplate != 'Recipe' || has(self.family)",
            "family is required for chatTemplate Recipe: it selects the template",
        ),
    ],
    "Publish": [
        cel_rule(
            "self.uri.startsWith('hf://') == has(self.tokenSecretRef)",
            "tokenSecretRef is required for an hf:// uri and forbidden otherwise; hub.tokenSecretRef is for reading",
        ),
        cel_rule(
            "self.uri.startsWith('s3://') || !has(self.s3SecretRef)",
            "s3SecretRef is forbidden unless the uri is s3://; s3.secretRef is for reading",
        ),
    ],
    "Scheduling": [
        cel_rule(
            "!has(self.queueName) || !has(self.cpuQueueName) || self.queueName != self.cpuQueueName",
            "cpuQueueName must differ from queueName: clients would wait behind servers, which wait for their clients",
        ),
    ],
    "DataStages": [
        cel_rule(
            "!has(self.resources) || !has(self.resources.limits) || "
            "!self.resources.limits.exists(name, name.endsWith('/gpu'))",
            "resources.limits must not include GPUs: these stages do not use them",
        ),
    ],
    "RewardModel": [
        cel_rule("has(self.model) != has(self.endpoint)", "exactly one of model and endpoint is required"),
        cel_rule(
            "!has(self.endpoint) || !has(self.resources)",
            "resources is forbidden with endpoint: the run does not load the model",
        ),
        cel_rule("!has(self.endpoint) || !has(self.pod)", "pod is forbidden with endpoint: use dataStages.pod"),
        cel_rule(f"!has(self.model) || {_PINNED_IF_TRUSTED}", _NOT_PINNED),
    ],
    "Served": [cel_rule(_PINNED_IF_TRUSTED, _NOT_PINNED)],
    "JudgeServed": [cel_rule(_PINNED_IF_TRUSTED, _NOT_PINNED)],
    "Source": [
        cel_rule(
            f"{_TYPE} == '{name.capitalize()}' ? has(self.{name}) : !has(self.{name})",
            f"{name} is required for type {name.capitalize()} and forbidden otherwise",
        )
        for name in ("served", "endpoint")
    ],
    "Dataset": [
        cel_rule("has(self.preset) != has(self.uri)", "exactly one of preset and uri is required"),
        cel_rule(
            "self.task != 'Coding' || has(self.preset) || (has(self.columns) && has(self.columns.tests)) || "
            "(has(self.testsFrom) && self.testsFrom == 'Prompt')",
            "columns.tests or testsFrom: Prompt is required for task Coding",
        ),
        cel_rule(
            "!has(self.testsFrom) || self.task == 'Coding'",
            "testsFrom is allowed for task Coding only",
        ),
        cel_rule(
            "!has(self.testsFrom) || self.testsFrom != 'Prompt' || !has(self.columns) || !has(self.columns.tests)",
            "columns.tests is forbidden with testsFrom: Prompt",
        ),
        cel_rule(
            "self.task == 'Coding' || !has(self.columns) || !has(self.columns.preamble)",
            "columns.preamble is allowed for task Coding only",
        ),
        cel_rule(
            "self.task == 'Coding' || !has(self.columns) || !has(self.columns.solution)",
            "columns.solution is allowed for task Coding only",
        ),
        cel_rule(
            "self.task != 'Mathematics' || has(self.preset) || (has(self.columns) && has(self.columns.answer))",
            "columns.answer is required for task Mathematics",
        ),
        cel_rule(
            "self.task != 'SftOnly' || !has(self.sources) || self.sources.size() == 1",
            "sources must have exactly one item for task SftOnly",
        ),
    ],
    "Training": [
        cel_rule(
            "!has(self.reportTo) || !self.reportTo.exists(t, t == 'MLflow') || has(self.mlflow)",
            "mlflow is required if reportTo has MLflow",
        ),
        # offload may change during a run. With stage 1 the checkpoints of an offloaded optimizer have another format.
        # Source: DeepSpeed 0.19.8, _do_optimizer_sanity_check.
        cel_rule(
            "!has(self.offload) || !has(self.zeroStage) || self.zeroStage >= 2",
            "offload requires zeroStage 2 or 3",
        ),
    ],
    "RewardMargin": [cel_rule("self.min <= self.max", "min must be less than or equal to max")],
    "ScoreRange": [cel_rule("self.min < self.max", "min must be less than max")],
}
_IMMUTABLE_RULES = immutable_rules("FusionRunSpec", SPEC_FIELDS)

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
