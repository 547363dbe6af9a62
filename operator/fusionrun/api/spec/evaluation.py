"""Fields of a FusionRun on evaluation: benchmarks, the judge and the gate."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.spec.data import ColumnName, Columns
from fusionrun.api.spec.endpoints import Endpoint, Quota
from fusionrun.api.spec.models import Name, Revision, Sampling, Uri
from fusionrun.api.spec.servers import Served, ServerSettings


class Grader(StrEnum):
    """How responses to a benchmark are graded."""

    MATHEMATICS = "Mathematics"
    CODING = "Coding"
    EXACT_MATCH = "ExactMatch"
    CHOICE = "Choice"
    """The letter of the chosen option."""
    RUBRIC = "Rubric"
    """A judge rates the response by the benchmark's rubric."""
    QWEN_MATHEMATICS = "QwenMathematics"
    """The rules of the Qwen2.5-Math harness."""
    EVAL_PLUS = "EvalPlus"
    LIVE_CODE_BENCH = "LiveCodeBench"
    LIVE_BENCH = "LiveBench"
    ALPACA_EVAL = "AlpacaEval"
    ARENA_HARD = "ArenaHard"
    MT_BENCH = "MTBench"
    ALIGN_BENCH = "AlignBench"
    LM_EVAL = "LmEval"
    """lm-eval builds the requests and grades the replies (``Harness``)."""

    @property
    def runs_programs(self) -> bool:
        """Whether it runs programs that a model wrote, so that ``verify`` grades the responses, in the sandbox."""
        return self in (Grader.CODING, Grader.EVAL_PLUS, Grader.LIVE_CODE_BENCH, Grader.LIVE_BENCH)

    @property
    def needs_judge(self) -> bool:
        """Whether a model judges the responses."""
        return self in (Grader.RUBRIC, Grader.ALPACA_EVAL, Grader.ARENA_HARD, Grader.MT_BENCH, Grader.ALIGN_BENCH)


class BenchmarkPreset(StrEnum):
    """Benchmarks with a known protocol (docs/evaluation.md)."""

    ALPACA_EVAL_2 = "AlpacaEval2"
    ARENA_HARD = "ArenaHard"
    MT_BENCH = "MTBench"
    ALIGN_BENCH = "AlignBench"
    LIVE_BENCH = "LiveBench"
    MMLU_PRO = "MMLUPro"
    MMLU = "MMLU"
    MMLU_REDUX = "MMLURedux"
    GPQA_DIAMOND = "GPQADiamond"
    GSM8K = "GSM8K"
    MATH = "MATH"
    AMC_23 = "AMC23"
    HUMAN_EVAL = "HumanEval"
    MBPP = "MBPP"
    LIVE_CODE_BENCH = "LiveCodeBench"


class EvaluationPreset(StrEnum):
    """Sets of benchmarks."""

    FUSECHAT_3 = "FuseChat-3.0"


class Harness(StrEnum):
    """Programs that define and grade benchmarks of their own."""

    LM_EVAL = "LmEval"
    """The Language Model Evaluation Harness, lm-eval."""


class BenchmarkColumns(Columns):
    """Names of the columns of a benchmark. A name may be a path into nested data: ``turns[0].content``."""

    options: ColumnName | None = None
    """Column of the options, a list of texts. Required for grader Choice. If omitted, no options are read."""


class Window(Contract):
    """A range of days, both inclusive."""

    start: date
    """First day."""
    end: date
    """Last day."""


