"""Find the final answer in a response: a box, a phrase such as "the answer is", or the last number.

A box has precedence, and the last one counts. What a model writes while it thinks (``<think>``) is no answer.
"""

import re
from dataclasses import dataclass, field

from fusionrun_stages.grading.mathematics.reading.clean import closing
from fusionrun_stages.models.reasoning import CLOSING, OPENING

RESPONSE_MAX = 100_000
"""Of a longer response only the end is read: it contains the final answer."""
ANSWER_MAX = 2_000

_BOX = re.compile(r"\\(?:boxed|fbox)")
_BETWEEN_BOXES = re.compile(
    r"[\s$,;.&\\()\[\]]*(?:[a-z]{1,12},? (?=or\b))?(?:and|or|und|和|或)?[\s$,;&\\()\[\]]*"
    r"|\s*\$?\s*(?:,|;)\s*\$?[a-z]\s*=\s*"
)
_PHRASE = re.compile(
    r"(?i)(?:\b(?:final |correct )?(?:answers?|option|choice|result)\b[^.\n:=$\\]{0,40}?"
    r"(?::|\b(?:is|are|would be|equals)\b:?)"
    r"|答案(?:是|为|：|:)|答(?:：|:)|\bcorrect (?:option|choice)\b)"
)
_UNIT_AFTER = re.compile(r"[ ]{0,4}(?:\$|\\\)|\\\])?[ ]{0,4}(\\?%|\^\{?\\circ\}?)")
_GOES_ON = re.compile(r"[ ]{0,4}(?:\\times|\\cdot|\^|!|\+|/)")
_CORRECT = re.compile(r"(?i:option|choice) \(?([A-J])\)? (?:is|must be)(?: the)? (?:correct|right)")
_ONLY_CHOICE = re.compile(r"\(?([A-J])\)?\.?")
_FORMULA = re.compile(r"(?<!\\)\$\$?([^$]{1,2000})\$\$?|\\\(([^\n]{1,2000}?)\\\)|\\\[(.{1,2000}?)\\\]", re.DOTALL)
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_NUMBER = re.compile(
    r"(?<![a-zA-Z0-9_.])(?:\\?\$)?-?"
    r"(?:[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+|(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?)"
    r"(?:[eE][+-]?[0-9]+| +[0-9]+/[0-9]+|/[0-9]+|:[0-9]{2})?(?:\\?%)?(?:[kKMB]\b|(?![a-zA-Z0-9_]))"
    r"(?: (?:hundred|thousand|million|billion|trillion)\b)?"
)
"""Letters of other alphabets may touch a number: Chinese and Korean write no space between them."""
_SENTENCE_END = re.compile(r"[.。](?=\s|$)(?<![ap]\.m\.)|\n|(?<!\\)!\s")
_CORRECTED = re.compile(
    r"(?i)\b(?:wait|actually|mistaken?|incorrect|correction|on second thought|let me (?:re\w*|double|check))\b"
)
"""Words after the answer with which a model takes it back."""
_NEGATED = re.compile(r"(?i)\b(?:not|never|neither|cannot|unlike|instead)\b|n't\b|\?|不")
_REJECTED_BEFORE = re.compile(r"(?i)\b(?:not|n't|never|is it|could it be) (?:\$|\\\(|\\\[)?$")
_REJECTED_AFTER = re.compile(r"(?i)[\s$.)\\\]]{0,6}(?:\?|(?:is|was|would be|must be) (?:wrong|incorrect|impossible)\b)")
"""Words around a box that is not the answer."""
_PARTS = re.compile(r"(?i)[0-9] (?:out of|in|of every|to) [0-9]|[0-9] [a-z]{2,10},? and [0-9.]+ [a-z]{2,10}\b")
"""Numbers that are one value together: ``1 in 3``, ``4 hours and 30 minutes``."""
_REASON = re.compile(
    r",? (?:because|since|as |so that|which|where|when |not |after |for |if )"
    r"|, (?:so|and so|but|giving|meaning)\b| \(since"
)


