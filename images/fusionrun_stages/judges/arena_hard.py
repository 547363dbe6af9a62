"""Arena-Hard v0.1: a judge compares a response with that of the baseline, in both orders.

A clear verdict (``A>>B``) counts three times. The value of a response is its share of the weighted battles in percent,
and the weight of the question is the number of its battles: the weighted mean over all questions is the win rate that
the official Bradley-Terry model gives for two models.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Message, Response
from fusionrun_stages.errors import UserError
from fusionrun_stages.judges.protocol import Call, Judged, Reply
from fusionrun_stages.judges.templates import format_template, read_text, reference

FILE = "judge.yaml"
ORIGIN = "judge_configs/judge_config.yaml of FuseEval/IF-Eval/Arena-Hard in github.com/SLIT-AI/FuseChat-3.0"
"""The configuration of version 0.1. Later ones in lmarena/arena-hard-auto have no system message."""

NAMES = ("question_1", "answer_1", "answer_2")

GAMES = 2
"""In the first, A is the baseline; in the second, A is the response."""

ATTEMPTS = 2
CONTINUE = "continue your judgment and finish by outputting a final verdict label"
"""The message after a reply without a verdict. Source: Arena-Hard, gen_judgment.py."""

VERDICT = re.compile(r"\[\[([AB<>=]+)\]\]")

OUTCOMES = {"A>>B": (1.0, 3), "A>B": (1.0, 1), "A=B": (0.5, 1), "B>A": (0.0, 1), "B>>A": (0.0, 3)}
"""Share of A and number of battles, by verdict. Source: Arena-Hard, show_result.py, with the default weight 3."""

SHARE_MIN = 1e-9
"""Smallest share of the battles in a round of the bootstrap: the logarithm of the odds must be finite."""


class ArenaHard:
    """Two games per response, each with a second attempt if the reply has no verdict."""

    def __init__(self, folder: Path) -> None:
        source = str(folder / FILE)
        settings = _parse_yaml(read_text(folder, FILE), source)
        system, templates = settings.get("system_prompt"), settings.get("prompt_template")
        if not isinstance(system, str):
            raise UserError(f"{source}: system_prompt must be a text; use the file {ORIGIN}")
        if not (isinstance(templates, list) and len(templates) == 1 and isinstance(templates[0], str)):
            raise UserError(f"{source}: prompt_template must be a list of one text; use the file {ORIGIN}")
        self._system = Message(role="system", content=system)
        self._template = format_template(templates[0], f"{source}: prompt_template", NAMES)

    def calls(self, question: Question, response: Response) -> Sequence[Call]:
        """Return the requests of the two games."""
        if response.finish_reason == "error":
            return ()
        baseline = reference(question, 0)
        orders = ((baseline, response.text), (response.text, baseline))
        return tuple(Call(game, self._messages(question.prompt, *order)) for game, order in enumerate(orders))

    def _messages(self, prompt: str, a: str, b: str) -> tuple[Message, ...]:
        content = self._template.fill({"question_1": prompt, "answer_1": a, "answer_2": b})
        return (self._system, Message(role="user", content=content))

    def next_attempt(self, call: Call, reply: Reply) -> Call | None:
        """Ask once more for a verdict, after a reply without one."""
        if reply.finish_reason == "error" or call.attempt + 1 >= ATTEMPTS or VERDICT.search(reply.text):
            return None
        further = (Message(role="assistant", content=reply.text), Message(role="user", content=CONTINUE))
        return Call(call.number, (*call.messages, *further), call.attempt + 1)

    def judged(self, _question: Question, response: Response, replies: Mapping[int, Reply]) -> Judged:
        """Return the share of the battles that the response wins, in percent; a draw is half a win."""
        if response.finish_reason == "error":
            return Judged(value=None)
        games = [_outcome(game, replies.get(game)) for game in range(GAMES)]
        found = [game for game in games if game is not None]
        weight = sum(count for _, count in found)
        return Judged(
            value=100 * sum(share * count for share, count in found) / weight if weight else None,
            weight=float(weight),
            unparsed=GAMES - len(found),
            consistent=len({share for share, _ in found}) == 1 if len(found) == GAMES else None,
        )


def read_verdict(text: str) -> str | None:
    """Return the verdict of a judgement: the label in double brackets, if all are the same."""
    labels = set(VERDICT.findall(text))
    return labels.pop() if len(labels) == 1 else None


def battles(replies: Mapping[int, Reply]) -> list[float]:
    """Return the battles of a response: 1 for a win, 0 for a loss and 0.5 for a draw; a clear verdict gives three."""
    games = [_outcome(game, replies.get(game)) for game in range(GAMES)]
    return [share for outcome in games if outcome is not None for share in [outcome[0]] * outcome[1]]


def _outcome(game: int, reply: Reply | None) -> tuple[float, int] | None:
    """Return the share of the response and the number of battles."""
    outcome = OUTCOMES.get(read_verdict(reply.text) or "") if reply is not None else None
    if outcome is None:
        return None
    share, count = outcome
    return (1 - share if game == 0 else share), count


def interval(outcomes: Iterable[float], rounds: int = 100, seed: int = 42) -> tuple[float, float]:
    """Return the official 95 % interval of the win rate, in percent, by a bootstrap over battles.

    Parameters
    ----------
    outcomes
        The ``battles`` of all responses, in the order of the questions.
    rounds, seed
        As in Arena-Hard, show_result.py and utils_math.py.

    Notes
    -----
    The official code fits a Bradley-Terry model in each round and takes the percentiles of its ratings. With two models
    the fit has a closed form: the odds are those of the wins, where a draw is half a win. Battles of one question are
    not independent, so this interval is too narrow; it is here to compare scores with published ones.
    """
    import numpy as np

    won = np.fromiter(outcomes, dtype=float)
    if not won.size:
        raise ValueError("there are no battles")
    random = np.random.RandomState(seed)  # the generator that pandas uses for DataFrame.sample
    shares = np.array([won[random.choice(won.size, size=won.size, replace=True)].mean() for _ in range(rounds)])
    shares = shares.clip(SHARE_MIN, 1 - SHARE_MIN)
    bounds = np.percentile(np.log(shares / (1 - shares)), [2.5, 97.5])
    lower, upper = (100 / (1 + np.exp(-bounds))).tolist()
    return lower, upper


def _parse_yaml(text: str, source: str) -> dict[str, Any]:
    import yaml

    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{source}: not YAML: {error}") from None
    if not isinstance(settings, dict):
        raise UserError(f"{source}: not a mapping with system_prompt and prompt_template")
    return settings
