"""The status of a FusionRun: conditions, stages, results. At most 16 KiB."""

import copy
from collections.abc import Sequence
from enum import StrEnum
from functools import reduce
from operator import getitem
from typing import Annotated, Any

from pydantic import Field, ValidationError, WithJsonSchema

from fusionrun.api.contract import Contract

LOG_TAIL_CHARACTERS = 600
"""Most characters of a failed container's last log lines kept in status."""


class ConditionType(StrEnum):
    """Condition types: batch/Job's words where it has them, then kstatus's."""

    READY = "Ready"
    FINISHED = "Finished"
    COMPLETE = "Complete"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    EVALUATION_PASSED = "EvaluationPassed"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class ConditionStatus(StrEnum):
    """A condition holds, does not, or is not known."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Every reason of a condition, a stage or an event. One constant, one check, one test."""

    STAGES_RUNNING = "StagesRunning"
    SUCCEEDED = "Succeeded"
    INVALID_SPEC = "InvalidSpec"
    CLAIM_MISSING = "ClaimMissing"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 -- a reason, not a password
    TRAINING_OPERATOR_MISSING = "TrainingOperatorMissing"
    RUNTIME_CLASS_MISSING = "RuntimeClassMissing"
    PRIORITY_CLASS_MISSING = "PriorityClassMissing"
    KUEUE_MISSING = "KueueMissing"
    LOCAL_QUEUE_MISSING = "LocalQueueMissing"
    STAGE_FAILED = "StageFailed"
    STAGE_STARTED = "StageStarted"
    STAGE_SUCCEEDED = "StageSucceeded"
    STAGE_RETRIED = "StageRetried"
    DATASET_SIZE_DIFFERS = "DatasetSizeDiffers"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    SUSPENDED = "Suspended"
    BUDGET_EXCEEDED = "BudgetExceeded"
    EVALUATION_PASSED = "EvaluationPassed"
    EVALUATION_FAILED = "EvaluationFailed"
    NO_GATE = "NoGate"
    # Reasons of a stage.
    WAITING_FOR_SERVER = "WaitingForServer"
    WAITING_FOR_GPUS = "WaitingForGpus"
    PODS_RUNNING = "PodsRunning"
    PODS_PENDING = "PodsPending"
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
    OPERATOR_TOO_OLD = "OperatorTooOld"


class StageState(StrEnum):
    """Where a stage is. A state that a newer release wrote is kept as it is, and is equal to none of these."""

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
    """A metav1.Condition."""

    # No enum in the CRD here or at a stage's state: an older CRD, after a rollback, would refuse the whole object.
    type: Annotated[ConditionType, WithJsonSchema({"type": "string", "maxLength": 316})]
    """The operator sets those in docs/operations.md; others belong to other controllers."""
    status: ConditionStatus
    reason: Annotated[str, Field(max_length=64)]
    message: Annotated[str, Field(max_length=2048)] = ""
    last_transition_time: str
    observed_generation: int | None = None
    """The operator always sets it; another controller may leave it out."""


class StageProgress(Contract):
    """How far a stage is, in its own unit."""

    done: int
    total: int
    unit: Annotated[str, Field(max_length=32)] = ""


class StageStatus(Contract):
    """One stage, as people ask about it."""

    name: Annotated[str, Field(max_length=64)]
    state: Annotated[
        StageState,
        WithJsonSchema({"type": "string", "maxLength": 32, "description": f"One of {', '.join(StageState)}."}),
    ]
    reason: Annotated[str, Field(max_length=64)] | None = None
    message: Annotated[str, Field(max_length=1024)] | None = None
    attempt: int | None = None
    progress: StageProgress | None = None
    eta_seconds: int | None = None
    tokens_per_second: float | None = None
    loss: float | None = None
    reward_accuracy: float | None = None
    start_time: str | None = None
    end_time: str | None = None
    cache_hit: bool | None = None
    gpu_seconds: int | None = None
    """Of all attempts together."""
    earlier_gpu_seconds: int | None = None
    """Of the attempts before this one, and before the run was last suspended."""
    peak_memory_bytes: int | None = None
    """Largest resident memory of one pod of the stage."""
    cost_micro: int | None = None
    """What an endpoint's answers cost by its ``prices``, in millionths; a prompt counts for each of its samples."""
    object_ref: Annotated[str, Field(max_length=128)] | None = None
    """``Kind/name`` of the stage's object."""
    log_tail: Annotated[str, Field(max_length=LOG_TAIL_CHARACTERS)] | None = None


