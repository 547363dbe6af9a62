"""Find the final answer in a response.

Source: ``extract_answer`` in ``evaluation/parser.py`` of QwenLM/Qwen2.5-Math (MIT), for its data sets gsm8k, math and
amc23, and the post-processing of choices in its ``evaluation/math_eval.py``.
"""

import re

from fusionrun_stages.grading.qwen_mathematics.normal_form import normal_form

CHOICES = frozenset("ABCDE")

_NOISE = "\N{CYRILLIC SMALL LETTER KA}\N{CYRILLIC SMALL LETTER I}"
_MINERVA_START, _MINERVA_END = "final answer is $", "$. I hope"
_BOX = "boxed"
_PHRASES = ("he answer is", "final answer is")
_CHINESE_PHRASE = "\u7b54\u6848\u662f"  # "the answer is"
_NUMBER = re.compile(r"-?\d*\.?\d+")
_LINE_BREAK = re.compile(r"\n\s*")
_BRACE = re.compile(r"[{}]")
_CHOICE_PHRASE = re.compile("choice is|answer is")
_CHOICE = re.compile(r"\b[ABCDE]\b")


def final_answer(response: str, gold: str) -> str:
    """Return the normal form of the final answer, or an empty text.

    The gold answer, in its normal form, tells whether a choice is asked for: then the response is also searched for
    letters from A to E.
    """
    response = response.strip()
    answer = normal_form(extract(response))  # a second time, as the harness does
    if gold in CHOICES:
        return answer if answer in CHOICES else choice(response)
    if CHOICES.issuperset(gold) and not CHOICES.issuperset(answer):
        return "".join(letter for letter in answer if letter in CHOICES)
    return answer


def extract(response: str) -> str:
    """Return the normal form of the text that a response marks as its answer, or else of its last number."""
    text = response.replace(_NOISE, "")
    marked = _LINE_BREAK.sub("", _marked(text))
    return normal_form(marked.removeprefix(":").removesuffix(".").removesuffix("/"))


def _marked(text: str) -> str:
    if _MINERVA_START in text and _MINERVA_END in text:
        return text.split(_MINERVA_START, 1)[1].split(_MINERVA_END, 1)[0].strip()
    if _BOX in text:
        return _boxed(text.rpartition(_BOX)[2])
    for phrase in _PHRASES:
        if phrase in text:
            return text.rpartition(phrase)[2].strip()
    if _CHINESE_PHRASE in text:
        return text.split(_CHINESE_PHRASE)[1].strip().split("\n\n", 1)[0].strip()
    numbers = _NUMBER.findall(text.replace(",", ""))
    return numbers[-1] if numbers else ""


def _boxed(text: str) -> str:
    """Return the content of the box whose text starts here. A box that is not closed ends with the text."""
    if not text.startswith("{"):
        return text.partition("$")[0].strip()
    depth = 0
    for brace in _BRACE.finditer(text):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[1 : brace.start()]
    return text[1:]


def choice(text: str) -> str:
    """Return the letter from A to E that a response chooses; else the response itself, trimmed.

    After a phrase such as "the answer is", the first letter counts; without a phrase, the last one. If a phrase occurs
    twice, only the first paragraph is read: a model that continues with further questions answers the first one there.
    """
    text = text.strip("\n")
    if any(text.count(phrase) > 1 for phrase in ("choice is", "answer is")):
        text = text.split("\n\n", 1)[0]
    before: list[str]
    *before, text = _CHOICE_PHRASE.split(text)
    text = text.strip("\n").rstrip(".").rstrip("/").strip(" ").lstrip(":")
    letters: list[str] = _CHOICE.findall(text.upper())
    if not letters:
        return text.strip().strip(".").rstrip(".").rstrip("/")
    return letters[0] if before else letters[-1]
