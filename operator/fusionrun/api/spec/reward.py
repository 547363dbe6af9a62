"""Fields of a FusionRun on the reward model and its calibration."""

from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.spec.endpoints import ModelEndpoint
from fusionrun.api.spec.models import Model
from fusionrun.api.spec.pods import PodSettings
from fusionrun.api.spec.resources import Resources


class Calibration(Contract):
    """A self-test of the reward model: it must order all pairs correctly, with scores inside the range."""

    pairs: Annotated[list["CalibrationPair"], Field(min_length=1, max_length=32)]
    """Pairs of a better and a worse response to the same prompt."""
    score_range: "ScoreRange"
    """Bounds, inclusive, that the scores of all pairs must be within."""


class CalibrationPair(Contract):
    """A prompt with a better and a worse response."""

    prompt: Annotated[str, Field(min_length=1, max_length=4096)]
    """The prompt."""
    better: Annotated[str, Field(min_length=1, max_length=4096)]
    """The response that must have the higher score."""
    worse: Annotated[str, Field(min_length=1, max_length=4096)]
    """The response that must have the lower score."""


class ScoreRange(Contract):
    """Bounds of a score, inclusive."""

    min: float
    """Lowest allowed score."""
    max: float
    """Highest allowed score."""


class RewardModel(Contract):
    """The model that scores every response: one that the run loads, or one behind an endpoint."""

    model: Model | None = None
    """The model that the run loads. Exactly one of ``model`` and ``endpoint`` is required."""
    endpoint: ModelEndpoint | None = None
    """A server outside the run with vLLM's ``/classify`` at ``url`` (``vllm serve MODEL --runner pooling``). Exactly
    one of ``model`` and ``endpoint`` is required."""
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of pods that score the responses of each source at the same time. Each pod loads the model once, and takes
    shards until none is left, so at most ``generation.shards`` pods run."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    """Maximum number of conversations that are scored together or, for an endpoint, of in-flight requests of a pod."""
    max_batch_tokens: Annotated[int, Field(ge=16, le=4194304)] = 16384
    """Maximum number of tokens that are scored together, with padding; a longer conversation is scored alone. Not used
    with ``endpoint``."""
    max_length: Annotated[int, Field(ge=16, le=131072)] = 4096
    """Maximum length of a scored conversation, in tokens. Longer conversations have no score and are not used."""
    resources: Resources | None = None
    """Compute resources of the pod that scores. Forbidden with ``endpoint``."""
    pod: PodSettings | None = None
    """Settings of the pod that scores. Forbidden with ``endpoint``, whose pod is one of ``dataStages``. If omitted,
    those of ``scheduling`` and of the operator apply."""
    calibration: Calibration | None = None
    """Self-test of the reward model: it must order all pairs correctly, with scores inside the range."""

    @property
    def place(self) -> str:
        """The location of the model, for messages."""
        if self.model:
            return self.model.uri
        return f"{self.endpoint.model} at {self.endpoint.url}" if self.endpoint else ""
