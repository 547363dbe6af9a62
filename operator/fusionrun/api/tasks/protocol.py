"""The protocol of a benchmark, as tasks contain it: how questions are read, asked, graded and aggregated."""

from datetime import date
from enum import StrEnum

from fusionrun.api.contract import Contract
from fusionrun.api.spec.evaluation import BenchmarkColumns, Grader
from fusionrun.api.spec.models import Sampling


class Layout(StrEnum):
    """The files of a benchmark: one format per owner, or a table with named columns."""

    TABLE = "Table"
    ALPACA_EVAL = "AlpacaEval"
    ARENA_HARD = "ArenaHard"
    MT_BENCH = "MTBench"
    ALIGN_BENCH = "AlignBench"
    LIVE_BENCH = "LiveBench"
    MMLU_PRO = "MMLUPro"
    MMLU = "MMLU"
    MMLU_REDUX = "MMLURedux"
    GPQA = "GPQA"
    GSM8K = "GSM8K"
    MATH = "MATH"
    AMC_23 = "AMC23"
    EVAL_PLUS = "EvalPlus"
    LIVE_CODE_BENCH = "LiveCodeBench"


class Unit(StrEnum):
    """Unit of a score."""

    PERCENT = "Percent"
    RATING = "Rating"
    """From 1 to 10."""


class Aggregation(StrEnum):
    """How the scores of questions become one score."""

    MEAN = "Mean"
    """The mean over all questions, by their weights."""
    GROUP_MEANS = "GroupMeans"
    """The mean of the means of the groups; a group may have groups (``QuestionScore.group``)."""
    LENGTH_CONTROLLED = "LengthControlled"
    """AlpacaEval 2: the mean of the preferences that a regression predicts for responses of equal length."""


class PromptForm(Contract):
    """The messages of a request."""

    system: str | None = None
    template: str = "{prompt}"
    """The user message. ``{prompt}`` and ``{options}`` are replaced."""
    prefill: str | None = None
    """Beginning of the response, which the model continues."""


class JudgeRequest(Contract):
    """Sampling of the judge."""

    temperature: float
    max_tokens: int | None = None
    """None: the limit of the server."""
    top_logprobs: int | None = None
    """Number of log-probabilities per token to request; None for none."""
    model: str
    """The judge of the protocol. Scores by another judge are not comparable."""


class Protocol(Contract):
    """How a benchmark is measured."""

    name: str
    """Such as ``FuseEval/ArenaHard``."""
    version: int
    """Raised when the protocol gives other scores for the same responses."""
    modified: bool = False
    """Whether the spec overrides a part of the protocol."""
    layout: Layout = Layout.TABLE
    columns: BenchmarkColumns = BenchmarkColumns()
    """For layout Table."""
    form: PromptForm = PromptForm()
    sampling: Sampling
    """All fields are set."""
    temperatures: dict[str, float] = {}
    """Temperature by the category of a question, instead of that of ``sampling``."""
    stop: list[str] = []
    samples: int = 1
    grader: Grader
    grades_truncated: bool = False
    """Whether a truncated response is graded like any other. Otherwise it is wrong."""
    metrics: list[str] = []
    """Names of the metrics; the score is the first. Empty: one without a name."""
    aggregation: Aggregation = Aggregation.MEAN
    unit: Unit = Unit.PERCENT
    judge: JudgeRequest | None = None
    rubric: str | None = None
    """For grader Rubric."""
    window_start: date | None = None
    window_end: date | None = None
    shows_examples: bool = True
    """Whether questions and responses may be shown. False: the owners ask that the questions do not become public."""
    licence: str | None = None
    """Licence of the questions, if they are those of a preset."""