class Benchmark(Contract):
    """A benchmark: held-out prompts with a rule or a judge that grades the responses, or a task of lm-eval."""

    name: Name
    """Unique name of the benchmark."""
    preset: BenchmarkPreset | None = None
    """A benchmark with a known protocol: columns, prompt, sampling and grader (docs/evaluation.md). If omitted,
    ``uri`` and ``grader`` are required, or ``harness`` and ``task``."""
    harness: Harness | None = None
    """LmEval: the benchmark is a task of lm-eval, which reads the questions, builds the requests and grades the replies
    (docs/lm-eval.md). Of the other fields, only ``task``, ``fewShot``, ``metric``, ``chatTemplate``,
    ``sampling.maxTokens`` and ``maxPrompts`` may then be set. If omitted, the benchmark is one of this project."""
    task: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.()-]+$", max_length=128)] | None = None
    """Name of a task, a group or a tag of lm-eval, such as ``mmlu_pro``. Required with ``harness``, and forbidden
    otherwise."""
    few_shot: Annotated[int, Field(ge=0, le=128)] | None = None
    """Number of examples before each question, with ``harness`` only. If omitted, that of the task."""
    metric: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """``metric`` or ``metric,filter`` of lm-eval that is the score, such as ``exact_match,flexible-extract``, with
    ``harness`` only. If omitted, that of the group, or else the first metric of the task."""
    chat_template: bool | None = None
    """Whether the requests are conversations, each example a turn of its own, with ``harness`` only. False: texts
    without the chat template, as for base models. If omitted, they are conversations."""
    uri: Uri | None = None
    """Location of the benchmark: ``hf://org/name`` on the hub, ``pvc://claim/path`` on the run's claim, or
    ``s3://bucket/key``. For a preset, it is the file or the folder that the owners of the benchmark publish. Required
    without a preset, and forbidden with ``harness``."""
    revision: Revision | None = None
    """Commit, branch or tag, for ``hf://``. A branch or tag is pinned to its commit when the run starts. If omitted,
    the branch ``main`` is used."""
    split: Annotated[str, Field(max_length=64)] = "test"
    """Split of the data set, found by the names of files and folders."""
    grader: Grader | None = None
    """How responses are graded: Mathematics (final answer against the reference answer), Coding (tests in the sandbox),
    ExactMatch (equal to the reference answer), Choice (letter of the chosen option) or Rubric (rated by the judge). The
    other graders belong to presets and to ``harness``. Required without a preset, and forbidden with ``harness``."""
    columns: BenchmarkColumns | None = None
    """Names of the columns. A name may be a path into nested data: ``conversations[0].value``. Required for graders
    other than Rubric, and forbidden with a preset, whose files have a known format, and with ``harness``."""
    system_prompt: Annotated[str, Field(max_length=4096)] | None = None
    """System message of the requests. An empty text removes that of the preset."""
    prompt_template: Annotated[str, Field(max_length=4096)] | None = None
    """User message of the requests. ``{prompt}`` stands for the prompt, ``{options}`` for the options, one per line
    with its letter."""
    prefill: Annotated[str, Field(max_length=1024)] | None = None
    """Beginning of the response, which the model continues. An empty text removes that of the preset."""
    sampling: Sampling | None = None
    """Sampling parameters of the requests."""
    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=16)] | None = None
    """Texts that end a response. The response does not contain them."""
    samples: Annotated[int, Field(ge=1, le=128)] | None = None
    """Number of responses per prompt. The score of a prompt is the mean over its responses."""
    window: Window | None = None
    """Problems that were published on these days. For preset LiveCodeBench only."""
    rubric: Annotated[str, Field(max_length=8192)] | None = None
    """Message to the judge. ``{prompt}``, ``{response}`` and ``{answer}`` stand for the prompt, the response and the
    reference answer. It must ask for a rating as ``[[5]]``, from 1 to 10. Required for grader Rubric, and forbidden
    otherwise."""
    max_prompts: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Maximum number of prompts. If there are more, a seeded sample is used. If omitted, all prompts are used."""


class JudgeEndpoint(Endpoint):
    """An OpenAI-compatible endpoint that judges."""

    quota: Quota | None = None
    """Limits on the use of the endpoint, for each evaluated model. A stage that reaches a limit fails and keeps its
    judgements. In-flight requests may exceed the token and cost limits. If omitted, there is no limit."""


class JudgeServed(Served):
    """A model that the run serves with vLLM while it judges."""


# Fields of a run are immutable by rules of their class, so that each place with mutable fields has classes of its own.
class Judge(Contract):
    """The model that judges responses."""

    endpoint: JudgeEndpoint | None = None
    """An OpenAI-compatible endpoint outside the run. Exactly one of ``endpoint`` and ``served`` is required."""
    served: JudgeServed | None = None
    """A model that the run serves with vLLM while it judges. Exactly one of ``endpoint`` and ``served`` is required."""


class GateBaseline(StrEnum):
    """The model that the final model is compared with."""

    BASE = "Base"
    SFT = "Sft"


class GateStatistic(StrEnum):
    """The number that a gate tests."""

    MEAN = "Mean"
    """The difference of the scores."""
    LOWER_BOUND = "LowerBound"
    """The lower bound of the 95 % interval of the difference."""


class Gate(Contract):
    """A condition on the final model's score on a benchmark."""

    benchmark: Name
    """Name of one of the benchmarks."""
    against: GateBaseline = GateBaseline.BASE
    """The model that the final model is compared with: Base (the target before training) or Sft (after SFT)."""
    min_delta: Annotated[float, Field(ge=-100, le=100)] = 0.0
    """Smallest allowed difference between the final model's score and the other model's, in the unit of the benchmark:
    percentage points, or points of a rating from 1 to 10."""
    statistic: GateStatistic = GateStatistic.MEAN
    """The number that must be at least ``minDelta``: Mean (the difference) or LowerBound (the lower bound of its 95 %
    interval)."""


class Evaluation(Contract):
    """How the base, SFT and final models, or those of ``evaluateOnly``, are evaluated."""

    preset: EvaluationPreset | None = None
    """FuseChat-3.0 adds the 14 benchmarks of the paper that ``benchmarks`` does not list, named as in
    docs/evaluation.md. If omitted, only ``benchmarks`` are evaluated."""
    uri: Uri | None = None
    """Folder of the benchmarks with a preset and without a ``uri``: each is in the subfolder of its preset, such as
    ``arena-hard`` (docs/evaluation.md). It is on the claim or in an object store. If omitted, those that the hub has
    are read from there, and the others must be listed in ``benchmarks`` with a ``uri``."""
    benchmarks: Annotated[list[Benchmark], Field(max_length=64)] = []
    """Benchmarks that the models are evaluated on. Training prompts that overlap a benchmark are dropped."""
    sampling: Sampling | None = None
    """Sampling parameters of the requests for benchmarks without a preset."""
    server: ServerSettings | None = None
    """How vLLM serves the evaluated models."""
    judge: Judge | None = None
    """The model that judges the responses to benchmarks with a judge. Required for those."""
    gate: Annotated[list[Gate], Field(max_length=64)] = []
    """Conditions on the final model. If one is not met, the model is not published."""
