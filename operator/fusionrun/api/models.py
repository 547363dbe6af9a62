"""What a run needs of the world: models, the sampling of a source, resources, servers, endpoints."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from fusionrun.api.contract import Contract

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=24)]
"""A DNS-1035 label of at most 24 characters: it becomes part of object names."""

Revision = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=128)]
Uri = Annotated[
    str,
    Field(pattern=r"^(hf://[A-Za-z0-9._-]+/[A-Za-z0-9._-]+|(pvc|s3)://[a-z0-9][a-z0-9.-]*/.+)$", max_length=512),
]
"""``hf://org/name``, ``pvc://claim/path`` (a path on the run's own claim) or ``s3://bucket/key``."""


class Model(Contract):
    """A model: where it is, and at which revision."""

    uri: Uri
    """``hf://org/name``, ``pvc://claim/path`` on the run's own claim, or ``s3://bucket/prefix``."""
    revision: Revision | None = None
    """Commit, branch or tag on the hub. ``resolve`` pins a branch or tag to its commit."""
    trust_remote_code: bool = False
    """Run the model's own Python code. Demands a 40-digit commit as the revision."""


class Sampling(Contract):
    """How a source samples. A field left out is the recipe's (FuseChat-3.0, by model family)."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1000)] | None = None
    """-1 considers every token."""
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=32768)] | None = None


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
"""A Kubernetes quantity that is not negative. Source: k8s.io/apimachinery, pkg/api/resource (quantity.go)."""


class Resources(Contract):
    """Requests and limits of a container, as Kubernetes writes them."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None


class Dtype(StrEnum):
    """vLLM's ``--dtype``."""

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
"""Arguments of ``vllm serve`` that a run may set, each an argument of the vLLM that the serve image pins.

They touch speed and memory. None loads code, opens the network, or changes what the run itself decides (model, name,
port, GPUs, generation config). So ``--speculative-config``, ``--compilation-config``, ``--hf-overrides`` and
``--model-loader-extra-config`` are not among them: their JSON can name code or an address.
"""


class ServerSettings(Contract):
    """How vLLM serves a model."""

    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    pipeline_parallel_size: Annotated[int, Field(ge=1, le=16)] = 1
    dtype: Dtype = Dtype.AUTO
    max_model_len: Annotated[int, Field(ge=16, le=1048576)] | None = None
    """Longest prompt and answer together, in tokens. Left out: the model's own."""
    resources: Resources | None = None
    startup_timeout_seconds: Annotated[int, Field(ge=30, le=14400)] = 3600
    """How long loading the model may take before the server counts as failed."""
    extra_args: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=32)] = []
    """More arguments of ``vllm serve``, from an allow-list (docs/reference.md)."""


class Served(ServerSettings):
    """A model that the run serves with vLLM while it is needed."""

    model: Model


class SecretKeyRef(Contract):
    """One key of a Secret in the run's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    key: Annotated[str, Field(min_length=1, max_length=253)]


class SecretRef(Contract):
    """A Secret in the run's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]


class Prices(Contract):
    """What an endpoint costs, per million tokens, in any one currency."""

    prompt: Annotated[float, Field(ge=0, le=1_000_000)]
    completion: Annotated[float, Field(ge=0, le=1_000_000)]


class Quota(Contract):
    """What may be asked of an endpoint; a stage that reaches it fails and keeps what it has.

    Each shard may use its equal part. Tokens and cost may end above by what was under way.
    """

    max_requests: Annotated[int, Field(ge=1)] | None = None
    """Each sample counts as one."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Prompt and completion together."""
    max_cost: Annotated[float, Field(gt=0)] | None = None
    """In the currency of ``prices``."""


class ModelEndpoint(Contract):
    """A model that is served outside of the run, over HTTP."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=512)]
    model: Annotated[str, Field(min_length=1, max_length=256)]
    api_key_secret_ref: SecretKeyRef | None = None


class Endpoint(ModelEndpoint):
    """An OpenAI-compatible endpoint outside of the run."""

    prices: Prices | None = None
    quota: Quota | None = None


class SourceType(StrEnum):
    """Where a source's responses come from."""

    SERVED = "Served"
    ENDPOINT = "Endpoint"
    DATASET = "Dataset"


class Source(Contract):
    """One of the large models whose answers are fused."""

    name: Name
    type: SourceType = SourceType.SERVED
    served: Served | None = None
    endpoint: Endpoint | None = None
    sampling: Sampling | None = None
    system_prompt: Annotated[str, Field(max_length=8192)] | None = None


class Calibration(Contract):
    """A self-test of the reward model: it must order these pairs and keep to this scale."""

    pairs: Annotated[list["CalibrationPair"], Field(min_length=1, max_length=32)]
    score_range: "ScoreRange"


class CalibrationPair(Contract):
    """Two answers to one prompt, the first clearly better."""

    prompt: Annotated[str, Field(min_length=1, max_length=4096)]
    better: Annotated[str, Field(min_length=1, max_length=4096)]
    worse: Annotated[str, Field(min_length=1, max_length=4096)]


class ScoreRange(Contract):
    """Bounds of a score, both included."""

    min: float
    max: float


class RewardModel(Contract):
    """The model that scores every response: one that the run loads, or one behind an endpoint."""

    model: Model | None = None
    endpoint: ModelEndpoint | None = None
    """A server with vLLM's ``/classify`` right under ``url`` (``vllm serve MODEL --runner pooling``)."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    """Conversations scored at once; requests under way at once, of an endpoint."""
    max_length: Annotated[int, Field(ge=16, le=131072)] = 4096
    """Longest conversation that is scored, in tokens; a longer one gets no score and is dropped, counted."""
    resources: Resources | None = None
    calibration: Calibration | None = None
    """Required for any reward model but the recipe's own, which has pairs and a scale of ours where it is left out."""

    @property
    def place(self) -> str:
        """Where the model is, for people."""
        if self.model:
            return self.model.uri
        return f"{self.endpoint.model} at {self.endpoint.url}" if self.endpoint else ""


Manifest = dict[str, Any]
"""A Kubernetes object as plain data."""
