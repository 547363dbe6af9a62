"""What every judge protocol does. A protocol is pure: ``judge`` sends its requests and stores the replies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Message, Response


@dataclass(frozen=True)
class Call:
    """A request to the judge on one response."""

    number: int
    """Number of the call among those on the response, such as the game or the turn."""
    messages: tuple[Message, ...]
    attempt: int = 0
    """0, or the number of the further request after an unusable reply."""


@dataclass(frozen=True)
class Reply:
    """The reply of the judge to a call."""

    text: str = ""
    logprobs: Mapping[str, float] = field(default_factory=dict)
    """Log-probability of the likeliest first tokens, by token."""
    finish_reason: str = "stop"
    """``stop``, ``length`` or ``error``; with ``error`` there is no text."""


@dataclass(frozen=True)
class Judged:
    """What the replies say about one response."""

    value: float | None
    """Score of the response in the unit of the benchmark; None if no reply is usable."""
    weight: float = 1.0
    """Weight of the question in the mean."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Values of the protocol's other metrics, by name."""
    unparsed: int = 0
    """Calls without a usable verdict."""
    consistent: bool | None = None
    """Whether the judge prefers the same response in both orders; None if the protocol has one order."""


class JudgeProtocol(Protocol):
    """A protocol, opened with its materials."""

    def calls(self, question: Question, response: Response) -> Sequence[Call]:
        """Return the requests to send; none for a response that is scored without the judge."""
        ...

    def next_attempt(self, call: Call, reply: Reply) -> Call | None:
        """Return a further request if the reply is unusable and the protocol asks again."""
        ...

    def judged(self, question: Question, response: Response, replies: Mapping[int, Reply]) -> Judged:
        """Return the score of a response from the last reply to each call, by the call's number."""
        ...