@dataclass(frozen=True)
class Final:
    """The final answer of a response."""

    text: str
    marked: bool = True
    """Whether the response says that this is the answer."""
    others: tuple[str, ...] = field(default=())
    """Other candidates: boxes for parts of the answer, or numbers near the end."""
    doubtful: bool = False
    """Whether the text may be only a part of the answer."""


def strip_thinking(response: str) -> tuple[str, bool]:
    """Return the response without what the model wrote while it thought, and whether there was any."""
    ends = [tag.end() for tag in CLOSING.finditer(response)]
    answer = response[ends[-1] :] if ends else response
    start = OPENING.search(answer)
    if start is not None:  # never closed
        answer = answer[: start.start()]
    return answer, bool(ends or start)


def find_final(response: str) -> Final | None:
    """Return the final answer, or None if there is none."""
    if tagged := _find_tag(response):
        return find_box(tagged) or Final(tagged)
    if only := _ONLY_CHOICE.fullmatch(response.strip()):
        return Final(only[1])
    if (choices := _CORRECT.findall(response)) and "boxed" not in response:
        return Final(choices[-1])
    return find_box(response) or _find_hashes(response) or _find_phrase(response) or _find_last(response)


def _find_tag(response: str) -> str:
    """Return the text in the last ``<answer>``, or an empty one."""
    end = response.rfind("</answer>")
    start = response.rfind("<answer>", 0, end) if end >= 0 else -1
    text = response[start + len("<answer>") : end].strip() if start >= 0 else ""
    return text if len(text) <= ANSWER_MAX else ""


def find_box(response: str) -> Final | None:
    """Return the content of the last box, or of the last boxes if only ``and`` or a comma parts them."""
    places = [(found.start(), found.end()) for found in _BOX.finditer(response)][-20:]
    boxes: list[tuple[int, int, str, bool]] = []
    for start, after in places:
        content, end, whole = _content(response, after)
        if content.strip() and not (boxes and start < boxes[-1][1]):
            boxes.append((start, end, content.strip(), whole))
        elif content.strip():
            boxes[-1] = (boxes[-1][0], boxes[-1][1], content.strip(), whole)  # a box in a box
    if not boxes:
        return None
    last = len(boxes) - 1
    while last > 0 and _BETWEEN_BOXES.fullmatch(response[boxes[last - 1][1] : boxes[last][0]][:40]):
        last -= 1
    joined = [box[2] for box in boxes[last:]]
    start, end, content, whole = boxes[-1]
    content = ", ".join(dict.fromkeys(joined)) if len(joined) > 1 else content
    before = response[max(0, start - 8) : start].rstrip()
    if before.endswith("-"):
        content = f"-({content})"
        whole = whole and before[:-1].rstrip(" ").endswith(("=", "$", "(", "[", ":", "is"))
    if (unit := _UNIT_AFTER.match(response, end)) is not None and len(joined) == 1:
        content += unit[1]
    elif _GOES_ON.match(response, end):
        whole = False
    whole = whole and not _is_corrected(response, end) and not _is_rejected(response, start, end)
    return Final(content, others=tuple(dict.fromkeys(box[2] for box in boxes)), doubtful=not whole)


def _is_corrected(response: str, end: int) -> bool:
    return _CORRECTED.search(response, end, end + ANSWER_MAX) is not None


def _is_rejected(response: str, start: int, end: int) -> bool:
    return bool(_REJECTED_BEFORE.search(response[max(0, start - 20) : start]) or _REJECTED_AFTER.match(response, end))


def _content(response: str, after: int) -> tuple[str, int, bool]:
    while after < len(response) and response[after] == " ":
        after += 1
    if response[after : after + 1] == "{":
        end = closing(response[after : after + ANSWER_MAX], 0)
        if end > 0:
            return response[after + 1 : after + end], after + end + 1, True
        line = re.match(r"[^\n$]{0,200}", response[after + 1 :])
        return line[0] if line else "", after + 1, False
    token = re.compile(r"-?[\w.]{1,40}").match(response, after)
    return (token[0], token.end(), True) if token else ("", after, True)


