"""The parameters of the stages that measure models on benchmarks."""

from typing import Literal

from fusionrun.api.contract import Contract
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.protocol import Protocol
from fusionrun.api.tasks.responses import ServerParameters


class BenchmarkParameters(Contract):
    """A benchmark to grade."""

    name: str
    grader: Grader
    protocol: Protocol | None = None
    """None in tasks of releases up to 0.2.0."""


class JudgeParameters(ServerParameters):
    """Let a model judge responses; shards ``judgements/NNNNN-of-NNNNN.parquet`` (rows: ``Judgement``)."""

    kind: Literal[StageKind.JUDGE] = StageKind.JUDGE
    evaluated: str
    """Name of the model whose responses are judged."""
    benchmarks: list[BenchmarkParameters]
    prompts_dir: str
    responses_dir: str
    materials_dir: str
    shards: int


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
