"""Rules between a FusionRun's fields, in CEL for the API server; ``plan.checks`` has those that CEL cannot express."""

from typing import Any

from fusionrun.api.spec import MUTABLE_FIELDS, FusionRunSpec

_ARMORM = "hf://RLHFlow/ArmoRM-Llama3-8B-v0.1"
_SCORED_BY_ARMORM = f"(has(self.rewardModel.model) && self.rewardModel.model.uri == '{_ARMORM}')"
_TYPE = "(has(self.type) ? self.type : 'Served')"
_STORED = "model.uri.startsWith('s3://')"
_IN_AN_OBJECT_STORE = (
    f"self.target.{_STORED} || (has(self.rewardModel.model) && self.rewardModel.{_STORED}) || "
    f"self.sources.exists(s, has(s.served) && s.served.{_STORED}) || "
    "self.datasets.exists(d, has(d.uri) && d.uri.startsWith('s3://')) || "
    "(has(self.evaluation) && has(self.evaluation.benchmarks) && "
    "self.evaluation.benchmarks.exists(b, b.uri.startsWith('s3://')))"
)


_PINNED_IF_TRUSTED = (
    "!has(self.model.trustRemoteCode) || !self.model.trustRemoteCode || "
    "(has(self.model.revision) && self.model.revision.matches('^[0-9a-f]{40}$'))"
)
_NOT_PINNED = "model.revision must be a 40-digit commit if trustRemoteCode is true"


def _rule(rule: str, message: str) -> dict[str, Any]:
    return {"rule": rule, "message": message}


def _immutable_rules() -> list[dict[str, Any]]:
    rules = []
    for name, field in FusionRunSpec.model_fields.items():
        alias = field.alias or name
        if alias in MUTABLE_FIELDS:
            continue
        message = f"spec.{alias} is immutable: create a new FusionRun, which reuses finished work"
        if field.is_required():
            rules.append(_rule(f"self.{alias} == oldSelf.{alias}", message))
        else:
            both = f"has(self.{alias}) == has(oldSelf.{alias})"
            rules.append(_rule(f"{both} && (!has(self.{alias}) || self.{alias} == oldSelf.{alias})", message))
    return rules


CEL_RULES: dict[str, list[dict[str, Any]]] = {
    "FusionRunSpec": [
        *_immutable_rules(),
        _rule(
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
            f"has(self.s3) || !({_IN_AN_OBJECT_STORE})",
            "s3.secretRef is required for s3:// models and data sets",
        ),
    ],
    "Endpoint": [
        _rule(
            "!has(self.quota) || !has(self.quota.maxCost) || has(self.prices)",
            "prices is required if quota.maxCost is set",
        ),
    ],
    "Target": [
        _rule(
            "!has(self.model.trustRemoteCode) || !self.model.trustRemoteCode",
            "model.trustRemoteCode must be false for the target: the target must not run custom code",
        ),
    ],
    "Publish": [
        _rule(
            f"self.uri.startsWith('{scheme}://') == has(self.{field})",
            f"{field} is required for an {scheme}:// uri and forbidden otherwise; {for_reading} is for reading",
        )
        for scheme, field, for_reading in (
            ("hf", "tokenSecretRef", "hub.tokenSecretRef"),
            ("s3", "s3SecretRef", "s3.secretRef"),
        )
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
        _rule(f"!has(self.model) || {_PINNED_IF_TRUSTED}", _NOT_PINNED),
    ],
    "Served": [_rule(_PINNED_IF_TRUSTED, _NOT_PINNED)],
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
            "self.task != 'Coding' || has(self.preset) || (has(self.columns) && has(self.columns.tests))",
            "columns.tests is required for task Coding",
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
        _rule(
            "self.grader != 'Coding' || (has(self.columns) && has(self.columns.tests))",
            "columns.tests is required for grader Coding",
        ),
        _rule(
            "!has(self.columns) || !has(self.columns.solution)",
            "columns.solution is not allowed for benchmarks",
        ),
        _rule(
            "self.grader == 'Coding' || (has(self.columns) && has(self.columns.answer))",
            "columns.answer is required for graders Mathematics and ExactMatch",
        ),
    ],
    "RewardMargin": [_rule("self.min <= self.max", "min must be less than or equal to max")],
    "ScoreRange": [_rule("self.min < self.max", "min must be less than max")],
    "Evaluation": [
        _rule(
            "!has(self.gate) || self.gate.all(g, has(self.benchmarks) && "
            "self.benchmarks.exists(b, b.name == g.benchmark))",
            "gate[].benchmark must be the name of a benchmark in evaluation.benchmarks",
        ),
    ],
}
"""CEL rules by class. The CRD has them wherever it has the class."""

LIST_KEYS: dict[tuple[str, str], list[str]] = {
    ("FusionRunSpec", "sources"): ["name"],
    ("FusionRunSpec", "datasets"): ["name"],
    ("FusionRunSpec", "stageDeadlines"): ["kind"],
    ("Evaluation", "benchmarks"): ["name"],
    ("FusionRunStatus", "conditions"): ["type"],
}
"""Lists that the API server treats as maps (``x-kubernetes-list-type: map``), so that names are unique."""
