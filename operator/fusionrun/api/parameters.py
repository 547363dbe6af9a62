"""What each kind of stage is asked: one class of parameters per kind."""

from typing import Annotated, Literal

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.data import Columns, Grader, RewardMargin, Subject, Task
from fusionrun.api.models import Calibration, Prices, Quota
from fusionrun.api.stage import PlannedStage, Reference, StageKind


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
    ``records.Response``), and reference solutions, in the same form, to ``solutions/``.
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
    solutions_verdicts_dir: str | None = None
    """Verdicts on the prompts' own solutions: a prompt with one that is not right is not asked."""
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
    solutions_verdicts_dir: str | None = None
    """Verdicts on the prompts' own solutions: a prompt with one that is not right is dropped."""
    tasks: dict[str, Task]
    """By data set."""
    sources: list[SourceInputs]
    reward_margin: RewardMargin
    sft_fraction: float
    held_out_fraction: float
    max_kept: dict[str, int] = {}
    """By data set: the most SFT rows plus pairs. A data set that is not named has no bound."""
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
