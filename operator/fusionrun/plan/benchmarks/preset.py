"""What a preset of a benchmark consists of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.spec.models import Sampling
from fusionrun.api.spec.target import Family
from fusionrun.api.tasks.protocol import Aggregation, JudgeRequest, Layout, PromptForm, Unit


def greedy(max_tokens: int) -> Sampling:
    """Return greedy decoding of at most ``max_tokens`` tokens."""
    return sampled(0.0, 1.0, max_tokens)


def sampled(temperature: float, top_p: float, max_tokens: int, top_k: int = -1) -> Sampling:
    """Return sampling without a repetition penalty."""
    return Sampling(temperature=temperature, top_p=top_p, top_k=top_k, repetition_penalty=1.0, max_tokens=max_tokens)


@dataclass(frozen=True)
class BenchmarkData:
    """A benchmark with its protocol, licence and sources."""

    protocol: str
    """Name of the protocol."""
    folder: str
    """Subfolder of ``evaluation.uri``, and name of the benchmark where ``evaluation.preset`` adds it."""
    layout: Layout
    grader: Grader
    sampling: Sampling
    licence: str
    """Licence of the questions; "none stated" if their owners state none."""
    data: str
    """Where the owners publish the questions, and what a judge needs besides."""
    source: str
    """The files of the public repository from which the protocol was read."""
    questions: int | None = None
    """Number of questions in these data; None if it depends on ``window``, or was not counted."""
    turns: int = 1
    """Messages of the user in a question, each with a response."""
    version: int = 1
    hub: str | None = None
    """URI of the data set that the owners publish on the hub, if it has all that the layout needs."""
    form: PromptForm = field(default_factory=PromptForm)
    forms: Mapping[Family, PromptForm] = field(default_factory=dict)
    """By the family of the target; ``form`` for the others."""
    samplings: Mapping[Family, Sampling] = field(default_factory=dict)
    """By the family of the target; ``sampling`` for the others."""
    temperatures: Mapping[str, float] = field(default_factory=dict)
    """By the category of a question."""
    stop: tuple[str, ...] = ()
    samples: int = 1
    metrics: tuple[str, ...] = ()
    aggregation: Aggregation = Aggregation.MEAN
    unit: Unit = Unit.PERCENT
    judge: JudgeRequest | None = None
    window: tuple[date, date] | None = None
    """First and last day of the problems."""
    shows_examples: bool = True


QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
"""System message that Qwen2.5's own template has by default, too. Source: FuseEval,
IF-Eval/AlpacaEval-2/configs/qwen_25.txt."""

LLAMA = (Family.LLAMA_3_1, Family.LLAMA_3_2)
