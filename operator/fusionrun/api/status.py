"""The status of a FusionRun: conditions, stages and results.

The tiny sample's status is below 16 KiB (tested); that of a run with 32 sources was 78 KB (docs/architecture.md).
"""

import copy
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import reduce
from operator import getitem
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, WithJsonSchema

from fusionrun.api.contract import Contract
from fusionrun.api.estimate import Estimate
from fusionrun.api.run_results import Artifacts, BenchmarkResult, DatasetSummary, GroupResult
from fusionrun.api.values import SUMMAND_MAX

LOG_TAIL_CHARACTERS = 600
"""Maximum length of the log tail of a failed container."""
RETRY_CHARACTERS = 128
"""Number of characters of the annotation ``fusionrun.dev/retry`` that are compared."""
RETRY_MESSAGE_CHARACTERS = 512
RETRIES_MAX = 10
"""Maximum number of retries in the status: the latest ones."""

ATTEMPTS_MAX = 100_000
"""Largest number of an attempt."""
GPUS_MAX = 1024
"""Largest number of GPUs of a pod."""
NOT_OBSERVED = -1
"""``observedGeneration`` of a run that no operator has seen: the API server adds it to an object without a status.

kstatus takes an object without it for up to date, so that Flux and ``helm --wait`` would not wait for the operator.
Source: the CRDs of Flux, which have the same default.
"""


def _time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("must have a time zone")
    return text


def _within(limit: int) -> Callable[[float], float]:
    def check(value: float) -> float:
        if not 0 <= value <= limit:
            raise ValueError(f"must be from 0 to {limit}")
        return value

    return check


# The schema of the CRD does not have these rules: an object that breaks them would refuse every change.
Time = Annotated[str, AfterValidator(_time)]
"""A timestamp in ISO 8601 with a time zone."""
Attempt = Annotated[int, AfterValidator(_within(ATTEMPTS_MAX))]
"""Number of an attempt, which is in names of objects."""
Total = Annotated[int, AfterValidator(_within(SUMMAND_MAX))]
"""A total that decisions depend on."""
Gpus = Annotated[float, AfterValidator(_within(GPUS_MAX))]
"""GPUs of a pod."""


class ConditionType(StrEnum):
    """Condition types: those of batch/Job if it has them, and those of kstatus."""

    READY = "Ready"
    FINISHED = "Finished"
    COMPLETE = "Complete"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    EVALUATION_PASSED = "EvaluationPassed"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class ConditionStatus(StrEnum):
    """Whether a condition is true."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Every reason of a condition, a stage or an event (docs/operations.md)."""

    STAGES_RUNNING = "StagesRunning"
    SUCCEEDED = "Succeeded"
    INVALID_SPEC = "InvalidSpec"
    NOT_ALLOWED = "NotAllowed"
    ACCEPTED_SPEC_CHANGED = "AcceptedSpecChanged"
    CLAIM_MISSING = "ClaimMissing"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 -- a reason, not a password
    TRAINING_OPERATOR_MISSING = "TrainingOperatorMissing"
    GANG_SCHEDULER_MISSING = "GangSchedulerMissing"
    RUNTIME_CLASS_MISSING = "RuntimeClassMissing"
    PRIORITY_CLASS_MISSING = "PriorityClassMissing"
    KUEUE_MISSING = "KueueMissing"
    LOCAL_QUEUE_MISSING = "LocalQueueMissing"
    STAGE_FAILED = "StageFailed"
    STAGE_STARTED = "StageStarted"
    STAGE_SUCCEEDED = "StageSucceeded"
    STAGE_RETRIED = "StageRetried"
    RUN_RETRIED = "RunRetried"
    RETRY_IGNORED = "RetryIgnored"
    DATASET_SIZE_DIFFERS = "DatasetSizeDiffers"
    SCORE_MISSING = "ScoreMissing"
    SPEC_WARNING = "SpecWarning"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    SUSPENDED = "Suspended"
    BUDGET_EXCEEDED = "BudgetExceeded"
    EVALUATION_PASSED = "EvaluationPassed"
    EVALUATION_FAILED = "EvaluationFailed"
    NO_GATE = "NoGate"
    # Reasons of stages.
    WAITING_FOR_SERVER = "WaitingForServer"
    WAITING_FOR_GPUS = "WaitingForGpus"
    WAITING_FOR_ARTIFACT = "WaitingForArtifact"
    PODS_RUNNING = "PodsRunning"
    PODS_PENDING = "PodsPending"
    QUEUED = "Queued"
    QUEUE_IGNORED = "QueueIgnored"
    SERVER_READY = "ServerReady"
    NO_LONGER_NEEDED = "NoLongerNeeded"
    CACHE_HIT = "CacheHit"
    USER_ERROR = "UserError"
    OUT_OF_MEMORY = "OutOfMemory"
    INFRASTRUCTURE_ERROR = "InfrastructureError"
    SERVER_NOT_READY = "ServerNotReady"
    SERVER_WEDGED = "ServerWedged"
    GATE_FAILED = "GateFailed"
    OBJECT_REFUSED = "ObjectRefused"
    OBJECT_RESTORED = "ObjectRestored"
    OBJECT_CHANGED = "ObjectChanged"
    BACK_OFF = "BackOff"
    OPERATOR_TOO_OLD = "OperatorTooOld"


