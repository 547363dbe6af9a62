"""AlignBench v1.1: a judge rates a Chinese response by the dimensions of its kind, and then as a whole, from 1 to 10.

The repository of AlignBench has no file for its template: it is a text in ``judge.py``, which is parsed and never run.
"""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Message, Response
from fusionrun_stages.errors import UserError
from fusionrun_stages.judges.protocol import Call, Judged, Reply
from fusionrun_stages.judges.ratings import RATING_MAX
from fusionrun_stages.judges.templates import format_template, read_text, reference

TEMPLATE_FILE, TEMPLATE_NAME = "judge.py", "base_prompt"
KINDS_FILE = "subcategory_question_mapping.json"
"""Kind of question by subcategory."""
SETS_FILE = "dimension_set.json"
"""Dimensions by kind of question."""
DEFINITIONS_FILE = "dimension_definition.json"
"""All as THUDM/AlignBench publishes them, the JSON files in ``config``."""

NAMES = ("category", "dimensions", "question", "reference", "answer")

OVERALL = "综合得分"
UNPARSED = -1.0
"""The score of a reply without a rating, which the official means include."""

RATING = re.compile(r"': (\d+)")
FALLBACK = re.compile(rf"'{OVERALL}': (\d+(\.\d{{1,2}})?)")
"""Both: AlignBench, judge.py, post_process."""


class AlignBench:
    """One request per response, with the reference answer."""

    def __init__(self, folder: Path) -> None:
        source = folder / TEMPLATE_FILE
        text = _find_text(read_text(folder, TEMPLATE_FILE), str(source))
        self._template = format_template(text, f"{source}: {TEMPLATE_NAME}", NAMES)
        self._kinds_file = str(folder / KINDS_FILE)
        self._dimensions = _read_dimensions(folder)

    def calls(self, question: Question, response: Response) -> Sequence[Call]:
        """Return the request."""
        if response.finish_reason == "error":
            return ()
        category, subcategory = _categories(question)
        if subcategory not in self._dimensions:
            raise UserError(f"{self._kinds_file}: the subcategory {subcategory!r} of a question is missing")
        content = self._template.fill(
            {
                "category": category,
                "dimensions": self._dimensions[subcategory],
                "question": question.prompt,
                "reference": reference(question, 0),
                "answer": response.text,
            }
        )
        return (Call(0, (Message(role="user", content=content),)),)

    def next_attempt(self, _call: Call, _reply: Reply) -> Call | None:
        """Return None: the protocol asks once."""
        return None

    def judged(self, _question: Question, response: Response, replies: Mapping[int, Reply]) -> Judged:
        """Return the overall rating; -1 if the reply has none, and None if the request failed."""
        if response.finish_reason == "error":
            return Judged(value=None)
        reply = replies.get(0)
        if reply is None or reply.finish_reason == "error":
            return Judged(value=None, unparsed=1)
        rating = overall_rating(reply.text)
        return Judged(value=UNPARSED, unparsed=1) if rating is None else Judged(value=rating)


def overall_rating(text: str) -> float | None:
    """Return the overall rating of a judgement, or None.

    Notes
    -----
    It is read from the last braces; a decimal there is cut, as in the official code. The official code averages a
    number above 10 like any other. Here it is not a rating.
    """
    found = read_ratings(last_braces(text) or "").get(OVERALL)
    if found is None:
        match = FALLBACK.search(text)
        found = match[1] if match else None
    return float(found) if found is not None and float(found) <= RATING_MAX else None


def read_ratings(text: str) -> dict[str, str]:
    r"""Return what the official pattern ``'(.*?)': (\d+)`` finds in one line, in linear time: numbers by name."""
    found = {}
    end = 0
    while (start := text.find("'", end)) >= 0 and (match := RATING.search(text, start + 1)):
        found[text[start + 1 : match.start()]] = match[1]
        end = match.end()
    return found


def last_braces(text: str) -> str | None:
    r"""Return what the official pattern ``{(.*?)}(?![^{]*{)`` finds, in linear time.

    The braces close at the first ``}`` after the last ``{``, and open at the first ``{`` of that line.
    """
    end = text.find("}", text.rfind("{") + 1)
    line = text.rfind("\n", 0, max(end, 0)) + 1
    start = text.find("{", line, end) if end >= 0 else -1
    return text[start + 1 : end] if start >= 0 else None


def _categories(question: Question) -> tuple[str, str]:
    data = json.loads(question.data or "{}")
    category, subcategory = data.get("category"), data.get("subcategory")
    if not isinstance(category, str) or not isinstance(subcategory, str):
        where = f"benchmark {question.dataset}, prompt {question.prompt_id}"
        raise UserError(f"{where}: category and subcategory must be texts, not {category!r} and {subcategory!r}")
    return category, subcategory


def _find_text(code: str, source: str) -> str:
    """Return the text that is assigned to ``base_prompt``."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UserError(f"{source}: not Python: {error}") from None
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign)
            and [ast.unparse(target) for target in node.targets] == [TEMPLATE_NAME]
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            return node.value.value
    raise UserError(f"{source}: no text is assigned to {TEMPLATE_NAME}")


def _read_dimensions(folder: Path) -> dict[str, str]:
    """Return the numbered dimensions with their definitions, one per line, by subcategory."""
    kinds, sets, definitions = (_read_object(folder, name) for name in (KINDS_FILE, SETS_FILE, DEFINITIONS_FILE))
    described = {}
    for subcategory, kind in kinds.items():
        names = sets.get(kind) if isinstance(kind, str) else None
        if not isinstance(names, list):
            raise UserError(f"{folder / SETS_FILE}: the kind {kind!r} of subcategory {subcategory!r} has no list")
        for name in names:
            if not isinstance(name, str) or not isinstance(definitions.get(name), str):
                raise UserError(f"{folder / DEFINITIONS_FILE}: the dimension {name!r} has no definition")
        lines = (f"{number}. {name}: {definitions[name]}\n" for number, name in enumerate(names, start=1))
        described[subcategory] = "".join(lines)
    return described


def _read_object(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads(read_text(folder, name))
    except ValueError as error:
        raise UserError(f"{folder / name}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{folder / name}: not a JSON object")
    return found
