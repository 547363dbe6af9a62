"""The parameters of a task: one class per kind of stage."""

from typing import Annotated, Literal

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.spec.data import Columns, RewardMargin, Subject, Task, TestsFrom, Turns
from fusionrun.api.spec.reward import Calibration
from fusionrun.api.stage import PlannedStage, PreflightSubject, Reference, StageKind
from fusionrun.api.status.results import BenchmarkResult, GroupResult
from fusionrun.api.tasks.demand import Demand
from fusionrun.api.tasks.evaluation import CompareParameters, EvaluateParameters, JudgeParameters
from fusionrun.api.tasks.protocol import Protocol
from fusionrun.api.tasks.responses import (
    GenerateParameters,
    RewardEndpointParameters,
    ScoreParameters,
    VerifyParameters,
)
from fusionrun.api.tasks.training import DpoParameters, PromoteParameters, SftParameters


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
    evaluation_dir: str | None = None
    """Artifact of ``evaluate`` for the final model, if a judge rates a benchmark: the card describes the judge."""


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