class StageState(StrEnum):
    """State of a stage. An unknown state, from a newer release, is kept and equals none of these."""

    PENDING = "Pending"
    WAITING = "Waiting"
    RUNNING = "Running"
    READY = "Ready"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"

    @classmethod
    def _missing_(cls, value: object) -> "StageState | None":
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member


class Condition(Contract):
    """A condition of the run, as in metav1.Condition."""

    # The CRD has no enum here or at a stage's state: after a rollback, an older CRD would refuse the whole object.
    type: Annotated[ConditionType, WithJsonSchema({"type": "string", "maxLength": 316})]
    """Type of the condition. docs/operations.md lists the operator's; other controllers may add theirs."""
    status: ConditionStatus
    """Status of the condition: True, False or Unknown."""
    reason: Annotated[str, Field(max_length=64)]
    """Reason of the condition's status, in CamelCase (docs/operations.md)."""
    message: Annotated[str, Field(max_length=2048)] = ""
    """Details, for people."""
    last_transition_time: Time
    """Time at which the status last changed."""
    observed_generation: int | None = None
    """The ``metadata.generation`` that the condition is based on. Other controllers may omit it."""


class StageProgress(Contract):
    """Progress of a stage."""

    done: int
    """Completed units."""
    total: int
    """All units."""
    unit: Annotated[str, Field(max_length=32)] = ""
    """What is counted, such as ``prompts`` or ``steps``."""


class PodUsage(Contract):
    """A pod that holds GPUs: it is bound to a node and has not ended."""

    uid: Annotated[str, Field(max_length=64)]
    """UID of the pod."""
    start_time: Time
    """Time at which the pod was bound to its node."""
    gpus: Gpus
    """GPUs of the pod, by the operator's setting ``accelerators.gpus``."""
    cost_per_hour_micro: Total | None = None
    """Cost of the pod's GPUs for an hour, in millionths."""


class GpuUsage(Contract):
    """What the GPU time of a stage is computed from. It is kept until the stage has ended and its pods are gone."""

    ended_gpu_seconds: Total | None = None
    """GPU-seconds of the pods that have ended. If omitted, no pod holds GPUs, and these are all GPU-seconds."""
    ended_cost_micro: Total | None = None
    """Cost of the pods that have ended, in millionths."""
    ended_time: Time | None = None
    """Latest end of a pod that is counted. Pods that ended earlier are counted as well."""
    pods: Annotated[list[PodUsage], Field(max_length=1024)] = []
    """The pods that hold GPUs."""


class StageWork(Contract):
    """How long a stage has run, and what its time depends on."""

    digest: Annotated[str, Field(max_length=64)]
    """Hash of the models, the data and the settings of pods that the time of the stage depends on."""
    seconds: Total
    """Seconds from the first pod on a node to the end of the stage."""


