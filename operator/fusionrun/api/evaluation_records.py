"""The rows of the files that the stages of evaluation exchange."""

from fusionrun.api.records import Prompt, Row, Text, TokenCount


class Question(Prompt):
    """A prompt of a benchmark, as its protocol puts it; ``task`` is the ``Grader``."""

    system: Text | None = None
    """System message of the request."""
    prefill: Text | None = None
    """Beginning of the response, which the model continues. Responses do not contain it."""
    later_turns: list[Text] | None = None
    """User messages after the first response, one per further response."""
    options: list[Text] | None = None
    group: Text | None = None
    """Category for mean scores, such as ``reasoning/zebra_puzzle``: from the outer to the inner one."""
    temperature: float | None = None
    """Temperature of the request, if the category has one of its own."""
    references: list[Text] | None = None
    """What a judge compares with: the answer of the baseline, or the reference answer of each turn."""
    data: Text | None = None
    """JSON object with what only the grader of this benchmark reads."""


class Judgement(Row):
    """The reply of a judge to one request."""

    prompt_id: str
    source: str
    """Name of the evaluated model."""
    sample_index: int
    call: int
    """Number of the request among those on this response, such as the game or the turn."""
    attempt: int = 0
    """0, or the number of the further request that the protocol sends after an unusable reply."""
    key: str
    """SHA-256 hash of the request: judge, messages and sampling."""
    model: Text | None = None
    """The judge by its own reply: the name in a request may stand for another version later."""
    text: Text
    logprobs: Text | None = None
    """JSON object: log-probability by token, of the first token. None if the protocol does not request them."""
    finish_reason: str
    """``stop``, ``length`` or ``error``."""
    error: Text | None = None
    prompt_tokens: TokenCount = 0
    completion_tokens: TokenCount = 0


class QuestionScore(Row):
    """The score of a model on one question: the mean over its responses."""

    benchmark: str
    metric: str = ""
    """Empty for the first metric of the protocol."""
    prompt_id: str
    group: Text | None = None
    score: float | None
    """In the unit of the benchmark; None if the question is left out, for every model."""
    weight: float = 1.0
    responses: int = 1
    truncated: int = 0
    failed: int = 0
    blank: int = 0
    unparsed: int = 0
    """Responses without a recognisable answer, or without a usable judgement."""
    characters: int = 0
    """Mean length of the responses, to report the bias of a judge."""
    detail: Text = ""
