"""The status of a FusionRun: conditions, stages and results.

The tiny sample's status is below 16 KiB (tested); that of a run with 32 sources was 78 KB (docs/architecture.md).
"""

import copy
from collections.abc import Sequence
from functools import reduce
from operator import getitem
from typing import Annotated, Any

from pydantic import Field, ValidationError

from fusionrun.api.contract import Contract
from fusionrun.api.status.bounds import Time, Total
from fusionrun.api.status.conditions import Condition
from fusionrun.api.status.estimate import Estimate
from fusionrun.api.status.results import Artifacts, BenchmarkResult, DatasetSummary, GroupResult
from fusionrun.api.status.stages import StageStatus

RETRY_CHARACTERS = 128
"""Number of characters of the annotation ``fusionrun.dev/retry`` that are compared."""
RETRY_MESSAGE_CHARACTERS = 512
RETRIES_MAX = 10
"""Maximum number of retries in the status: the latest ones."""
NOT_OBSERVED = -1
"""``observedGeneration`` of a run that no operator has seen: the API server adds it to an object without a status.

kstatus takes an object without it for up to date, so that Flux and ``helm --wait`` would not wait for the operator.
Source: the CRDs of Flux, which have the same default.
"""


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
