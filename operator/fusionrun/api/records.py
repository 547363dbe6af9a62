"""The rows that stages hand to each other, one class per file format.

Files in progress are JSON Lines; finished ones are Parquet with the same fields. ``SCHEMA_VERSION`` is in
every manifest; it changes when a field changes its meaning.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator

from fusionrun.api.contract import Contract
from fusionrun.api.data import Task

MICRO = 1_000_000
"""Scores and costs are integers of one millionth: in floats 0.12 - 0.11 is less than 0.01."""
SCHEMA_VERSION = 1


def replace_surrogates(text: str) -> str:
    r"""Return the text with U+FFFD in the place of every lone surrogate: a text that UTF-8 can write.

    Call it where text comes in that this program did not make: a reply, a program's error, a hub's metadata. JSON may
    hold half of a surrogate pair (``"\ud83d"``, one half of an emoji), and no file of a run can.

    Notes
    -----
    U+FFFD is Unicode's own sign for what could not be read, and stays visible as such; ``?`` could not be told from a
    question mark. Two halves that belong together become their character. Source: ECMAScript, String.toWellFormed.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _refuse_surrogates(text: str) -> str:
    text.encode()  # a UnicodeEncodeError is a ValueError: pydantic reports it with the field
    return text


Text = Annotated[str, AfterValidator(_refuse_surrogates)]
"""Text that UTF-8 can write. A row that holds another is refused when it is made, not when it is written."""


class Row(Contract):
    """A row: snake_case on disk, since its readers are polars, pyarrow and TRL."""

    model_config = Contract.model_config | {"serialize_by_alias": False, "alias_generator": None}


class Prompt(Row):
    """A prompt that the sources answer (or, of a benchmark, that the measured model answers)."""

    prompt_id: str
    """16 hexadecimal digits of the hash of data set and text."""
    dataset: str
    task: str
    """A ``Task`` or, for benchmarks, a ``Grader``."""
    prompt: Text
    answer: Text | None = None
    tests: list[Text] | None = None
    """Statements or whole test programs, run one after the other."""
    entry_point: Text | None = None


class Response(Row):
    """One answer of one source to one prompt; a failed request is a row, too, with its error."""

    prompt_id: str
    dataset: str
    source: str
    sample_index: int
    text: Text
    finish_reason: str
    """``stop``, ``length`` or ``error``."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: Text | None = None


class VerdictValue(StrEnum):
    """Three-valued: unknown is on neither side of a pair."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


class Verdict(Row):
    """Whether a response is right, by rule."""

    prompt_id: str
    source: str
    sample_index: int
    verdict: VerdictValue
    detail: Text = ""


class Score(Row):
    """The reward model's score of a response, as an integer of 1e-6 (floats tie and round)."""

    prompt_id: str
    source: str
    sample_index: int
    score_micro: int


class Message(Row):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


class SftExample(Row):
    """A row of the SFT set. TRL reads ``messages``."""

    prompt_id: str
    dataset: str
    source: str
    messages: list[Message]


class PreferencePair(Row):
    """A row of the DPO set: both sides from one source. TRL reads ``prompt``, ``chosen`` and ``rejected``."""

    prompt_id: str
    dataset: str
    source: str
    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    chosen_score_micro: int
    rejected_score_micro: int


class DropReason(StrEnum):
    """Why a prompt gave neither a row nor a pair."""

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
    UNPARSABLE_ANSWER = "UnparsableAnswer"
    UNSCORED = "Unscored"


__all__ = [
    "SCHEMA_VERSION",
    "DropReason",
    "Message",
    "PreferencePair",
    "Prompt",
    "Response",
    "Score",
    "SftExample",
    "Task",
    "Verdict",
    "VerdictValue",
]
