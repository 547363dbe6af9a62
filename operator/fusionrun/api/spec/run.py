"""The spec of a FusionRun. ``api.crd.rules`` has the rules between its fields."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.spec.data import Construction, Dataset, Generation
from fusionrun.api.spec.endpoints import SecretKeyRef, SecretRef
from fusionrun.api.spec.evaluation import Evaluation
from fusionrun.api.spec.models import Uri
from fusionrun.api.spec.preflight import Preflight
from fusionrun.api.spec.reward import RewardModel
from fusionrun.api.spec.scheduling import DataStages, Sandbox, Scheduling
from fusionrun.api.spec.sources import Source
from fusionrun.api.spec.target import EvaluateOnly, Target
from fusionrun.api.spec.training import Training
from fusionrun.api.stage import StageKind
from fusionrun.errors import PlanError


class Recipe(StrEnum):
    """The recipe that most defaults come from."""

    FUSECHAT_3 = "FuseChat-3.0"


class Hub(Contract):
    """The model hub of ``hf://`` models and data sets."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=512)] | None = None
    """URL of the hub. If omitted, the Hugging Face Hub is used."""
    token_secret_ref: SecretKeyRef | None = None
    """Token that can read the models and data sets. If omitted, requests have no token."""


class ObjectStore(Contract):
    """The object store of ``s3://`` models and data sets."""

    secret_ref: SecretRef
    """Secret with the credentials: ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY`` and, optionally,
    ``AWS_SESSION_TOKEN``, ``AWS_DEFAULT_REGION`` and ``AWS_ENDPOINT_URL``. Other keys are ignored."""


class RetentionPolicy(StrEnum):
    """What happens to the artifacts when the run is deleted."""

    RETAIN = "Retain"


class Storage(Contract):
    """The volume for inputs, models, artifacts and cache."""

    claim_name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
    """Name of a PersistentVolumeClaim in the run's namespace. All nodes that run pods of the run must be able to mount
    it."""
    retention_policy: RetentionPolicy = RetentionPolicy.RETAIN
    """What happens to the artifacts when the run is deleted: Retain keeps them on the claim."""


class Publish(Contract):
    """Where the final model, the data set and their cards are published."""

    uri: Uri
    """Destination: ``hf://org/name`` on the hub (``hub.endpoint`` as accepted), ``pvc://claim/path`` on the run's
    claim, or ``s3://bucket/prefix``."""
    token_secret_ref: SecretKeyRef | None = None
    """Token that can write to the hub. Required for ``hf://``, forbidden otherwise."""
    s3_secret_ref: SecretRef | None = None
    """Secret with the keys of ``s3.secretRef`` that can write to the bucket. Required for ``s3://``, unless
    ``dataStages.pod.serviceAccountName`` is set, and forbidden otherwise."""
    even_if_gate_failed: bool = False
    """Publish the model even if it does not meet ``evaluation.gate``."""
    private: bool | None = None
    """Whether new repositories on the hub are private. Existing repositories keep their visibility. Used for ``hf://``
    only."""


class Budget(Contract):
    """Limits on the cost of the run."""

    max_gpu_hours: Annotated[float, Field(gt=0)] | None = None
    """Maximum GPU hours of all pods. When it is reached, the stages with GPUs stop, and finished work is kept. The
    other stages continue. Raise it to resume. If omitted, there is no limit."""
    max_cost: Annotated[float, Field(gt=0)] | None = None
    """Maximum cost of the run: of its GPUs, by the operator's prices, and of its endpoints, by their ``prices``, which
    must have the same currency. When it is reached, the stages that cost something stop, and the others continue.
    Raise it to resume. If omitted, there is no limit."""


DEFAULT_STALL_SECONDS = 7200
"""Default of ``stageDeadlines[].stallSeconds``: longer than any step of a stage that works, such as loading a model."""


class StageDeadlines(Contract):
    """Deadlines of the stages of one kind."""

    kind: StageKind
    """Kind of the stages."""
    active_deadline_seconds: Annotated[int, Field(ge=60, le=31_536_000)] | None = None
    """Seconds that an attempt of the stage may run, from the start of its first pod on a node. The run then fails. Time
    in a queue and without a node does not count. If omitted, there is no limit."""
    pre_running_deadline_seconds: Annotated[int, Field(ge=60, le=31_536_000)] | None = None
    """Seconds that the stage may have no running pod. If omitted, ``preRunningDeadlineSeconds`` of the run applies."""
    stall_seconds: Annotated[int, Field(ge=0, le=604_800)] = DEFAULT_STALL_SECONDS
    """Seconds without progress after which a pod ends itself and is retried. 0 for no limit. Not used for servers,
    which have a liveness probe."""


