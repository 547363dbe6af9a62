"""Fields of a FusionRun on models: where they are stored, how they are served, sampled and scored with."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.pods import PodSettings

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=24)]
"""A DNS-1035 label of at most 24 characters, since object names contain it."""

Revision = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=128)]
Uri = Annotated[
    str,
    Field(pattern=r"^(hf://[A-Za-z0-9._-]+/[A-Za-z0-9._-]+|(pvc|s3)://[a-z0-9][a-z0-9.-]*/.+)$", max_length=512),
]
"""``hf://org/name``, ``pvc://claim/path`` (a path on the run's claim) or ``s3://bucket/key``."""


class Model(Contract):
    """A model and its revision."""

    uri: Uri
    """Location of the model: ``hf://org/name`` on the hub, ``pvc://claim/path`` on the run's claim, or
    ``s3://bucket/prefix``."""
    revision: Revision | None = None
    """Commit, branch or tag, for ``hf://``. A branch or tag is pinned to its commit when the run starts. If omitted,
    the branch ``main`` is used."""
    trust_remote_code: bool = False
    """Allow Python code from the model's repository to run. The revision must then be a 40-digit commit."""


class Sampling(Contract):
    """Sampling parameters of the requests, as in vLLM."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Sampling temperature; 0 is greedy decoding."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Cumulative probability of the most likely tokens that are considered."""
    top_k: Annotated[int, Field(ge=-1, le=1000)] | None = None
    """Number of the most likely tokens that are considered; -1 considers all tokens."""
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    """Penalty for tokens that the prompt or the response already contains; 1 is no penalty."""
    max_tokens: Annotated[int, Field(ge=1, le=32768)] | None = None
    """Maximum length of a response, in tokens. Truncated responses are not used for training."""


Quantity = (
    Annotated[
        str,
        Field(
            pattern=r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
            max_length=32,
        ),
    ]
    | Annotated[int, Field(ge=0)]
)
"""A non-negative Kubernetes quantity. Source: k8s.io/apimachinery, pkg/api/resource (quantity.go)."""


class Resources(Contract):
    """Compute resources of a container."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None
    """Minimum amount of each resource, such as ``cpu``, ``memory`` or ``nvidia.com/gpu``. If omitted for a resource,
    Kubernetes uses its limit."""
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None
    """Maximum amount of each resource. GPUs must be whole numbers. If omitted for a resource, it has no limit."""


class Dtype(StrEnum):
    """Data type of the weights and activations: vLLM's ``--dtype``."""

    AUTO = "auto"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


ALLOWED_VLLM_ARGS = frozenset({
    "--async-scheduling", "--attention-backend", "--block-size", "--cpu-offload-gb", "--disable-log-stats",
    "--enable-chunked-prefill", "--enable-expert-parallel", "--enable-prefix-caching", "--enforce-eager",
    "--gpu-memory-utilization", "--kv-cache-dtype", "--limit-mm-per-prompt", "--load-format",
    "--max-num-batched-tokens", "--max-num-seqs", "--no-enable-prefix-caching", "--quantization",
    "--safetensors-load-strategy", "--tokenizer-mode",
})  # fmt: skip
"""Arguments of ``vllm serve`` that a run may set, each an argument of the vLLM version in the serve image.

They change speed and memory. None loads code, opens the network, or changes what the run itself decides (model, name,
port, GPUs, generation config). So ``--speculative-config``, ``--compilation-config``, ``--hf-overrides`` and
``--model-loader-extra-config`` are not allowed: their JSON can name code or an address.
"""


Replicas = Annotated[int, Field(ge=1, le=64)]
TensorParallelSize = Annotated[int, Field(ge=1, le=64)]
PipelineParallelSize = Annotated[int, Field(ge=1, le=16)]
MaxModelLen = Annotated[int, Field(ge=16, le=1048576)]
StartupTimeoutSeconds = Annotated[int, Field(ge=30, le=14400)]
VllmArguments = Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=32)]


class ServerSettings(Contract):
    """How vLLM serves a model."""

    replicas: Replicas = 1
    """Number of server pods. Each loads the whole model."""
    tensor_parallel_size: TensorParallelSize = 1
    """Number of GPUs that each layer is split across: vLLM's ``--tensor-parallel-size``."""
    pipeline_parallel_size: PipelineParallelSize = 1
    """Number of pipeline stages that the layers are split into: vLLM's ``--pipeline-parallel-size``."""
    dtype: Dtype = Dtype.AUTO
    """Data type of the weights and activations: vLLM's ``--dtype``."""
    max_model_len: MaxModelLen | None = None
    """Maximum length of prompt and response together, in tokens: vLLM's ``--max-model-len``. If omitted, the model's
    own limit applies."""
    resources: Resources | None = None
    """Compute resources of each server pod. GPUs, if any, must equal tensorParallelSize x pipelineParallelSize."""
    pod: PodSettings | None = None
    """Settings of the server pods. If omitted, those of ``scheduling`` and of the operator apply."""
    startup_timeout_seconds: StartupTimeoutSeconds = 3600
    """Seconds that loading the model may take before the server is considered failed."""
    extra_args: VllmArguments = []
    """Additional arguments of ``vllm serve``. The end of docs/reference.md lists the allowed arguments."""


