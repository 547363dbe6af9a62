"""What kinds of stages there are, and as much of a run's plan as ``resolve`` is told of it."""

from enum import StrEnum

from fusionrun.api.contract import Contract


class StageKind(StrEnum):
    """Kinds of stages: one word for the module, the label, the metric and the golden folder."""

    RESOLVE = "resolve"
    FETCH = "fetch"
    PREPARE = "prepare"
    SERVE = "serve"
    GENERATE = "generate"
    VERIFY = "verify"
    SCORE = "score"
    CONSTRUCT = "construct"
    SFT = "sft"
    DPO = "dpo"
    PROMOTE = "promote"
    EVALUATE = "evaluate"
    PUBLISH = "publish"


class ReferenceKind(StrEnum):
    """What a reference points to."""

    MODEL = "model"
    DATASET = "dataset"


class Reference(Contract):
    """A model or data set of the spec, to be pinned by ``resolve``."""

    field: str
    """Where it stands in the spec, e.g. ``sources[qwen].served.model``: named in errors."""
    kind: ReferenceKind
    uri: str
    revision: str | None = None
    columns: list[str] = []
    """Columns that a data set must have."""
    split: str = "train"


class PlannedStage(Contract):
    """As much of a stage as its digest needs."""

    name: str
    kind: StageKind
    parameters_digest: str
    pins: list[int] = []
    """Indexes into the references."""
    inputs: list[str] = []
    """Names of the stages that it reads."""
    shards: int | None = None
