"""Invented responses to questions of mathematics, in many forms of marking an answer and of writing it."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from oracle.pairs import pairs


class Answered(NamedTuple):
    """A gold answer and a response."""

    kind: str
    gold: str
    response: str


SHAPES = {
    "box": "We add up: 3 + 4 = 7.\n\nThus $\\boxed{{{a}}}$.",
    "several boxes": "First $\\boxed{{{b}}}$. Checking again gives\n\\[\\boxed{{{a}}}\\]",
    "several boxes, the wrong one last": "So $\\boxed{{{a}}}$ and for the other case $\\boxed{{{b}}}$",
    "box and more text": "\\[ \\boxed{{{a}}} \\]\nThis is 12 more than 5, as $x = 9$ shows.",
    "box that is not closed": "The result is \\boxed{{{a}",
    "box without braces": "The result is $\\boxed {a}$ for 3 of them",
    "box with line breaks": "\\boxed{{\n  {a}\n}}",
    "box with a point": "Therefore \\boxed{{{a}.}} .",
    "box in a phrase": "The answer is {b}. No: the final answer is $\\boxed{{{a}}}$.",
    "empty box": "The answer is {a}: \\boxed{{}}",
    "word box at the end": "I put {a} into a frame, that is boxed",
    "the answer is": "After 3 steps, the answer is {a}.",
    "the answer is, twice": "Perhaps the answer is {b}? No, the answer is {a}",
    "the answer is, with a colon": "Hence the answer is: {a}.\n",
    "the answer is, in formula signs": "So The answer is ${a}$.",
    "the answer is, then text": "The answer is {a}, since 2 + 2 = 4.\nAll is well.",
    "the answer is, with an equation": "the answer is $x = {a}$.",
    "final answer is": "My final answer is {a}.",
    "the final answer is": "The final answer is {a}/",
    "Minerva": "Final step. The final answer is ${a}$. I hope it is correct.",
    "Minerva and a box": "\\boxed{{{b}}} The final answer is ${a}$. I hope it is correct.",
    "last number": "There are 14 in the first and {a} in the second.",
    "last number in bold": "1. Count: 14\n2. Total: **{a}**",
    "other heading": "### Answer\n{a}",
    "Chinese phrase": "\u56e0\u6b64\uff0c\u7b54\u6848\u662f{a}",
    "Chinese phrase and more": "\u7b54\u6848\u662f {a}\n\n\u9a8c\u7b97\uff1a3+4=7",
    "Chinese phrase, twice": "\u7b54\u6848\u662f{a}\u3002\u5bf9\u5417\uff1f\u7b54\u6848\u662f{b}",
    "Chinese phrase and a box": "\u7b54\u6848\u662f{b}\uff0c\u5373 $\\boxed{{{a}}}$\u3002",
    "noise of a tokenizer": "\u043a\u0438 \\boxed{{\u043a\u0438{a}}}",
    "thought": "<think>The answer is {b}.</think>\n\\boxed{{{a}}}",
    "white space": "  \n\\boxed{{ {a} }}\n\n",
}
"""Places for the answer ``a`` and for another number, ``b``."""

LETTERS = (
    "\\boxed{{{x}}}",
    "\\boxed{{\\text{{{x}}}}}",
    "\\boxed{{\\textbf{{({x})}}\\ 12}}",
    "The answer is ({x}).",
    "{x}",
    "({x}) 14",
    "Option {y} fails, so {x}.",
    "The choice is {x}, not {y}.",
    "The answer is {x}.\n\nNext question: the answer is {y}.",
    "I choose {x} because A is 3",
    "\\boxed{{14}} which is {x}",
    "the answer is {l}",
    "none",
    "\\boxed{{}}",
    "{x}{y}",
    "{x}/",
    "{x}.:",
)
"""Responses to questions whose gold answer is a letter ``x`` (small: ``l``)."""

SETS = (
    "\\boxed{{{s}}}",
    "The answer is {s}.",
    "\\boxed{{{t}}}",
    "Both {t} and {s}",
    "\\boxed{{{c}}}",
    "\\boxed{{\\text{{{c}}}}}",
    "12",
)
"""Responses to questions whose gold answer is several letters ``s``; ``c`` has commas, ``t`` is another set."""

WRITTEN = Path(__file__).with_name("qwen_written.tsv")
"""Answers, each with other answers to compare it with, separated by tabs."""


def answered() -> Iterator[Answered]:
    """Return all responses, the same each time."""
    chance = random.Random("responses")
    for number, pair in enumerate(pairs(600, seed=29)):
        shapes = list(SHAPES)
        shape = shapes[number % len(shapes)]
        gold = pair.gold.rsplit("####", 1)[-1].strip()
        other = str(chance.randint(2, 999))
        yield Answered(shape, gold, SHAPES[shape].format(a=pair.answer, b=other))
    for form in LETTERS:
        for x, y in ("AB", "CE", "DA", "EB"):
            yield Answered("letter", x, form.format(x=x, y=y, l=x.lower()))
    for form in SETS:
        for s, t in (("AC", "AB"), ("BDE", "ABCDE")):
            yield Answered("letters", s, form.format(s=s, t=t, c=", ".join(s)))
    for line in WRITTEN.read_text(encoding="utf-8").splitlines():
        gold, *others = line.split("\t")
        for other in others:
            yield Answered("written", gold, f"Hence $\\boxed{{{other}}}$.")
            yield Answered("written, the other way round", other, f"Hence $\\boxed{{{gold}}}$.")
