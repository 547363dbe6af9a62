"""The kinds of stages, and the parts of a plan that ``resolve`` needs."""

from enum import StrEnum

from fusionrun.api.contract import Contract


class StageKind(StrEnum):
    """Kinds of stages, in the order of the recipe. The value is also the name of the module and the value of labels."""

    RESOLVE = "resolve"
    FETCH = "fetch"
    PREPARE = "prepare"
    PREFLIGHT = "preflight"
    SERVE = "serve"
    GENERATE = "generate"
    VERIFY = "verify"
    SCORE = "score"
    CONSTRUCT = "construct"
    SFT = "sft"
    DPO = "dpo"
    PROMOTE = "promote"
    JUDGE = "judge"
    EVALUATE = "evaluate"
    COMPARE = "compare"
    PUBLISH = "publish"


CLIENTS = (StageKind.GENERATE, StageKind.JUDGE)
"""Kinds whose pods send requests to a model server, or to an endpoint."""

PREPARE_BENCHMARKS = "prepare/benchmarks"
FETCH_TARGET = "fetch/target"
FETCH_EVALUATED = "fetch/eval-"
"""Names of stages, or their starts, that differ from others of their kind. Tasks have no field for it, so programs
compare the name."""


class EvaluatedModel(StrEnum):
    """A model that the benchmarks measure."""

    BASE = "base"
    SFT = "sft"
    FINAL = "final"


class PreflightSubject(StrEnum):
    """What a ``preflight`` stage checks before the first model server starts."""

    PUBLISHING = "publishing"
    """The destination of the final model can be written."""
    TRAINING = "training"
    """A step of SFT and of DPO on the training pods."""
    REWARD = "reward"
    """The calibration of the reward model."""


PREFLIGHT_TRAINING = f"{StageKind.PREFLIGHT}/{PreflightSubject.TRAINING}"
"""Name of the ``preflight`` stage whose pods train together."""


class ReferenceKind(StrEnum):
    """Whether a reference is to a model or to a data set."""

    MODEL = "model"
    DATASET = "dataset"


class TemplateName(StrEnum):
    """Chat templates of this project. A changed text needs a new name, since the name enters digests."""

    LLAMA_3 = "llama3"


class Reference(Contract):
    """A model or data set of the spec, which ``resolve`` pins."""

    field: str
    """Path of its field in the spec, such as ``sources[qwen].served.model``, for error messages."""
    kind: ReferenceKind
    uri: str
    revision: str | None = None
    columns: list[str] = []
    """Columns that a data set must have."""
    split: str = "train"
    chat_template: TemplateName | None = None
    """The template that replaces that of a target, whose tokenizer must have the template's tokens."""
    all_files: bool = False
    """Whether every file of a data set belongs to it, in any format: its reader finds them by their names."""


class PlannedStage(Contract):
    """The parts of a stage from which its digest is computed."""

    name: str
    kind: StageKind
    parameters_digest: str
    pins: list[int] = []
    """Indexes into the references."""
    inputs: list[str] = []
    """Names of the stages whose artifacts it reads."""
    shards: int | None = None
