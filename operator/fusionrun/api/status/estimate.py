"""The estimate in the status of a FusionRun: what the run is expected to need."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract

Bytes = Annotated[int, Field(ge=0, le=2**62)]


Seconds = Annotated[int, Field(ge=0, le=2**53)]
Amount = Annotated[float, Field(ge=0, le=1e15)]
FieldName = Annotated[str, Field(max_length=64)]


class Basis(StrEnum):
    """What a number rests on."""

    ESTIMATE = "Estimate"
    ESTIMATE_FOR_H100 = "EstimateForH100"
    """The model of the GPUs is not known: an estimate for H100 SXM."""
    MEASURED = "Measured"


class StageEstimate(Contract):
    """What the stages of one kind are expected to need."""

    kind: Annotated[str, Field(max_length=32)]
    """Kind of the stages."""
    gpu_hours: Amount
    """GPU-hours of all its stages."""
    seconds: Seconds
    """Wall time of all its stages, if they get the GPUs that they request, within ``scheduling.gpuBudget``."""
    cost: Amount | None = None
    """Cost of the GPUs by the operator's prices, and of the endpoints by theirs. Absent without prices."""
    basis: Annotated[str, Field(max_length=32)]
    """``Measured`` if the seconds rest on a step of training that ``preflight`` measured, ``EstimateForH100`` if the
    model of the GPUs is not known, else ``Estimate``."""


class ModelEstimate(Contract):
    """A model before its download."""

    field: Annotated[str, Field(max_length=128)]
    """Field of the spec that names it."""
    parameters: Bytes | None = None
    """Number of parameters. Absent if it is unknown."""
    bytes: Bytes | None = None
    """Size of its weights. Absent if it is unknown."""
    licence: Annotated[str, Field(max_length=256)] | None = None
    """Licence that restricts training on its outputs, and its terms in short (docs/data.md). Not legal advice."""


class MemoryEstimate(Contract):
    """Expected memory of one GPU."""

    field: Annotated[str, Field(max_length=128)]
    """Field of the spec whose pods use it."""
    bytes: Bytes
    """Expected memory of one GPU, in bytes: weights, KV cache, optimizer, and estimates of the rest."""


class Estimate(Contract):
    """What the run is expected to need (docs/preflight.md)."""

    stages: Annotated[list[StageEstimate], Field(max_length=32)] = []
    """By kind of stage. Kinds that need neither GPU nor endpoint, or whose amounts are unknown, are left out."""
    gpu: Annotated[str, Field(max_length=64)] | None = None
    """Model of the GPUs whose data sheet the estimates rest on. Absent if it is not known."""
    gpu_hours: Amount | None = None
    """GPU-hours of the listed stages."""
    seconds: Seconds | None = None
    """Wall time of the listed stages: those that need each other one after the other, the others side by side, within
    ``scheduling.gpuBudget`` and ``scheduling.maxServers``."""
    cost: Amount | None = None
    """Cost of the listed stages. Absent without prices."""
    exceeds: Annotated[list[FieldName], Field(max_length=128)] = []
    """Limits of the spec that are lower than the estimate: of ``budget``, of the quotas of endpoints, and
    ``activeDeadlineSeconds``."""
    disk_bytes: Bytes | None = None
    """Bytes that the run is expected to write to its claim."""
    models: Annotated[list[ModelEstimate], Field(max_length=64)] = []
    """The models of the run."""
    memory: Annotated[list[MemoryEstimate], Field(max_length=64)] = []
    """Expected memory of one GPU, for each part of the run that uses GPUs."""
    unknown: Annotated[list[FieldName], Field(max_length=256)] = []
    """What the estimate leaves out: data sets and benchmarks with an unknown number of prompts or responses, and models
    of unknown size."""
