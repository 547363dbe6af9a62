"""Choice: the letter of the option that a response chooses.

The rules are those of MC-Eval, the evaluation of MMLU-Pro, MMLU and GPQA in FuseChat-3.0. Three patterns are tried; the
first one found in the response decides. A response without any is given the option that a seeded random number chooses.
"""

import random
import re

from fusionrun.api.evaluation_records import Question
from fusionrun_stages.grading.marks import Mark

LETTERS = "ABCDEFGHIJKLMNOP"
"""Letters of the options, in their order. Responses are searched for A to J: MMLU-Pro has up to ten options."""
FALLBACK_SEED = 12345
"""Seed of the random option. It is set anew for each question, so that as many options always give the same one."""

_STATED = re.compile(r"answer is \(?([A-J])\)?")
_LABELLED = re.compile(r"[aA](?=nswer:\s*([A-J]))")
_ALONE = re.compile(r"\b[A-J]\b")


def extract_letter(text: str) -> str | None:
    """Return the letter that a response chooses, or None.

    Notes
    -----
    Source: ``extract_answer`` of MC-Eval (SLIT-AI/FuseChat-3.0, Apache-2.0), the same as that of TIGER-AI-Lab/MMLU-Pro.
    Its second and third pattern need quadratic time for some texts; these searches find the same letters in linear
    time.
    """
    if stated := _STATED.search(text):
        return stated[1]
    if labelled := _labelled(text):
        return labelled
    alone = _ALONE.findall(text)
    return alone[-1] if alone else None


def _labelled(text: str) -> str | None:
    """Return the letter after the last ``Answer:`` of the first line that has one."""
    first = _LABELLED.search(text)
    if first is None:
        return None
    line_end = text.find("\n", first.start())
    in_line = _LABELLED.finditer(text, first.start())
    *_, last = (found for found in in_line if line_end < 0 or found.start() < line_end)
    return last[1]


def random_letter(options: int) -> str:
    """Return the letter that stands for a response without an answer, for a number of options of at least 1."""
    return LETTERS[random.Random(FALLBACK_SEED).randint(0, options - 1)]  # noqa: S311 (the rule of the protocol)


def grade(question: Question, text: str) -> Mark:
    """Grade a response by the letter in ``question.answer``.

    The value is None if the question has no options, more than there are letters, or an answer that is not the letter
    of one of them.
    """
    options = len(question.options or ())
    if not 0 < options <= len(LETTERS):
        return Mark(None, f"the question has {options} options, the rule is 1 to {len(LETTERS)}")
    gold = (question.answer or "").strip()
    if len(gold) != 1 or gold not in LETTERS[:options]:
        return Mark(None, f"its answer {gold[:40]!r} is not one of the letters A to {LETTERS[options - 1]}")
    letter = extract_letter(text)
    if letter is None:
        drawn = random_letter(options)
        detail = f"it names no option; the seeded random option is {drawn}"
        return Mark(float(drawn == gold), "" if drawn == gold else detail, parsed=False)
    return Mark(1.0) if letter == gold else Mark(0.0, f"it chooses {letter}")
