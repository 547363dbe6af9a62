"""Conditions of a FusionRun, and the reasons of conditions, stages and events."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, WithJsonSchema

from fusionrun.api.contract import Contract
from fusionrun.api.status.bounds import Time


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
