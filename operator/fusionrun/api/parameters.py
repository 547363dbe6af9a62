"""The parameters of a task: one class per kind of stage."""

from typing import Annotated, Literal

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.data import Columns, RewardMargin, Subject, Task, TestsFrom, Turns
from fusionrun.api.demand import Demand
from fusionrun.api.evaluation import Grader
from fusionrun.api.evaluation_tasks import CompareParameters, EvaluateParameters, JudgeParameters
from fusionrun.api.harness import HarnessTasks
from fusionrun.api.models import Calibration, Prices, Quota
from fusionrun.api.protocol import Protocol
from fusionrun.api.run_results import BenchmarkResult, GroupResult
from fusionrun.api.stage import PlannedStage, PreflightSubject, Reference, StageKind, TemplateName
from fusionrun.api.training import Lora, Offload, Sft, Tracker


class ResolveParameters(Contract):
    """Pin every reference, check that it can be read, and find the artifacts that are complete."""

    kind: Literal[StageKind.RESOLVE] = StageKind.RESOLVE
    references: list[Reference]
    stages: list[PlannedStage]
    hub_endpoint: str | None = None
    demand: Demand | None = None
    """What the pods need; None from releases up to 0.2.0: only the downloads are compared with the free space."""


class FetchParameters(Contract):
    """Download one model at its pinned revision into ``destination``."""

    kind: Literal[StageKind.FETCH] = StageKind.FETCH
    uri: str
    revision: str | None = None
    destination: str
    hub_endpoint: str | None = None


class DatasetParameters(Contract):
    """A data set or a benchmark to read."""

    name: str
    task: str
    """A ``Task`` or, for benchmarks, a ``Grader``."""
    uri: str
    revision: str | None = None
    split: str = "train"
    columns: Columns
    turns: Turns | None = None
    """None: the first user turn of a chat, and texts as they are."""
    responses_columns: dict[str, str] = {}
    max_responses_per_prompt: int | None = None
    """Per source; None: all."""
    max_prompts: int | None = None
    excluded_subjects: list[Subject] = []
    near_duplicate_threshold: float | None = None
    preset: str | None = None
    tests_from: TestsFrom | None = None
    protocol: Protocol | None = None
    """For benchmarks; None in tasks of releases up to 0.2.0."""


class PrepareParameters(Contract):
    """Read data sets into prompt shards ``prompts/NNNNN-of-NNNNN.parquet`` (rows: ``records.Prompt``).

    Duplicate prompts and prompts that overlap ``benchmarks`` are dropped and counted; ``contamination.json`` lists the
    overlaps. Responses in a data set are written to ``responses/<source>/NNNNN-of-NNNNN.parquet`` (rows:
    ``records.Response``), and reference solutions, in the same format, to ``solutions/``.
    """

    kind: Literal[StageKind.PREPARE] = StageKind.PREPARE
    datasets: list[DatasetParameters]
    benchmarks: list[DatasetParameters] = []
    harness_data: dict[str, str] = {}
    """Folder with the data of each task of lm-eval, by the name of the benchmark; prompts that overlap are dropped."""
    shards: int
    seed: int


class SamplingParameters(Contract):
    """Sampling parameters. All are set: vLLM reads a missing one from ``generation_config.json`` of the model."""

    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    max_tokens: int
    stop: list[str] = []


class GenerateParameters(Contract):
    """Request n samples per prompt from a server; shards ``responses/NNNNN-of-NNNNN.parquet``."""

    kind: Literal[StageKind.GENERATE] = StageKind.GENERATE
    source: str
    base_url: str
    """With ``/v1``."""
    model: str
    api_key_env: str | None = None
    external: bool = False
    """Whether it is an external endpoint. Requests then have only fields of the OpenAI API, and none of vLLM."""
    prices: Prices | None = None
    quota: Quota | None = None
    """For all shards together."""
    prompts_dir: str
    solutions_verdicts_dir: str | None = None
    """Verdicts on the reference solutions. Prompts with a wrong one are skipped."""
    shards: int
    samples_per_prompt: dict[str, int]
    """By data set. Prompts of other data sets are skipped."""
    sampling: SamplingParameters
    sampling_by_dataset: dict[str, SamplingParameters] = {}
    """Of the benchmarks whose protocol has sampling parameters of its own."""
    harness: HarnessTasks | None = None
    """Tasks of lm-eval to measure the model on, besides the prompts."""
    system_prompt: str | None = None
    concurrency: int
    max_concurrency: int | None = None
    """Default: ``concurrency``, which is then fixed."""
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
    """A reward model behind an external endpoint (``/classify`` of vLLM)."""

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
    """None if ``endpoint`` is set."""
    trust_remote_code: bool = False
    endpoint: RewardEndpointParameters | None = None
    prompts_dir: str
    responses_dir: str
    shards: int
    batch_size: int
    max_batch_tokens: int | None = None
    """Maximum number of tokens of a batch, with padding; None for no limit."""
    max_length: int
    calibration: Calibration | None = None


class SourceInputs(Contract):
    """The inputs of construction from one source: directories of Parquet shards."""

    source: str
    source_model: str = ""
    """Name of the source's model; empty: the name of the source."""
    responses_dir: str
    verdicts_dirs: list[str] = []
    scores_dir: str


