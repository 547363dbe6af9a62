"""The rows of the files that stages exchange, one class per file format.

Files in progress are JSON Lines; finished files are Parquet with the same fields. ``SCHEMA_VERSION`` is in every
manifest. It changes if the meaning of a field changes.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from fusionrun.api.contract import Contract

MICRO = 1_000_000
"""Scores and costs are integers in millionths: in floats, 0.12 - 0.11 is less than 0.01."""
SCHEMA_VERSION = 1


def replace_surrogates(text: str) -> str:
    r"""Return the text with every lone surrogate replaced by U+FFFD, so that UTF-8 can encode it.

    Call it for all external text: replies, errors of programs, metadata of a hub. JSON can contain half of a surrogate
    pair (``"\ud83d"``, half of an emoji); the files of a run cannot.

    Notes
    -----
    U+FFFD is Unicode's replacement character; ``?`` would look like a question mark. Two surrogates that form a pair
    become their character. Source: ECMAScript, String.toWellFormed.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _refuse_surrogates(text: str) -> str:
    text.encode()  # a UnicodeEncodeError is a ValueError: pydantic reports it with the field
    return text


Text = Annotated[str, AfterValidator(_refuse_surrogates)]
"""Text that UTF-8 can encode. Other text is refused when a row is created, not when it is written."""


def _clamp_count(value: Any) -> Any:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return value if is_count else 0


TokenCount = Annotated[int, BeforeValidator(_clamp_count)]
"""A count that a server reported: an int64; 0 if it reported anything else.

A wrong count loses nothing. An error would lose the response, which may have been paid for.
"""


class Row(Contract):
    """A row, with snake_case names on disk for polars, pyarrow and TRL."""

    model_config = Contract.model_config | {"serialize_by_alias": False, "alias_generator": None}


class Message(Row):
    """A message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


class Prompt(Row):
    """A prompt of a data set or of a benchmark."""

    prompt_id: str
    """16 hexadecimal digits of the hash of data set and text."""
    dataset: str
    task: str
    """A ``Task`` or, for benchmarks, a ``Grader``."""
    prompt: Text
    """The last turn: what the sources respond to."""
    history: list[Message] | None = None
    """The turns before ``prompt``, from user and assistant in turn. None for a prompt of one turn, and in prompts that
    releases up to 0.2.0 wrote."""
    answer: Text | None = None
    tests: list[Text] | None = None
    """Statements or whole test programs, run in sequence."""
    entry_point: Text | None = None
    preamble: Text | None = None
    """Code that runs before each program and its tests. Prompts that earlier releases wrote do not have it."""

    @property
    def messages(self) -> list[Message]:
        """The whole conversation; the last message is ``prompt``."""
        return [*(self.history or ()), Message(role="user", content=self.prompt)]


class Response(Row):
    """A response of a source to a prompt, or the error of a failed request."""

    prompt_id: str
    dataset: str
    source: str
    sample_index: int
    text: Text
    """The answer: it may be blank."""
    finish_reason: str
    """``stop``, ``length`` or ``error``."""
    prompt_tokens: TokenCount = 0
    completion_tokens: TokenCount = 0
    error: Text | None = None
    reasoning: Text | None = None
    """What the model wrote before the answer; no stage uses it."""
    later_texts: list[Text] | None = None
    """The answers to the later turns of a question. ``finish_reason`` is then ``stop`` if all have ended."""


class VerdictValue(StrEnum):
    """Whether a response is correct. Unknown responses are not used in pairs."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


class Verdict(Row):
    """The verdict of a rule on a response."""

    prompt_id: str
    source: str
    sample_index: int
    verdict: VerdictValue
    detail: Text = ""
    plus: VerdictValue | None = None
    """Verdict of all tests of EvalPlus; ``verdict`` is then that of the base tests."""


class Score(Row):
    """The reward model's score of a response, as an integer in millionths."""

    prompt_id: str
    source: str
    sample_index: int
    score_micro: int


class SftExample(Row):
    """A row of the SFT set. TRL reads ``messages``."""

    prompt_id: str
    dataset: str
    source: str
    source_model: str = ""
    """Name of the source's model, as in the rows that the authors published."""
    messages: list[Message]


class PreferencePair(Row):
    """A row of the DPO set: both sides from one source. TRL reads ``prompt``, ``chosen`` and ``rejected``."""

    prompt_id: str
    dataset: str
    source: str
    source_model: str = ""
    """Name of the source's model, as in the rows that the authors published."""
    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    chosen_score_micro: int
    rejected_score_micro: int


class DropReason(StrEnum):
    """Why a prompt became neither a row nor a pair (docs/data.md)."""

    SOLUTION_FAILED = "SolutionFailed"
    NO_RESPONSE = "NoResponse"
    NO_CORRECT_RESPONSE = "NoCorrectResponse"
    ALL_CORRECT = "AllCorrect"
    MARGIN_BELOW = "MarginBelow"
    MARGIN_ABOVE = "MarginAbove"
    TRUNCATED = "Truncated"
    SINGLE_RESPONSE = "SingleResponse"
    DUPLICATE = "Duplicate"
    NEAR_DUPLICATE = "NearDuplicate"
    CODE = "Code"
    MATHEMATICS = "Mathematics"
    CONTAMINATED = "Contaminated"
    OVER_LIMIT = "OverLimit"
    OVER_MAX_KEPT = "OverMaxKept"
    BAD_ROW = "BadRow"
    NO_TESTS = "NoTests"
    UNPARSABLE_ANSWER = "UnparsableAnswer"
    UNSCORED = "Unscored"