def _find_hashes(response: str) -> Final | None:
    """Return what follows ``####``, the mark of GSM8K (openai/grade-school-math)."""
    place = response.rfind("\n####") if "\n####" in response else (0 if response.startswith("####") else -1)
    if place < 0:
        return None
    line = response[place:].strip().lstrip("#").strip().split("\n", 1)[0].strip()
    words = _phrase_end(line)
    if words and re.search(r"[0-9$\\]", line):
        return Final(line[words:].strip())
    return Final(line) if re.search(r"[0-9\\$]", line) and len(line) <= ANSWER_MAX else None


def _phrase_end(text: str) -> int:
    end = 0
    for found in _PHRASE.finditer(text):
        end = found.end()
    return end


def _find_phrase(response: str) -> Final | None:
    """Return what follows the last "answer is"."""
    place = _phrase_end(response)
    if place == 0:
        return None
    tail = re.sub(r"^(?:option|choice) ", "", response[place : place + ANSWER_MAX].lstrip(" *:_\n"))
    if not tail:
        return None
    if tail.lower().startswith("not ") or _is_corrected(response, place):
        return Final(_first_sentence(tail, 0), doubtful=True)
    formula = _FORMULA.match(tail)
    return _plain_sentence(tail) if formula is None else _formula_in_sentence(tail, formula)


def _formula_in_sentence(tail: str, formula: re.Match[str]) -> Final:
    sentence = _first_sentence(tail, formula.end())
    short = _formula_text(formula)
    if not sentence[formula.end() :].strip(" .*"):
        return Final(short)
    return Final(_without_reason(sentence, formula.end()), others=(short,))


def _plain_sentence(tail: str) -> Final:
    sentence = _first_sentence(tail, 0).strip(" *")
    if sentence.endswith("!"):
        return Final(sentence.rstrip("!"), doubtful=True)  # a factorial, or joy
    return Final(_without_reason(sentence, 0).strip(" *"), others=tuple(_NUMBER.findall(sentence)[:20]))


def _first_sentence(text: str, begin: int) -> str:
    found = _SENTENCE_END.search(text, begin)
    return text[: found.start()] if found else text


def _without_reason(text: str, begin: int) -> str:
    found = _REASON.search(text, begin)
    return text[: found.start()] if found and found.start() > 0 else text


def _find_last(response: str) -> Final | None:
    """Return the last formula or number of the last paragraph; those of the paragraphs before it are other candidates.

    The last paragraph may be a remark after the answer.
    """
    tail = response[-ANSWER_MAX:]
    paragraphs = [part for part in tail.split("\n") if re.search(r"[\w\\$]", part)]
    last = paragraphs[-1] if paragraphs else ""
    candidates = _candidates(last) or _formulas(tail)[-1:]
    bold = _BOLD.findall(tail)
    if not candidates:
        return Final(bold[-1], marked=False) if _BOLD.search(last) else None
    earlier = [text for part in paragraphs[-4:-1] for text in _candidates(part)]
    others = tuple(dict.fromkeys([*bold, *earlier, *candidates]))
    doubtful = bool(_NEGATED.search(last) or _PARTS.search(last))
    return Final(candidates[-1], marked=False, others=others[-30:], doubtful=doubtful)


def _candidates(paragraph: str) -> list[str]:
    """Return the formulas and numbers in the order of their ends."""
    formulas = [(found.end(), _formula_text(found)) for found in _FORMULA.finditer(paragraph)]
    numbers = [(found.end(), found[0]) for found in _NUMBER.finditer(paragraph)]
    return [text for _, text in sorted(formulas + numbers)]


def _formulas(text: str) -> list[str]:
    return [_formula_text(found) for found in _FORMULA.finditer(text)]


def _formula_text(found: re.Match[str]) -> str:
    return (found[1] or found[2] or found[3]).strip()
