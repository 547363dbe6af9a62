"""Fields of a FusionRun on the servers of models: how vLLM serves them."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.spec.models import Model
from fusionrun.api.spec.pods import PodSettings
from fusionrun.api.spec.resources import Resources


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
