"""AlpacaEval 2: a judge compares a response with that of a baseline, and its log-probabilities are the preference.

The value of a response is the preference for it, in percent; ``length_control`` computes the length-controlled win rate
from these values.
"""

import math
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, cast

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Message, Response
from fusionrun_stages.errors import UserError
from fusionrun_stages.judges.protocol import Call, Judged, Reply
from fusionrun_stages.judges.templates import Template, literal_template, read_text, reference

FILE = "judge.txt"
"""``alpaca_eval_clf.txt``, as alpaca-eval publishes it in ``evaluators_configs/alpaca_eval_clf_gpt4_turbo``."""

NAMES = ("instruction", "output_1", "output_2")

FIRST, SECOND = "m", "M"
"""Tokens by which the judge names ``output_1`` and ``output_2``."""

OFFICIAL_SEED = "0"
"""Seed of alpaca-eval's annotators (annotators/base.py). The order of two outputs is thus the same in every run."""

DRAW = 50.0
WIN_RATE = "winRate"

ChatRole = Literal["system", "user", "assistant"]
BLOCK = re.compile(r"<\|im_start\|>(system|user|assistant)\n(.*?)<\|im_end\|>", re.DOTALL)


class AlpacaEval:
    """The protocol ``weighted_alpaca_eval_gpt4_turbo``: one request per response, in an order drawn per question."""

    def __init__(self, folder: Path) -> None:
        self._messages = _parse(read_text(folder, FILE), str(folder / FILE))

    def calls(self, question: Question, response: Response) -> Sequence[Call]:
        """Return one request; none for the baseline's own text, which is a draw."""
        baseline = reference(question, 0)
        if response.finish_reason == "error" or response.text == baseline:
            return ()
        outputs = (response.text, baseline) if is_switched(question.prompt) else (baseline, response.text)
        values = {"instruction": question.prompt, "output_1": outputs[0], "output_2": outputs[1]}
        messages = tuple(Message(role=role, content=template.fill(values)) for role, template in self._messages)
        return (Call(number=0, messages=messages),)

    def next_attempt(self, _call: Call, _reply: Reply) -> Call | None:
        """Return None: the protocol asks once."""
        return None

    def judged(self, question: Question, response: Response, replies: Mapping[int, Reply]) -> Judged:
        """Return the preference for the response, in percent."""
        if response.finish_reason == "error":
            return Judged(value=None)
        if response.text == reference(question, 0):
            return Judged(value=DRAW, metrics={WIN_RATE: DRAW})
        first = first_preference(replies[0].logprobs) if 0 in replies else None
        if first is None:
            return Judged(value=None, unparsed=1)
        value = 100 * (first if is_switched(question.prompt) else 1 - first)
        return Judged(value=value, metrics={WIN_RATE: value})


def is_switched(instruction: str) -> bool:
    """Return whether the response is ``output_1`` and the baseline ``output_2``.

    Source: alpaca-eval, annotators/pairwise_evaluator.py and utils.random_seeded_choice.
    """
    return random.Random(f"is_switched_outputs{instruction}{OFFICIAL_SEED}").choices([False, True])[0]  # noqa: S311 - not for security


def first_preference(logprobs: Mapping[str, float]) -> float | None:
    """Return p(m) / (p(m) + p(M)); a missing token has probability 0, and without both there is no preference.

    Source: alpaca-eval, completion_parsers.logprob_parser.
    """
    first, second = logprobs.get(FIRST, -math.inf), logprobs.get(SECOND, -math.inf)
    top = max(first, second)
    if not math.isfinite(top):
        return None
    return math.exp(first - top) / (math.exp(first - top) + math.exp(second - top))


def _parse(text: str, source: str) -> tuple[tuple[ChatRole, Template], ...]:
    """Split the ChatML template into messages.

    Notes
    -----
    The official code fills the template first and splits it then, so that a response with ``<|im_end|>`` ends the
    message there. Here responses cannot change the messages.
    """
    blocks = BLOCK.findall(text)
    if not blocks or BLOCK.sub("", text).strip():
        raise UserError(f"{source}: not blocks of <|im_start|>role … <|im_end|> only")
    literal_template(text, source, NAMES, NAMES)  # each placeholder is in some block
    return tuple(
        (cast(ChatRole, role), literal_template(content.strip(), source, NAMES, _present(content)))
        for role, content in blocks
    )


def _present(content: str) -> list[str]:
    return [name for name in NAMES if f"{{{name}}}" in content]
