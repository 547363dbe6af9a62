"""The words between operator and pod: a StageTask is asked, a StageResult answers, Progress comes between.

The operator writes a task into a ConfigMap, the pod reads it at ``TASK_PATH`` with the same class. The pod's
last words are a StageResult in its termination message; the manifest on the volume is the truth, and the
message is a copy. Decoders accept the previous version, since pods outlive an upgrade of the operator.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from fusionrun.api.contract import Contract
from fusionrun.api.data import Columns, Grader, RewardMargin, Subject, Task
from fusionrun.api.models import Calibration, Prices, Quota
from fusionrun.errors import ContractError

CONTRACT_VERSION = 1
TASK_PATH = "/etc/fusionrun/task.json"
TERMINATION_PATH = "/dev/termination-log"
PROGRESS_URL_ENV = "FUSIONRUN_PROGRESS_URL"
METRICS_PORT_ENV = "FUSIONRUN_METRICS_PORT"
METRICS_PORT = 9464
"""Where a generation's client serves ``/metrics``. Source: the port of OpenTelemetry's Prometheus exporter."""

EXIT_USER_ERROR = 2
"""Exit code of the user's error (bad content): never tried again."""
EXIT_INFRASTRUCTURE = 130
"""Exit code of an error that may pass. Source: PyTorchJob's ExitCode policy, 1-127 permanent, 128-255 retryable."""

EXIT_SERVER_WEDGED = 131
"""Exit code of a generation whose server takes no more tokens: the server is restarted, then it is tried again."""

LOST_PEER = "lost a peer"
"""How the message of a rank begins that died because another one had."""


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


class ResolveParameters(Contract):
    """Pin every reference, check that it is whole, and find the artifacts that are complete."""

    kind: Literal[StageKind.RESOLVE] = StageKind.RESOLVE
    references: list[Reference]
    stages: list[PlannedStage]
    hub_endpoint: str | None = None


class FetchParameters(Contract):
    """Download one model at its pinned revision into ``destination``."""

    kind: Literal[StageKind.FETCH] = StageKind.FETCH
    uri: str
    revision: str | None = None
    destination: str
    hub_endpoint: str | None = None


class DatasetParameters(Contract):
    """A data set to read."""

    name: str
    task: str
    """A ``Task`` or, for benchmarks, a ``Grader``."""
    uri: str
    revision: str | None = None
    split: str = "train"
    columns: Columns
    responses_columns: dict[str, str] = {}
    max_prompts: int | None = None
    excluded_subjects: list[Subject] = []
    near_duplicate_threshold: float | None = None
    preset: str | None = None


class PrepareParameters(Contract):
    """Read data sets into prompt shards ``prompts/NNNNN-of-NNNNN.parquet`` (rows: ``records.Prompt``).

    Duplicate prompts and those that overlap ``benchmarks`` are dropped and counted; ``contamination.json`` shows what
    overlaps. Responses that a data set already holds go to ``responses/<source>/NNNNN-of-NNNNN.parquet`` (rows:
    ``records.Response``).
    """

    kind: Literal[StageKind.PREPARE] = StageKind.PREPARE
    datasets: list[DatasetParameters]
    benchmarks: list[DatasetParameters] = []
    shards: int
    seed: int


class SamplingParameters(Contract):
    """Every sampling parameter, none left to the server (traps.md: generation_config fills what is left out)."""

    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    max_tokens: int


class GenerateParameters(Contract):
    """Ask a server for n samples per prompt; shards ``responses/NNNNN-of-NNNNN.parquet``."""

    kind: Literal[StageKind.GENERATE] = StageKind.GENERATE
    source: str
    base_url: str
    """With ``/v1``."""
    model: str
    api_key_env: str | None = None
    external: bool = False
    """An endpoint outside of the run: it is asked in OpenAI's words alone, none of vLLM's own."""
    prices: Prices | None = None
    quota: Quota | None = None
    """Of all shards together."""
    prompts_dir: str
    shards: int
    samples_per_prompt: dict[str, int]
    """By data set; a data set that is not named is not answered by this source."""
    sampling: SamplingParameters
    system_prompt: str | None = None
    concurrency: int
    max_concurrency: int | None = None
    """Left out: ``concurrency`` is fixed."""
    stall_seconds: int
    seed: int


class VerifyParameters(Contract):
    """Judge responses by rule; shards ``verdicts/NNNNN-of-NNNNN.parquet`` (rows: ``records.Verdict``)."""

    kind: Literal[StageKind.VERIFY] = StageKind.VERIFY
    grader: Grader
    datasets: list[str]
    source: str
    prompts_dir: str
    responses_dir: str
    shards: int


class RewardEndpointParameters(Contract):
    """How to ask a reward model outside of the run (vLLM's ``/classify``)."""

    base_url: str
    model: str
    api_key_env: str | None = None
    concurrency: int
    stall_seconds: int