class StageStatus(Contract):
    """The status of a stage."""

    name: Annotated[str, Field(max_length=64)]
    """Name of the stage, such as ``generate/SOURCE``."""
    state: Annotated[
        StageState,
        WithJsonSchema(
            {"type": "string", "maxLength": 32, "description": f"State of the stage: one of {', '.join(StageState)}."}
        ),
    ]
    reason: Annotated[str, Field(max_length=64)] | None = None
    """Reason of the state, in CamelCase (docs/operations.md)."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """Details, for people."""
    attempt: Attempt | None = None
    """Number of the current retry. Absent for the first attempt."""
    first_attempt: Attempt | None = None
    """Number of the first attempt since the run was last retried. Earlier attempts do not count for ``backoffLimit``.
    Absent if the run was not retried because of this stage."""
    pod_settings: Annotated[str, Field(max_length=64)] | None = None
    """Hash of the fields of the spec that the pods of the stage depend on, when its attempt started."""
    failures: Total | None = None
    """Failed attempts that count against ``backoffLimit``: those since the last new checkpoint, without disruptions."""
    disruptions: Total | None = None
    """Attempts, or pods of a Job, that an eviction, a preemption, a drain or the loss of a node ended. They do not
    count against ``backoffLimit``."""
    retry_time: Time | None = None
    """Time of the next attempt, after a failed one."""
    checkpoint_step: Total | None = None
    """Newest checkpoint of the failed attempts of a training, in steps."""
    avoided_nodes: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=3)] | None = None
    """Nodes on which the last attempts failed. The next one runs on other nodes if it can."""
    pending_since: Time | None = None
    """Time since which the stage has had no running pod, without the time in a queue."""
    progress: StageProgress | None = None
    """Progress of the stage. Advisory."""
    eta_seconds: int | None = None
    """Estimated seconds until the stage completes."""
    tokens_per_second: float | None = None
    """Throughput of generation or training, in tokens per second."""
    loss: float | None = None
    """Latest training loss; after checkpoint selection, the loss of the selected checkpoint on the held-out pairs."""
    loss_difference: float | None = None
    """After checkpoint selection: the mean difference of the losses per held-out pair, later less earlier checkpoint.
    Beyond 1.96 standard errors, the checkpoint with the lower loss was selected, otherwise the later one."""
    loss_standard_error: float | None = None
    """Standard error of ``lossDifference``."""
    reward_accuracy: float | None = None
    """Share of preference pairs, 0 to 1, whose chosen response the model prefers: during DPO the latest batch, after
    checkpoint selection the held-out pairs."""
    reward_margin: float | None = None
    """Latest mean difference of the rewards of chosen and rejected responses during DPO: ``dpo.beta`` times the
    log-ratios, per token if ``dpo.lengthNormalized``."""
    gradient_norm: float | None = None
    """Latest norm of the gradient in training, before it is clipped."""
    model_flops_utilization: float | None = None
    """Share of the GPUs' peak bf16 FLOP/s that the model's own arithmetic uses in training, 0 to 1. Absent on CPUs and
    on GPUs whose peak is not known."""
    start_time: Time | None = None
    """Time at which the stage started."""
    end_time: Time | None = None
    """Time at which the stage ended."""
    work: StageWork | None = None
    """How long the stage has run, for the order of later stages with the same hash, also of other runs. Only of a stage
    that succeeded at its first attempt."""
    cache_hit: bool | None = None
    """Whether the stage's artifact of an earlier run was reused."""
    gpu_seconds: Total | None = None
    """GPU-seconds of all pods of all attempts, each from its binding to a node to its end."""
    earlier_gpu_seconds: Total | None = None
    """GPU-seconds of earlier attempts. Written by release 0.2.0 only."""
    gpu_cost_micro: Total | None = None
    """Cost of the stage's GPUs by the operator's setting ``accelerators.prices``, in millionths."""
    gpu_usage: GpuUsage | None = None
    """What ``gpuSeconds`` and ``gpuCostMicro`` are computed from."""
    peak_memory_bytes: int | None = None
    """Largest resident memory of one of the stage's pods, in bytes."""
    cost_micro: Total | None = None
    """Cost of an endpoint's responses by its ``prices``, in millionths. The prompt is counted for each response."""
    object_ref: Annotated[str, Field(max_length=128)] | None = None
    """``Kind/name`` of the stage's object."""
    log_tail: Annotated[str, Field(max_length=LOG_TAIL_CHARACTERS)] | None = None
    """Last log lines of the failed container."""
    log_directory: Annotated[str, Field(max_length=512)] | None = None
    """Directory on the claim with the complete logs of a failed stage, one file per container."""


class Retry(Contract):
    """A retry of the failed run."""

    time: Time
    """Time of the retry."""
    reason: Annotated[str, Field(max_length=64)]
    """Reason of the failure, in CamelCase (docs/operations.md)."""
    message: Annotated[str, Field(max_length=RETRY_MESSAGE_CHARACTERS)] = ""
    """Message of the failure."""
    stages: Annotated[str, Field(max_length=256)] | None = None
    """Stages that had failed and started again."""


