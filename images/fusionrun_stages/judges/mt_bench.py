"""MT-Bench: a judge rates the response to each of two turns from 1 to 10.

Questions with references, which are those of mathematics, reasoning and coding, have templates of their own.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Message, Response
from fusionrun_stages.errors import UserError
from fusionrun_stages.judges.protocol import Call, Judged, Reply
from fusionrun_stages.judges.ratings import first_rating
from fusionrun_stages.judges.templates import Template, format_template, read_text, reference

FILE = "judge_prompts.jsonl"
"""As FastChat publishes it in ``fastchat/llm_judge/data``."""

TURNS = (("question", "answer"), ("question_1", "answer_1", "question_2", "answer_2"))
"""Placeholders by turn."""

REFERENCES = (("ref_answer_1",), ("ref_answer_1", "ref_answer_2"))

TEMPLATES = {
    (0, False): "single-v1",
    (0, True): "single-math-v1",
    (1, False): "single-v1-multi-turn",
    (1, True): "single-math-v1-multi-turn",
}
"""Name of the template by turn and whether the question has references."""


class MTBench:
    """Single-answer grading: one request per turn."""

    def __init__(self, folder: Path) -> None:
        source = str(folder / FILE)
        rows = _read_rows(read_text(folder, FILE), source)
        self._templates = {kind: _parse(rows, kind, source) for kind in TEMPLATES}

    def calls(self, question: Question, response: Response) -> Sequence[Call]:
        """Return one request per turn; none for a later turn that the model did not answer."""
        if response.finish_reason == "error":
            return ()
        return tuple(
            Call(turn, self._messages(turn, question, response)) for turn in range(_answered(question, response))
        )

    def _messages(self, turn: int, question: Question, response: Response) -> tuple[Message, ...]:
        has_references = bool(question.references)
        prompts = [question.prompt, *(question.later_turns or ())]
        answers = [response.text, *(response.later_texts or ())]
        if turn == 0:
            values = {"question": prompts[0], "answer": answers[0]}
        else:
            values = {f"question_{n}": prompts[n - 1] for n in (1, 2)} | {f"answer_{n}": answers[n - 1] for n in (1, 2)}
        if has_references:
            values |= {name: reference(question, n) for n, name in enumerate(REFERENCES[turn])}
        system, template = self._templates[turn, has_references]
        return (Message(role="system", content=system), Message(role="user", content=template.fill(values)))

    def next_attempt(self, _call: Call, _reply: Reply) -> Call | None:
        """Return None: the protocol asks once."""
        return None

    def judged(self, question: Question, response: Response, replies: Mapping[int, Reply]) -> Judged:
        """Return the mean rating of the turns, with the number of ratings as weight.

        The weighted mean over the questions is the official score: the mean of all ratings.
        """
        if response.finish_reason == "error":
            return Judged(value=None)
        turns = _answered(question, response)
        found = [first_rating(replies[turn].text) for turn in range(turns) if turn in replies]
        ratings = [rating for rating in found if rating is not None]
        return Judged(
            value=sum(ratings) / len(ratings) if ratings else None,
            weight=float(len(ratings)),
            unparsed=turns - len(ratings),
        )


def _answered(question: Question, response: Response) -> int:
    """Return the number of turns that are judged: the benchmark has two."""
    return 1 + min(1, len(question.later_turns or ()), len(response.later_texts or ()))


def _read_rows(text: str, source: str) -> dict[str, dict[str, Any]]:
    rows = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{source}:{number}: not JSON: {error}") from None
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            raise UserError(f"{source}:{number}: not an object with a name")
        rows[row["name"]] = row
    return rows


def _parse(rows: Mapping[str, dict[str, Any]], kind: tuple[int, bool], source: str) -> tuple[str, Template]:
    """Return the system message and the template of a turn, with or without references."""
    name, (turn, has_references) = TEMPLATES[kind], kind
    row = rows.get(name)
    if row is None:
        raise UserError(f"{source}: the template {name} is missing")
    for field in ("system_prompt", "prompt_template"):
        if not isinstance(row.get(field), str):
            raise UserError(f"{source}: {name}: {field} must be a text")
    names = TURNS[turn] + (REFERENCES[turn] if has_references else ())
    return row["system_prompt"], format_template(row["prompt_template"], f"{source}: {name}", names)
