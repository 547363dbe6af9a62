"""Tasks of lm-eval, the Language Model Evaluation Harness: parameters of stages, and rows of their files."""

from enum import StrEnum
from urllib.parse import parse_qsl, urlencode

from fusionrun.api.contract import Contract
from fusionrun.api.evaluation_records import QuestionScore
from fusionrun.api.records import Row, Text, TokenCount
from fusionrun.api.tasks.protocol import Aggregation

HARNESS_SCHEME = "lm-eval://"
"""Start of the URI of a reference to a task, as ``resolve`` gets it: ``lm-eval://gsm8k?fewShot=8``."""


class HarnessTask(Contract):
    """A task of lm-eval that is a benchmark of the run."""

    name: str
    """Name of the benchmark in the run."""
    task: str
    """Name of a task, a group or a tag of lm-eval, such as ``mmlu_pro``."""
    few_shot: int | None = None
    """Number of examples before each question; None for the number of the task."""
    metric: str | None = None
    """``metric`` or ``metric,filter`` of lm-eval that is the score, such as ``exact_match,flexible-extract``. None for
    the first one that is a mean over the questions."""
    chat_template: bool = True
    """Whether requests are conversations, each example a turn of its own. False: one text, as for a base model."""
    max_tokens: int | None = None
    """Maximum length of a response; None for the limit of the task, or else lm-eval's limit of 256."""
    max_prompts: int | None = None
    """Maximum number of questions, a seeded sample; None for all."""


def task_uri(task: HarnessTask) -> str:
    """Return the URI of a reference to a task, with what ``resolve`` checks."""
    query = {"fewShot": task.few_shot, "metric": task.metric}
    given = urlencode({name: value for name, value in query.items() if value is not None})
    return f"{HARNESS_SCHEME}{task.task}{'?' if given else ''}{given}"


def task_of(uri: str) -> HarnessTask:
    """Return the task of a URI, under its own name."""
    name, _, query = uri.removeprefix(HARNESS_SCHEME).partition("?")
    return HarnessTask.model_validate({**dict(parse_qsl(query)), "name": name, "task": name})


class HarnessModel(Contract):
    """The served model that is measured."""

    base_url: str
    """With ``/v1``. The server is vLLM: likelihoods of texts are no part of the API of chat completions."""
    model: str
    """Name of the model in requests."""
    api_key_env: str | None = None
    concurrency: int
    max_concurrency: int | None = None
    """Default: ``concurrency``, which is then fixed."""
    stall_seconds: int
    seed: int = 42


class HarnessTasks(Contract):
    """Tasks to measure a model on; files ``harness/<benchmark>.json``, ``.parquet`` and ``.scores.parquet``."""

    tasks: list[HarnessTask]
    data: dict[str, str]
    """Folder with the data sets of each task, by the name of the benchmark."""


class HarnessPin(Contract):
    """What ``resolve`` found out about a task, and ``data.json`` in the folder of its data."""

    pin: str
    """Hash of the name of the task, lm-eval's version, the files that define the task, and ``commits``."""
    version: str
    """Version of lm-eval."""
    commits: dict[str, str] = {}
    """Commit of each data set on the hub."""
    content: str | None = None
    """Hash of the questions; None before they are downloaded."""
    documents: int | None = None


class AnswerKind(StrEnum):
    """What a request asked for."""

    TEXT = "Text"
    LIKELIHOOD = "Likelihood"


class HarnessAnswer(Row):
    """The reply to a request of lm-eval."""

    key: str
    """SHA-256 hash of the request."""
    sample_index: int = 0
    """Number of the request among those with the same key that are sampled with a seed."""
    kind: AnswerKind
    text: Text = ""
    logprob: float = 0.0
    """Sum of the log-probabilities of the tokens of the continuation."""
    greedy: bool = False
    """Whether each token of the continuation is the likeliest one."""
    finish_reason: str = "stop"
    """``stop``, ``length`` or ``error``."""
    prompt_tokens: TokenCount = 0
    completion_tokens: TokenCount = 0
    error: Text | None = None


class HarnessSample(Row):
    """A question of a task with its requests, the replies and lm-eval's verdict: one row per filter."""

    benchmark: str
    task: str
    """Name of the task in lm-eval, one of those of a group."""
    doc_id: int
    prompt_id: str
    """As in the scores."""
    filter: Text
    """lm-eval's name of the rule that extracts the answer."""
    requests: list[Text]
    """Each a JSON list: the conversation or the text, then the continuation or the settings of the generation."""
    responses: list[Text]
    """Each a JSON list: the replies to one request. A likelihood is a number and whether it is the likeliest text."""
    extracted: Text
    """JSON list of the answers that the filter extracted."""
    target: Text
    """JSON value of the right answer, or of its index."""
    metrics: Text
    """JSON object: value by metric."""


class HarnessScore(Contract):
    """The score of a model on a benchmark; ``harness/<benchmark>.json``."""

    benchmark: str
    task: str
    metric: str
    """``metric,filter`` that is the score."""
    metrics: list[str] = []
    """All metrics that are means over the questions, the score's first."""
    aggregation: Aggregation
    score: float
    """In percent."""
    official: float | None = None
    """lm-eval's own value of ``metric``, in percent; None if lm-eval has none for a group or tag."""
    groups: dict[str, float] = {}
    """Score by task of a group, in percent."""
    questions: int
    available: int
    """Number of questions of the task."""
    truncated: int = 0
    failed: int = 0
    blank: int = 0
    requests: int = 0
    """Requests whose replies are stored."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    few_shot: dict[str, int] = {}
    """Number of examples by task."""
    versions: dict[str, str] = {}
    """Version of each task, as lm-eval reports it."""
    lm_eval: str
    """Version of lm-eval."""
    content: str
    """Hash of the questions."""
    modified: bool = False
    """Whether the number of examples or questions, the metric, the length of responses or the use of the chat template
    is not the default."""


HarnessQuestionScore = QuestionScore
"""Rows of ``harness/<benchmark>.scores.parquet``: ``metric`` is empty for the score, else ``metric,filter``."""