class FusionRunStatus(Contract):
    """The observed state of the run."""

    observed_generation: int | None = None
    """The ``metadata.generation`` that the status is based on; -1 if no operator has seen the run yet."""
    conditions: Annotated[list[Condition], Field(max_length=16)] = []
    """Conditions of the run."""
    stages: Annotated[list[StageStatus], Field(max_length=256)] = []
    """Status of each stage, in the order of the plan."""
    results: Annotated[list[BenchmarkResult], Field(max_length=64)] = []
    """Scores of the base, SFT and final models on each benchmark."""
    groups: Annotated[list[GroupResult], Field(max_length=8)] = []
    """Average scores over the benchmarks of the paper, beside those that its authors published."""
    dataset: DatasetSummary | None = None
    """The training data of the run."""
    estimate: Estimate | None = None
    """What the run is expected to need, from ``resolve``, and from ``preflight`` where it has measured it."""
    artifacts: Artifacts | None = None
    """Locations of the results: paths on the run's claim, mounted at /data."""
    start_time: Time | None = None
    """Time at which the operator first saw the run."""
    completion_time: Time | None = None
    """Time at which the run ended."""
    stage: Annotated[str, Field(max_length=256)] | None = None
    """Failed stages or else the active ones, for ``kubectl get``."""
    progress: Annotated[str, Field(max_length=32)] | None = None
    """Completed stages / all stages, for ``kubectl get``."""
    gpus_in_use: int | None = None
    """GPUs of the run's pods that are bound to a node and have not ended. Parts of a GPU are added and rounded up."""
    gpu_seconds: Total | None = None
    """GPU-seconds of all stages."""
    cost_micro: Total | None = None
    """Cost of all stages, GPUs and endpoints, in millionths of the currency of their prices."""
    cost: Annotated[str, Field(max_length=64)] | None = None
    """Cost of all stages with its currency, for ``kubectl get``."""
    gpus_observed_time: Time | None = None
    """Time at which the pods that hold GPUs were last observed. Absent if there are none."""
    retry: Annotated[str, Field(max_length=RETRY_CHARACTERS)] | None = None
    """Last value of the annotation ``fusionrun.dev/retry`` that the operator has read. The same value has no further
    effect."""
    retries: Annotated[list[Retry], Field(max_length=RETRIES_MAX)] = []
    """The latest retries of the run."""
    training_backend: Annotated[str, Field(max_length=32)] | None = None
    """Kind of the objects that run training, chosen when the run was accepted if ``training.backend`` is ``Auto``."""
    active_seconds: Total | None = None
    """Seconds that the run has been active, up to ``activeUntil``. Suspended time does not count."""
    active_until: Time | None = None
    """Time up to which ``activeSeconds`` counts. Absent while the run is suspended."""
    clock_jump_time: Time | None = None
    """Time at which the operator's clock was far from that of the last reconcile. Deadlines of stages end nothing for
    20 minutes after it."""
    spec_digest: Annotated[str, Field(max_length=64)] | None = None
    """SHA-256 of the data of the ConfigMap NAME-spec. It is written before the ConfigMap is created, and other data is
    not used."""
    resolved_digest: Annotated[str, Field(max_length=64)] | None = None
    """SHA-256 of the data of the ConfigMap NAME-resolved. It is written before the ConfigMap is created, and other data
    is not used."""
    pins: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=256)] = []
    """Fingerprint of each model and data set of the spec. A deleted ConfigMap NAME-resolved is made again from them."""


def read_status(status: dict[str, Any] | None) -> FusionRunStatus:
    """Read a run's status, which other releases and controllers may have written in part.

    Only what this release cannot read is left out: a condition of an unknown type, a value outside the bounds, or a
    time that is none. The operator then does not send it, and server-side apply keeps the fields of other field
    managers.
    """
    try:
        return FusionRunStatus.model_validate(status or {})
    except ValidationError as error:
        readable = copy.deepcopy(status or {})
        _drop(readable, error.errors()[0]["loc"])
        return read_status(readable)


def _drop(value: dict[str, Any], location: Sequence[str | int]) -> None:
    """Delete the value at a location; if there is none, as for a missing field, delete its parent."""
    try:
        del reduce(getitem, location[:-1], value)[location[-1]]  # type: ignore[arg-type]
    except (KeyError, IndexError, TypeError):
        _drop(value, location[:-1])
