"""The rules between a FusionRun's fields, as CEL for the API server; ``plan.checks`` says in Python what CEL cannot."""

from typing import Any

from fusionrun.api.spec import MUTABLE_FIELDS, FusionRunSpec

_ARMORM = "hf://RLHFlow/ArmoRM-Llama3-8B-v0.1"
_SCORED_BY_ARMORM = f"(has(self.rewardModel.model) && self.rewardModel.model.uri == '{_ARMORM}')"
_PIN = "^[0-9a-f]{40}$"
_STORED = "model.uri.startsWith('s3://')"
_IN_AN_OBJECT_STORE = (
    f"self.target.{_STORED} || (has(self.rewardModel.model) && self.rewardModel.{_STORED}) || "
    f"self.sources.exists(s, has(s.served) && s.served.{_STORED}) || "
    "self.datasets.exists(d, has(d.uri) && d.uri.startsWith('s3://')) || "
    "(has(self.evaluation) && has(self.evaluation.benchmarks) && "
    "self.evaluation.benchmarks.exists(b, b.uri.startsWith('s3://')))"
)


def _pinned_when_trusted(path: str) -> dict[str, Any]:
    return {
        "rule": f"!has({path}.trustRemoteCode) || !{path}.trustRemoteCode || "
        f"(has({path}.revision) && {path}.revision.matches('{_PIN}'))",
        "message": f"{path.removeprefix('self.')}.revision must be a 40-digit commit when trustRemoteCode is true",
    }


def _pinned_when_given(path: str) -> dict[str, Any]:
    pinned = _pinned_when_trusted(path)
    return pinned | {"rule": f"!has({path}) || {pinned['rule']}"}


def _rule(rule: str, message: str) -> dict[str, Any]:
    return {"rule": rule, "message": message}


def _immutable_rules() -> list[dict[str, Any]]:
    rules = []
    for name, field in FusionRunSpec.model_fields.items():
        alias = field.alias or name
        if alias in MUTABLE_FIELDS:
            continue
        message = f"spec.{alias} is immutable: a changed recipe is a new FusionRun (finished work is reused)"
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
            "datasets[].sources: each must be the name of one of spec.sources",
        ),
        _rule(
            f"{_SCORED_BY_ARMORM} || (has(self.construction) && has(self.construction.rewardMargin))",
            "construction.rewardMargin is required unless the reward model is the recipe's ArmoRM: "
            "the recipe's window 0.01 to 0.1 is that model's scale",
        ),
        _rule(
            f"{_SCORED_BY_ARMORM} || has(self.rewardModel.calibration)",
            "rewardModel.calibration is required unless the reward model is the recipe's ArmoRM",
        ),
        _rule(
            f"has(self.s3) || !({_IN_AN_OBJECT_STORE})",
            "s3.secretRef is required for a model or data set of s3://: nothing else gives a pod credentials",
        ),
    ],
    "Endpoint": [
        _rule(
            "!has(self.quota) || !has(self.quota.maxCost) || has(self.prices)",
            "prices is required for quota.maxCost",
        ),
    ],
    "Target": [
        _rule(
            "!has(self.model.trustRemoteCode) || !self.model.trustRemoteCode",
            "model.trustRemoteCode must not be true for the target: training writes models, and a model's own code "
            "is let write nothing but its own scores",
        ),
    ],
    "Publish": [
        _rule(
            "self.uri.startsWith('hf://') == has(self.tokenSecretRef)",
            "tokenSecretRef is required for a uri of hf:// and forbidden for any other: hub.tokenSecretRef is for "
            "reading",
        ),
        _rule(
            "self.uri.startsWith('s3://') == has(self.s3SecretRef)",
            "s3SecretRef is required for a uri of s3:// and forbidden for any other: s3.secretRef is for reading",
        ),
    ],
    "DataStages": [
        _rule(
            "!has(self.resources) || !has(self.resources.limits) || "
            "!self.resources.limits.exists(name, name.endsWith('/gpu'))",
            "resources.limits must name no GPU: these stages use none, and scheduling.gpuBudget would not count it",
        ),
    ],
    "RewardModel": [
        _rule("has(self.model) != has(self.endpoint)", "exactly one of model and endpoint is required"),
        _rule(
            "!has(self.endpoint) || !has(self.resources)",
            "resources is for a model that the run loads: forbidden with endpoint",
        ),
        _pinned_when_given("self.model"),
    ],
    "Served": [_pinned_when_trusted("self.model")],
    "Source": [
        _rule(
            "(has(self.type) ? self.type : 'Served') == 'Served' ? has(self.served) : !has(self.served)",
            "served is required for type Served and forbidden for any other",
        ),
        _rule(
            "(has(self.type) ? self.type : 'Served') == 'Endpoint' ? has(self.endpoint) : !has(self.endpoint)",
            "endpoint is required for type Endpoint and forbidden for any other",
        ),
    ],
    "Dataset": [
        _rule("has(self.preset) != has(self.uri)", "exactly one of preset and uri is required"),
        _rule(
            "self.task != 'Coding' || has(self.preset) || (has(self.columns) && has(self.columns.tests))",
            "columns.tests is required for task Coding: a program is judged by its prompt's tests",
        ),
        _rule(
            "self.task == 'Coding' || !has(self.columns) || !has(self.columns.solution)",
            "columns.solution is for task Coding: tests judge it",
        ),
        _rule(
            "self.task != 'Mathematics' || has(self.preset) || (has(self.columns) && has(self.columns.answer))",
            "columns.answer is required for task Mathematics: an answer is judged against the gold one",
        ),
        _rule(
            "self.task != 'SftOnly' || !has(self.sources) || self.sources.size() == 1",
            "sources: task SftOnly takes the single response of one source",
        ),
    ],
    "Benchmark": [
        _rule(
            "self.grader != 'Coding' || (has(self.columns) && has(self.columns.tests))",
            "columns.tests is required for grader Coding",
        ),
        _rule(
            "!has(self.columns) || !has(self.columns.solution)",
            "columns.solution is for datasets: a benchmark is measured as it is",
        ),
        _rule(
            "self.grader == 'Coding' || (has(self.columns) && has(self.columns.answer))",
            "columns.answer is required for graders Mathematics and ExactMatch",
        ),
    ],
    "RewardMargin": [_rule("self.min <= self.max", "min must not be above max")],
    "ScoreRange": [_rule("self.min < self.max", "min must be below max")],
    "Evaluation": [
        _rule(
            "!has(self.gate) || self.gate.all(g, has(self.benchmarks) && "
            "self.benchmarks.exists(b, b.name == g.benchmark))",
            "gate[].benchmark must be the name of one of evaluation.benchmarks",
        ),
    ],
}
"""CEL rules by model class. The CRD generator puts each beside the class it names."""

LIST_KEYS: dict[tuple[str, str], list[str]] = {
    ("FusionRunSpec", "sources"): ["name"],
    ("FusionRunSpec", "datasets"): ["name"],
    ("Evaluation", "benchmarks"): ["name"],
}
"""Lists that the API server keeps as maps by key (``x-kubernetes-list-type: map``), so that a name is unique."""