class ServerOverride(Contract):
    """How vLLM serves one model of several. An omitted field has the value of the server of all of them."""

    replicas: Replicas | None = None
    """Number of server pods. Each loads the whole model."""
    tensor_parallel_size: TensorParallelSize | None = None
    """Number of GPUs that each layer is split across: vLLM's ``--tensor-parallel-size``."""
    pipeline_parallel_size: PipelineParallelSize | None = None
    """Number of pipeline stages that the layers are split into: vLLM's ``--pipeline-parallel-size``."""
    dtype: Dtype | None = None
    """Data type of the weights and activations: vLLM's ``--dtype``."""
    max_model_len: MaxModelLen | None = None
    """Maximum length of prompt and response together, in tokens: vLLM's ``--max-model-len``."""
    resources: Resources | None = None
    """Compute resources of each server pod. GPUs, if any, must equal tensorParallelSize x pipelineParallelSize."""
    pod: PodSettings | None = None
    """Settings of the server pods, instead of those of the server of all models."""
    startup_timeout_seconds: StartupTimeoutSeconds | None = None
    """Seconds that loading the model may take before the server is considered failed."""
    extra_args: VllmArguments | None = None
    """Additional arguments of ``vllm serve``, instead of those of the server of all models. The end of
    docs/reference.md lists the allowed arguments."""

    def over(self, server: ServerSettings) -> ServerSettings:
        """Return the settings of a server with the fields that are set here."""
        own = {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
        return server.model_copy(update=own)


class Served(ServerSettings):
    """A model that the run serves with vLLM while a stage needs it."""

    model: Model
    """The model to serve."""


class SecretKeyRef(Contract):
    """A key of a Secret in the run's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253)]
    """Key in the Secret's data."""


class SecretRef(Contract):
    """A Secret in the run's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Secret."""


class Prices(Contract):
    """Prices of an endpoint per million tokens, in any currency."""

    prompt: Annotated[float, Field(ge=0, le=1_000_000)]
    """Price of a million prompt tokens."""
    completion: Annotated[float, Field(ge=0, le=1_000_000)]
    """Price of a million response tokens."""


class Quota(Contract):
    """Limits on the use of an endpoint by this source.

    Each shard may use an equal part. A stage that reaches a limit fails and keeps its responses. In-flight requests may
    exceed the token and cost limits.
    """

    max_requests: Annotated[int, Field(ge=1)] | None = None
    """Maximum number of responses. If omitted, there is no limit."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Maximum number of prompt and response tokens. If omitted, there is no limit."""
    max_cost: Annotated[float, Field(gt=0)] | None = None
    """Maximum cost, in the currency of ``prices``. It requires ``prices``. If omitted, there is no limit."""


class ModelEndpoint(Contract):
    """A model that an HTTP server outside the run serves."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=512)]
    """Base URL of the requests. For a source and a judge it includes ``/v1``; for a reward model,
    ``/classify`` is appended."""
    model: Annotated[str, Field(min_length=1, max_length=256)]
    """Name of the model in requests."""
    api_key_secret_ref: SecretKeyRef | None = None
    """The API key. If omitted, requests have no key."""


class Endpoint(ModelEndpoint):
    """An OpenAI-compatible endpoint outside the run."""

    prices: Prices | None = None
    """Prices per million tokens, in any currency. If omitted, the cost is not reported."""
    quota: Quota | None = None
    """Limits on the use of the endpoint. Each shard may use an equal part. A stage that reaches a limit fails and keeps
    its responses. In-flight requests may exceed the token and cost limits. If omitted, there is no limit."""


class SourceType(StrEnum):
    """Where a source's responses come from."""

    SERVED = "Served"
    ENDPOINT = "Endpoint"
    DATASET = "Dataset"


class Source(Contract):
    """A source model, whose responses become training data."""

    name: Name
    """Unique name of the source. Reserved: ``target``, ``reward`` and names that start with ``eval-``."""
    type: SourceType = SourceType.SERVED
    """Where the responses come from: Served (a model that the run serves with vLLM), Endpoint (an OpenAI-compatible
    endpoint) or Dataset (columns of the data sets)."""
    served: Served | None = None
    """The model that the run serves with vLLM while a stage needs it. Required for type Served, forbidden otherwise."""
    endpoint: Endpoint | None = None
    """The OpenAI-compatible endpoint outside the run. Required for type Endpoint, forbidden otherwise."""
    sampling: Sampling | None = None
    """Sampling parameters of the requests. Not used for type Dataset."""
    system_prompt: Annotated[str, Field(max_length=8192)] | None = None
    """System prompt of the requests. Training rows do not contain it. If omitted, requests have no system prompt."""


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


Manifest = dict[str, Any]
"""A Kubernetes object as plain data."""