class ScoreParameters(Contract):
    """Score responses with the reward model; shards ``scores/NNNNN-of-NNNNN.parquet`` (rows: ``records.Score``)."""

    kind: Literal[StageKind.SCORE] = StageKind.SCORE
    source: str
    model_path: str | None = None
    """Left out where an endpoint scores."""
    trust_remote_code: bool = False
    endpoint: RewardEndpointParameters | None = None
    prompts_dir: str
    responses_dir: str
    shards: int
    batch_size: int
    max_length: int
    calibration: Calibration | None = None


class SourceInputs(Contract):
    """Everything that construction reads of one source; directories of Parquet shards."""

    source: str
    responses_dir: str
    verdicts_dirs: list[str] = []
    scores_dir: str


class ConstructParameters(Contract):
    """Make ``sft.parquet``, ``pairs.parquet``, ``held-out.parquet`` by the recipe's rules; drops by reason."""

    kind: Literal[StageKind.CONSTRUCT] = StageKind.CONSTRUCT
    prompts_dir: str
    prepare_manifest: str
    """Path of the manifest that counts what ``prepare`` dropped."""
    tasks: dict[str, Task]
    """By data set."""
    sources: list[SourceInputs]
    reward_margin: RewardMargin
    sft_fraction: float
    held_out_fraction: float
    system_prompts: dict[str, str] = {}
    seed: int


class TrainParameters(Contract):
    """What SFT and DPO share."""

    model_path: str
    data_path: str
    epochs: float
    learning_rate: float
    global_batch_size: int
    micro_batch_size: int
    max_length: int
    warmup_ratio: float
    save_steps: int | None = None
    zero_stage: int
    precision: Literal["bf16", "fp32"]
    gradient_checkpointing: bool
    seed: int


class SftParameters(TrainParameters):
    """Supervised fine-tuning; the model is written to ``model/``."""

    kind: Literal[StageKind.SFT] = StageKind.SFT


class DpoParameters(TrainParameters):
    """DPO from the SFT model; checkpoints are written to ``checkpoints/``, the last model to ``model/``."""

    kind: Literal[StageKind.DPO] = StageKind.DPO
    beta: float
    length_normalized: bool


class PromoteParameters(Contract):
    """Choose the better of the last two checkpoints by held-out pairs; the model is written to ``model/``."""

    kind: Literal[StageKind.PROMOTE] = StageKind.PROMOTE
    dpo_dir: str
    reference_model_path: str
    held_out_path: str
    save_steps: int | None = None
    beta: float
    length_normalized: bool
    max_length: int


class BenchmarkParameters(Contract):
    """One benchmark to grade."""

    name: str
    grader: Grader


class EvaluateParameters(Contract):
    """Grade a model's answers; the score per benchmark, in percent, goes to ``numbers``."""

    kind: Literal[StageKind.EVALUATE] = StageKind.EVALUATE
    model: Literal["base", "sft", "final"]
    benchmarks: list[BenchmarkParameters]
    prompts_dir: str
    responses_dir: str
    verdicts_dir: str | None = None
    """Verdicts of the coding benchmarks, made in the sandbox."""
    shards: int


class PublishParameters(Contract):
    """Copy the final model and the data set with generated cards to ``destination``, a path or a hub."""

    kind: Literal[StageKind.PUBLISH] = StageKind.PUBLISH
    model_path: str
    dataset_dir: str
    destination: str
    hub_endpoint: str | None = None
    run_spec: str
    """The resolved spec as JSON, for provenance."""
    scores: dict[str, dict[str, float]] = {}
    """By benchmark, then by model."""
    pins: dict[str, str] = {}
    """Fingerprint of every reference, by its field in the spec: for the cards."""
    source_models: dict[str, str] = {}
    """Directory of every served source's model, where its licence may stand."""


Parameters = Annotated[
    ResolveParameters
    | FetchParameters
    | PrepareParameters
    | GenerateParameters
    | VerifyParameters
    | ScoreParameters
    | ConstructParameters
    | SftParameters
    | DpoParameters
    | PromoteParameters
    | EvaluateParameters
    | PublishParameters,
    Field(discriminator="kind"),
]


class StageTask(Contract):
    """What a pod is asked to do."""

    version: int = CONTRACT_VERSION
    run: str
    namespace: str
    stage: str
    digest: str
    output_dir: str
    shards: int | None = None
    """Of an Indexed stage; the pod's index is in JOB_COMPLETION_INDEX."""
    parameters: Parameters


def encode_task(task: StageTask) -> str:
    """Return the task as JSON text."""
    return task.model_dump_json(exclude_none=True)


def decode_task(text: str | bytes) -> StageTask:
    """Read a task.

    Raises
    ------
    ContractError
        If a field cannot be read; it names the field.
    """
    try:
        return StageTask.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise ContractError(CONTRACT_VERSION, ".".join(str(p) for p in first["loc"])) from error