class ConstructParameters(Contract):
    """Write ``sft.parquet``, ``pairs.parquet`` and ``held-out.parquet`` by the rules of the recipe."""

    kind: Literal[StageKind.CONSTRUCT] = StageKind.CONSTRUCT
    prompts_dir: str
    prepare_manifest: str
    """Path of the manifest with the numbers of prompts that ``prepare`` dropped."""
    solutions_verdicts_dir: str | None = None
    """Verdicts on the reference solutions. Prompts with a wrong one are dropped."""
    tasks: dict[str, Task]
    """By data set."""
    sources: list[SourceInputs]
    reward_margin: RewardMargin
    sft_fraction: float
    held_out_fraction: float
    max_kept: dict[str, int] = {}
    """By data set: maximum number of SFT rows plus pairs. Other data sets have no limit."""
    system_prompts: dict[str, str] = {}
    seed: int


class TrainingInputs(Contract):
    """The model to train and its data."""

    model_path: str
    data_path: str


class MlflowParameters(Contract):
    """The MLflow server that gets the numbers of a training; its token is in an environment variable."""

    tracking_uri: str
    experiment: str


class TrainParameters(Sft, TrainingInputs):
    """Parameters that SFT and DPO share: the fields of ``spec.training.sft``, all filled in, and those of a run."""

    epochs: float
    learning_rate: float
    global_batch_size: int
    micro_batch_size: int
    max_length: int
    warmup_ratio: float
    zero_stage: int
    precision: Literal["bf16", "fp32"]
    gradient_checkpointing: bool
    seed: int
    trial_steps: int | None = None
    """Optimizer steps of a trial, which saves nothing; None for a training."""
    offload: Offload | None = None
    lora: Lora | None = None
    report_to: list[Tracker] = []
    mlflow: MlflowParameters | None = None
    chat_template: TemplateName | None = None
    """Replaces the template of the tokenizer, and is saved with the model. ``dpo`` needs it only in a trial, which
    trains the base model."""


class SftParameters(TrainParameters):
    """Supervised fine-tuning; the model is written to ``model/``."""

    kind: Literal[StageKind.SFT] = StageKind.SFT


class DpoParameters(TrainParameters):
    """DPO of the SFT model; checkpoints are written to ``checkpoints/``, the last model to ``model/``."""

    kind: Literal[StageKind.DPO] = StageKind.DPO
    beta: float
    length_normalized: bool


class RewardCheckParameters(Contract):
    """The reward model to check, as in ``ScoreParameters``."""

    model_path: str | None = None
    trust_remote_code: bool = False
    endpoint: RewardEndpointParameters | None = None
    max_length: int
    calibration: Calibration


class PublishingCheckParameters(Contract):
    """The destination to check, as in ``PublishParameters``."""

    destination: str
    hub_endpoint: str | None = None


class PreflightParameters(Contract):
    """Check one part of the run before the first model server starts; the artifact has no files."""

    kind: Literal[StageKind.PREFLIGHT] = StageKind.PREFLIGHT
    subject: PreflightSubject
    sft: SftParameters | None = None
    """For ``training``."""
    dpo: DpoParameters | None = None
    """For ``training``."""
    reward: RewardCheckParameters | None = None
    """For ``reward``."""
    publishing: PublishingCheckParameters | None = None
    """For ``publishing``."""


class PromoteParameters(Contract):
    """Choose the better of the last two checkpoints by the held-out pairs; the model is written to ``model/``."""

    kind: Literal[StageKind.PROMOTE] = StageKind.PROMOTE
    dpo_dir: str
    reference_model_path: str
    held_out_path: str
    save_steps: int | None = None
    beta: float
    length_normalized: bool
    max_length: int


class PublishParameters(Contract):
    """Copy the final model and the data set, with generated cards, to ``destination``: a path or a URI."""

    kind: Literal[StageKind.PUBLISH] = StageKind.PUBLISH
    model_path: str
    dataset_dir: str
    destination: str
    hub_endpoint: str | None = None
    private: bool | None = None
    """Visibility of new repositories; None for the hub's default."""
    run_spec: str
    """The resolved spec as JSON, for provenance."""
    scores: dict[str, dict[str, float]] = {}
    """By benchmark, then by model."""
    results: list[BenchmarkResult] = []
    """The scores with intervals, differences and protocols; empty in tasks of releases up to 0.2.0."""
    groups: list[GroupResult] = []
    pins: dict[str, str] = {}
    """Fingerprint of every reference, by its field in the spec, for the cards."""
    source_models: dict[str, str] = {}
    """Directory of the model of every served source, which may have a licence file."""
    benchmark_licences: dict[str, str] = {}
    """Licence of the questions of each benchmark with a preset, by its name, for the cards."""


Parameters = Annotated[
    ResolveParameters
    | FetchParameters
    | PrepareParameters
    | PreflightParameters
    | GenerateParameters
    | VerifyParameters
    | ScoreParameters
    | ConstructParameters
    | SftParameters
    | DpoParameters
    | PromoteParameters
    | JudgeParameters
    | EvaluateParameters
    | CompareParameters
    | PublishParameters,
    Field(discriminator="kind"),
]
