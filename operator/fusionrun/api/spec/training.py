"""Fields of a FusionRun on training: SFT, then DPO, with TRL and DeepSpeed."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.spec.endpoints import SecretKeyRef
from fusionrun.api.spec.pods import PodSettings
from fusionrun.api.spec.resources import Resources

LearningRate = Annotated[float, Field(gt=0, lt=1)]
BatchSize = Annotated[int, Field(ge=1, le=65536)]
ModuleName = Annotated[str, Field(min_length=1, max_length=253)]
MaxLength = Annotated[int, Field(ge=16, le=1048576)]


class Backend(StrEnum):
    """Kind of the Kubernetes object that runs training."""

    AUTO = "Auto"
    """The first of PyTorchJob and TrainJob that the cluster serves when the run is accepted, else Job."""
    PYTORCH_JOB = "PyTorchJob"
    """Kubeflow training operator v1."""
    JOB = "Job"
    """An Indexed Job with a headless Service: needs nothing but Kubernetes."""
    TRAIN_JOB = "TrainJob"
    """Kubeflow Trainer v2, which needs JobSet."""


class GangScheduler(StrEnum):
    """Scheduler that places all pods of a PodGroup at once."""

    COSCHEDULING = "Coscheduling"
    """The plugin of kubernetes-sigs/scheduler-plugins."""
    VOLCANO = "Volcano"


class Gang(Contract):
    """Gang scheduling: no training pod gets a node before all of them can."""

    scheduler: GangScheduler
    """Kind of the PodGroup: ``Coscheduling`` (scheduler-plugins) or ``Volcano``."""
    scheduler_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """The ``schedulerName`` of the training pods."""


class Precision(StrEnum):
    """Precision of the forward and backward passes."""

    BF16 = "bf16"
    FP32 = "fp32"


class Offload(StrEnum):
    """Part of the training state that is in the memory of the node and not of the GPUs."""

    OPTIMIZER = "Optimizer"
    """Master weights and optimizer states; the optimizer runs on the CPUs."""


class Lora(Contract):
    """Low-rank adapters (LoRA): only they are trained, and then merged into the weights."""

    rank: Annotated[int, Field(ge=1, le=1024)]
    """Rank of the update of each matrix."""
    alpha: Annotated[float, Field(gt=0, le=65536)] | None = None
    """The update is multiplied by alpha / rank. If omitted, it is twice the rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout of the adapters' inputs."""
    target_modules: Annotated[list[ModuleName], Field(min_length=1, max_length=64)] | None = None
    """Names of the layers with adapters, such as ``q_proj``. If omitted, all linear layers except the output layer."""


class Tracker(StrEnum):
    """Experiment tracker that gets the numbers of training."""

    MLFLOW = "MLflow"
    """A tracking server, see ``training.mlflow``."""
    TENSORBOARD = "TensorBoard"
    """Event files on the claim."""


class Mlflow(Contract):
    """An MLflow tracking server."""

    tracking_uri: Annotated[str, Field(pattern=r"^https?://[^\s@]+$", max_length=512)]
    """URL of the server. The training pods must be able to reach it."""
    experiment: Annotated[str, Field(min_length=1, max_length=250)] | None = None
    """Name of the experiment, which is made if it does not exist. If omitted, it is the name of the run."""
    token_secret_ref: SecretKeyRef | None = None
    """Bearer token. If omitted, requests have none. For a user and a password, set ``MLFLOW_TRACKING_USERNAME`` and
    ``MLFLOW_TRACKING_PASSWORD`` in ``training.pod.env``."""


class Sft(Contract):
    """Hyperparameters of supervised fine-tuning (SFT)."""

    epochs: Annotated[float, Field(gt=0, le=100)] | None = None
    """Number of passes over the training data."""
    learning_rate: LearningRate | None = None
    """Peak learning rate. It rises linearly during warm-up, then falls with a cosine schedule."""
    global_batch_size: BatchSize | None = None
    """Rows per optimizer step, over all processes. It must be a multiple of microBatchSize x nodes x
    processesPerNode."""
    micro_batch_size: BatchSize = 1
    """Rows per forward pass and process."""
    max_length: MaxLength | None = None
    """Maximum length of a row, in tokens. Longer rows are dropped, not truncated."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the optimizer steps used for warm-up."""
    save_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Optimizer steps between two checkpoints."""


class Dpo(Sft):
    """Hyperparameters of direct preference optimization (DPO)."""

    beta: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Strength of the penalty for deviating from the SFT model: TRL's ``beta``."""
    length_normalized: bool | None = None
    """Divide each log-ratio by the length of the response: TRL's loss ``sigmoid_norm`` instead of ``sigmoid``."""


class Promote(Contract):
    """How the checkpoint that becomes the final model is selected."""

    resources: Resources | None = None
    """Compute resources of the pod. It uses one GPU. If omitted, it has one GPU if ``training.resources`` has GPUs, and
    the CPUs and the memory of ``training.resources`` divided by the number of its GPUs."""


class Training(Contract):
    """How and where the target model is trained."""

    backend: Backend = Backend.PYTORCH_JOB
    """Kind of the Kubernetes object that runs training: ``PyTorchJob`` (Kubeflow training operator v1), ``TrainJob``
    (Kubeflow Trainer v2) or ``Job`` (Kubernetes alone). ``Auto`` is the first of these that the cluster serves when the
    run is accepted; ``status.trainingBackend`` shows it."""
    gang: Gang | None = None
    """Gang scheduling with a PodGroup for each attempt. If omitted, there is none. Kueue needs none: it admits all pods
    of an object at once."""
    nodes: Annotated[int, Field(ge=1, le=256)] = 1
    """Number of training pods."""
    processes_per_node: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of processes, and so of GPUs, per training pod."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 3
    """DeepSpeed ZeRO stage: which of optimizer states (1), gradients (2) and parameters (3) are sharded across
    processes. 0 shards nothing."""
    offload: Offload | None = None
    """``Optimizer`` keeps master weights and optimizer states in the memory of the node, for GPUs with too little
    memory; steps take longer. It needs ``zeroStage`` 2 or 3. If omitted, nothing is offloaded."""
    lora: Lora | None = None
    """Train low-rank adapters (LoRA) instead of all weights, in SFT and in DPO. If omitted, all weights are trained."""
    precision: Precision = Precision.BF16
    """Precision of the forward and backward passes. Master weights are always fp32."""
    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass to use less memory."""
    resources: Resources | None = None
    """Compute resources of each training pod. GPUs, if any, must equal ``processesPerNode``."""
    promote: Promote = Promote()
    """The pod that selects a checkpoint."""
    pod: PodSettings | None = None
    """Settings of the pods that train, and of the one that selects a checkpoint. If omitted, those of ``scheduling``
    and of the operator apply."""
    sft: Sft = Sft()
    """Hyperparameters of supervised fine-tuning (SFT)."""
    dpo: Dpo = Dpo()
    """Hyperparameters of direct preference optimization (DPO)."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 42
    """Seed of training."""
    report_to: Annotated[list[Tracker], Field(max_length=2)] = []
    """Experiment trackers that get the loss, rewards, gradient norm and throughput of every step: ``MLflow``,
    ``TensorBoard`` (event files in ``logs/tensorboard`` of the artifact) or both. A tracker that is down does not stop
    the training. If omitted, there is none; the operator's metrics have the numbers in any case."""
    mlflow: Mlflow | None = None
    """The MLflow tracking server. Required if ``reportTo`` has ``MLflow``."""
