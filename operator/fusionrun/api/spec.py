"""The spec of a FusionRun: the only definition of its fields, their bounds, and the rules between them.

Rules between fields stand here once, as CEL (``CEL_RULES``) for the API server; ``plan.checks`` repeats in
Python only what CEL cannot say.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.data import Construction, Dataset, Evaluation, Generation
from fusionrun.api.models import Model, Name, Resources, RewardModel, SecretKeyRef, SecretRef, Source, Uri
from fusionrun.api.training import Training


class Recipe(StrEnum):
    """The recipe that fills every field left out."""

    FUSECHAT_3 = "FuseChat-3.0"


class Family(StrEnum):
    """Families of target models that the recipe has its own numbers for (recipe.md)."""

    LLAMA_3_1 = "Llama3"
    LLAMA_3_2 = "Llama3Small"
    QWEN_2_5 = "Qwen2.5"
    GEMMA_2 = "Gemma2"


class Target(Contract):
    """The small model that is trained."""

    family: Family
    """Selects the recipe's learning rates, beta and loss. Llama3Small is Llama-3.2 of 1B and 3B."""
    model: Model
    """``trustRemoteCode`` is refused: transformers has code of its own for every family."""


class Hub(Contract):
    """A model hub; used by ``resolve`` and ``fetch`` alone."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=512)] | None = None
    token_secret_ref: SecretKeyRef | None = None


class ObjectStore(Contract):
    """The object store of ``s3://`` models and data sets; used by ``resolve`` and ``fetch`` alone."""

    secret_ref: SecretRef
    """A Secret with keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

    It may hold AWS_SESSION_TOKEN, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL, too. No other key of it is read.
    """


class DataStages(Contract):
    """Pods of the stages that need no GPU."""

    resources: Resources | None = None
    """Of each pod that resolves, fetches, prepares, generates (as a client), verifies mathematics, constructs,
    evaluates or publishes. Left out: the operator's defaults. Pods that run programs have fixed ones."""


class Toleration(Contract):
    """A Kubernetes toleration."""

    key: Annotated[str, Field(max_length=316)] | None = None
    operator: Literal["Exists", "Equal"] | None = None
    value: Annotated[str, Field(max_length=63)] | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Scheduling(Contract):
    """Where and when pods run."""

    gpu_budget: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """Most GPUs that the run holds at once. Left out: no limit of ours."""
    max_servers: Annotated[int, Field(ge=1, le=64)] | None = None
    """Most model servers up at once. Left out: no limit of ours."""
    queue_name: Annotated[str, Field(max_length=63)] | None = None
    """Kueue LocalQueue for every Job, PyTorchJob and model server's Deployment."""
    priority_class_name: Annotated[str, Field(max_length=253)] | None = None
    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)] | None = None
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = []
    sandbox_runtime_class_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """RuntimeClass of the pods that run model-written programs (gVisor, Kata, or one with no network)."""


class RetentionPolicy(StrEnum):
    """What happens to the artifacts when the run is deleted."""

    RETAIN = "Retain"


class Storage(Contract):
    """The volume that holds inputs, models, artifacts and cache."""

    claim_name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
    retention_policy: RetentionPolicy = RetentionPolicy.RETAIN


class Publish(Contract):
    """Where the final model and its cards go."""

    uri: Uri
    token_secret_ref: SecretKeyRef | None = None
    """A token that may write to the hub: for ``hf://``."""
    s3_secret_ref: SecretRef | None = None
    """A Secret with the keys of ``s3.secretRef`` that may write to the bucket: for ``s3://``."""
    even_if_gate_failed: bool = False


class Budget(Contract):
    """What a run may spend. Reaching it suspends the run: its pods stop, and what they made stays.

    A higher budget lets it go on: training from its last checkpoint, other stages from what they have stored.
    """

    max_gpu_hours: Annotated[float, Field(gt=0)] | None = None


class FusionRunSpec(Contract):
    """What is to be fused, and how."""

    recipe: Recipe = Recipe.FUSECHAT_3
    target: Target
    sources: Annotated[list[Source], Field(min_length=1, max_length=32)]
    reward_model: RewardModel
    datasets: Annotated[list[Dataset], Field(min_length=1, max_length=64)]
    generation: Generation = Generation()
    construction: Construction = Construction()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    hub: Hub | None = None
    s3: ObjectStore | None = None
    storage: Storage
    scheduling: Scheduling = Scheduling()
    data_stages: DataStages = DataStages()
    publish: Publish | None = None
    budget: Budget | None = None
    backoff_limit: Annotated[int, Field(ge=0, le=20)] = 3
    """How often a stage is tried again after a failure of the infrastructure."""
    active_deadline_seconds: Annotated[int, Field(ge=60, le=31_536_000)] | None = None
    suspend: bool = False


MUTABLE_FIELDS = frozenset(
    {"scheduling", "budget", "suspend", "backoffLimit", "activeDeadlineSeconds", "hub", "s3", "dataStages"}
)
"""Fields of spec that enter no digest, and so may change during a run (design: The object)."""

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

__all__ = ["CEL_RULES", "LIST_KEYS", "MUTABLE_FIELDS", "Family", "FusionRunSpec", "Name", "Recipe"]
