"""The parameters of the stages that measure models on benchmarks."""

from typing import Literal

from fusionrun.api.contract import Contract
from fusionrun.api.spec.endpoints import Prices, Quota
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.protocol import Protocol


class BenchmarkParameters(Contract):
    """A benchmark to grade."""

    name: str
    grader: Grader
    protocol: Protocol | None = None
    """None in tasks of releases up to 0.2.0."""


class JudgeParameters(Contract):
    """Let a model judge responses; shards ``judgements/NNNNN-of-NNNNN.parquet`` (rows: ``Judgement``)."""

    kind: Literal[StageKind.JUDGE] = StageKind.JUDGE
    evaluated: str
    """Name of the model whose responses are judged."""
    benchmarks: list[BenchmarkParameters]
    prompts_dir: str
    responses_dir: str
    materials_dir: str
    shards: int
    base_url: str
    """With ``/v1``."""
    model: str
    """Name of the judge in requests."""
    api_key_env: str | None = None
    external: bool = False
    """Whether it is an external endpoint. Requests then have only fields of the OpenAI API, and none of vLLM."""
    prices: Prices | None = None
    quota: Quota | None = None
    """For all shards together."""
    concurrency: int
    max_concurrency: int | None = None
    """Default: ``concurrency``, which is then fixed."""
    stall_seconds: int


class EvaluateParameters(Contract):
    """Grade the responses of a model; ``scores.parquet`` (rows: ``QuestionScore``) and the scores of the benchmarks."""

    kind: Literal[StageKind.EVALUATE] = StageKind.EVALUATE
    model: str
    """Name of the evaluated model: ``base``, ``sft``, ``final``, or that of a model of ``evaluateOnly``."""
    benchmarks: list[BenchmarkParameters]
    prompts_dir: str
    responses_dir: str
    verdicts_dir: str | None = None
    """Verdicts on the coding benchmarks, from the sandbox."""
    judgements_dir: str | None = None
    materials_dir: str | None = None
    """Files that protocols need besides the questions, one folder per benchmark, from ``prepare``."""
    harness_dir: str | None = None
    """The artifact of ``generate``, with the results of the tasks of lm-eval; None without such tasks."""
    judge: str | None = None
    """The model that judged: its name at the endpoint, or the URI of the model that the run served."""
    shards: int
    seed: int = 42


class CompareParameters(Contract):
    """Compare the scores of models question by question."""

    kind: Literal[StageKind.COMPARE] = StageKind.COMPARE
    benchmarks: list[BenchmarkParameters]
    scores: dict[str, str]
    """Path of ``scores.parquet`` by model."""
    pairs: list[tuple[str, str]]
    """Models to compare: each first against its second."""
    seed: int
