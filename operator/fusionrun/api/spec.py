"""The spec of a FusionRun: the only definition of its fields and their bounds; ``api.rules`` has the rules between."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.data import Construction, Dataset, Evaluation, Generation
from fusionrun.api.models import Model, Resources, RewardModel, SecretKeyRef, SecretRef, Source, Uri
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
    gpu_runtime_class_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """RuntimeClass of the pods that hold GPUs: ``nvidia`` on k3s and RKE2. Left out: the cluster's default runtime."""
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


DEFAULT_TTL_SECONDS = 86_400
"""How long the objects of a finished run stay where its spec does not say."""


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
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Seconds after the run's end until the operator deletes its Jobs and other objects, and the pods' logs with them.

    Left out: 86400, one day. Those of a failed stage stay seven times as long. The FusionRun with its status, what lies
    on the claim, and the ConfigMaps NAME-spec and NAME-resolved stay.
    """


MUTABLE_FIELDS = frozenset(
    {
        "scheduling",
        "budget",
        "suspend",
        "backoffLimit",
        "activeDeadlineSeconds",
        "hub",
        "s3",
        "dataStages",
        "ttlSecondsAfterFinished",
    }
)
"""Fields of spec that enter no digest, and so may change during a run (design: The object)."""
