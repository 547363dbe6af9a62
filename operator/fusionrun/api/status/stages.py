"""The status of a stage."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, WithJsonSchema

from fusionrun.api.contract import Contract
from fusionrun.api.status.bounds import Attempt, Gpus, Time, Total

LOG_TAIL_CHARACTERS = 600
"""Maximum length of the log tail of a failed container."""


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