DEFAULT_TTL_SECONDS = 86_400
"""Default of ``ttlSecondsAfterFinished``."""
FAILED_STAGE_TTL_FACTOR = 7
"""Objects of a failed stage, and so its logs, are kept this many times as long."""


_NOT_EMPTY = {"minItems": 1}
"""In the CRD only: a recorded spec of a run with ``evaluateOnly`` has empty lists."""


class FusionRunSpec(Contract):
    """The models to fuse, and how; or models to evaluate, and how."""

    recipe: Recipe = Recipe.FUSECHAT_3
    """The recipe that most defaults come from."""
    evaluate_only: EvaluateOnly | None = None
    """Models that are evaluated on the benchmarks without training. ``target``, ``sources``, ``rewardModel``,
    ``datasets``, ``training``, ``publish`` and ``evaluation.gate`` are then forbidden. If omitted, the run trains the
    target."""
    target: Target | None = None
    """The small model that is trained."""
    sources: Annotated[list[Source], Field(max_length=32, json_schema_extra=_NOT_EMPTY)] = []
    """The source models, whose responses become training data."""
    reward_model: RewardModel = RewardModel()
    """The model that scores every response: one that the run loads, or one behind an endpoint."""
    datasets: Annotated[list[Dataset], Field(max_length=64, json_schema_extra=_NOT_EMPTY)] = []
    """The data sets of prompts, and the sources that respond to them."""
    generation: Generation = Generation()
    """How sources generate responses."""
    construction: Construction = Construction()
    """How judged responses become SFT rows and preference pairs."""
    training: Training = Training()
    """How and where the target model is trained."""
    preflight: Preflight = Preflight()
    """Checks of the cluster and of the spec before the first model server starts."""
    evaluation: Evaluation = Evaluation()
    """How the base, SFT and final models, or those of ``evaluateOnly``, are evaluated."""
    hub: Hub | None = None
    """The model hub of ``hf://`` models and data sets. If omitted, the Hugging Face Hub is used without a token."""
    s3: ObjectStore | None = None
    """The object store of ``s3://`` models and data sets. Required if the spec has one of them, unless
    ``dataStages.pod.serviceAccountName`` is set: the pods then use the identity that the cloud gives to it."""
    storage: Storage
    """The volume for inputs, models, artifacts and cache."""
    scheduling: Scheduling = Scheduling()
    """Where and when pods are scheduled."""
    data_stages: DataStages = DataStages()
    """Pods of the stages that need no GPU."""
    sandbox: Sandbox = Sandbox()
    """Pods that run model-written programs."""
    publish: Publish | None = None
    """Where the final model, the data set and their cards are published. If omitted, nothing is published; the results
    are on the claim."""
    budget: Budget | None = None
    """Limits on the cost of the run. If omitted, there is no limit."""
    backoff_limit: Annotated[int, Field(ge=0, le=20)] = 3
    """Number of retries of a stage after infrastructure failures; of a stage with shards, of each shard. For a training
    that has saved a new checkpoint, the number starts again. Disruptions (evictions, preemptions, drains, lost nodes)
    do not count. User errors are not retried."""
    active_deadline_seconds: Annotated[int, Field(ge=60, le=31_536_000)] | None = None
    """Seconds that the run may be active before it fails: the sum of the time before and after each suspension, unlike
    for a Job, which starts again at 0. Time in a queue counts. If omitted, there is no limit."""
    pre_running_deadline_seconds: Annotated[int, Field(ge=60, le=31_536_000)] | None = None
    """Seconds that a stage may have no running pod before the run fails: its pods have no node, pull their image or
    cannot mount a volume. Time in a queue of Kueue does not count, nor does the time before the stage starts. If
    omitted, there is no limit."""
    stage_deadlines: Annotated[list[StageDeadlines], Field(max_length=16)] = []
    """Deadlines of the stages by their kind."""
    suspend: bool = False
    """Suspend the run: its pods stop, and finished work is kept. Set to false to resume."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Seconds after the end of the run until the operator deletes its Jobs and other objects, and with them their pods.
    The FusionRun, the data and logs on the claim, the NetworkPolicies, the Secret of its servers, and the ConfigMaps
    NAME-spec and NAME-resolved are kept."""

    @property
    def trained(self) -> Target:
        """The target of a run that trains one.

        Raises
        ------
        PlanError
            If the run only evaluates models.
        """
        if self.target is None:
            raise PlanError("spec.target is not set")
        return self.target

    def deadlines(self, kind: StageKind) -> StageDeadlines:
        """Return the deadlines of the stages of a kind, with those of the run."""
        found = next((d for d in self.stage_deadlines if d.kind is kind), StageDeadlines(kind=kind))
        if found.pre_running_deadline_seconds is not None:
            return found
        return found.model_copy(update={"pre_running_deadline_seconds": self.pre_running_deadline_seconds})