class BenchmarkResult(Contract):
    """Scores of one benchmark, in percent."""

    benchmark: Annotated[str, Field(max_length=64)]
    base: float | None = None
    sft: float | None = None
    final: float | None = None
    delta: float | None = None
    """Final less base, in percentage points."""


class SourceRows(Contract):
    """What one source gave."""

    source: Annotated[str, Field(max_length=64)]
    sft_rows: int
    pairs: int
    win_rate: float | None = None
    """Share of the contested prompts that it won, 0 to 1 (docs/data.md)."""


class DatasetRows(Contract):
    """What one data set gave, and what the recipe's authors published of it."""

    name: Annotated[str, Field(max_length=64)]
    sft_rows: int
    pairs: int
    """Held-out pairs are counted."""
    recipe_sft_rows: int | None = None
    """For a preset: the published number of SFT rows."""
    recipe_pairs: int | None = None
    """For a preset: the published number of pairs."""
    warning: Annotated[str, Field(max_length=256)] | None = None
    """How the sizes differ from the published ones, where one differs by more than 20 %."""


class DatasetSummary(Contract):
    """What construction made of the responses."""

    sft_rows: int
    pairs: int
    held_out_pairs: int = 0
    truncated_share: float | None = None
    """Share of the responses that were cut by their token limit, 0 to 1."""
    mean_margin: float | None = None
    """Mean reward difference of the pairs that a margin bounds, on the reward model's scale."""
    by_source: Annotated[list[SourceRows], Field(max_length=32)] = []
    by_dataset: Annotated[list[DatasetRows], Field(max_length=64)] = []
    """In the order of the spec. Empty if they do not fit into the pod's result; the data card always has them."""
    drops: Annotated[dict[str, int], Field(max_length=32)] = {}
    """Prompts dropped, by reason."""


class Artifacts(Contract):
    """Where the results lie, as paths on the run's claim."""

    model: Annotated[str, Field(max_length=256)] | None = None
    sft_model: Annotated[str, Field(max_length=256)] | None = None
    dataset: Annotated[str, Field(max_length=256)] | None = None
    published: Annotated[str, Field(max_length=512)] | None = None


class FusionRunStatus(Contract):
    """What is, as of ``observedGeneration``."""

    observed_generation: int | None = None
    conditions: Annotated[list[Condition], Field(max_length=16)] = []
    stages: Annotated[list[StageStatus], Field(max_length=256)] = []
    results: Annotated[list[BenchmarkResult], Field(max_length=64)] = []
    dataset: DatasetSummary | None = None
    artifacts: Artifacts | None = None
    start_time: str | None = None
    completion_time: str | None = None
    stage: Annotated[str, Field(max_length=256)] | None = None
    """The stages at work, for ``kubectl get``."""
    progress: Annotated[str, Field(max_length=32)] | None = None
    """Stages done of all, for ``kubectl get``."""
    gpus_in_use: int | None = None
    """GPUs of the run's pods that are bound to a node and have not ended."""
    gpu_seconds: int | None = None


def read_status(found: dict[str, Any] | None) -> FusionRunStatus:
    """Read a run's status, parts of which another release or another controller may have written.

    What this release cannot read is left out, and no more than that: a condition of a type that is not the operator's,
    a value outside of today's bounds. The operator then does not send it, and server-side apply leaves what another
    field manager owns as it is.
    """
    try:
        return FusionRunStatus.model_validate(found or {})
    except ValidationError as error:
        readable = copy.deepcopy(found or {})
        _drop(readable, error.errors()[0]["loc"])
        return read_status(readable)


def _drop(value: dict[str, Any], location: Sequence[str | int]) -> None:
    """Delete what is at a location; where nothing is, as at a missing field, delete what should hold it."""
    try:
        del reduce(getitem, location[:-1], value)[location[-1]]  # type: ignore[arg-type]
    except (KeyError, IndexError, TypeError):
        _drop(value, location[:-1])
