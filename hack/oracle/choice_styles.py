"""Invented responses to questions with options, in many styles of naming the option."""

import random
from collections.abc import Iterator
from typing import NamedTuple

LETTERS = "ABCDEFGHIJ"


class Choice(NamedTuple):
    """A response to a question with a number of options and a gold letter."""

    style: str
    text: str
    options: int
    gold: str


STYLES = {
    "stated": ["The best answer is {x}.", "So the answer is {x}", "the answer is ({x}).", "answer is ({x}"],
    "stated, then corrected": [
        "The answer is {y}. Wait, the answer is {x}.",
        "My answer is {x}, as the answer is {y} fails",
    ],
    "stated with other words": ["The answer is option {x}.", "The correct answer would be {x}.", "The answer is: {x}"],
    "stated with emphasis": ["The answer is **{x}**.", "The answer is $\\boxed{{{x}}}$.", "The answer is `{x}`"],
    "stated as a word": [
        "The answer is Approximately {x}",
        "The answer is Iron.",
        "The answer is Knight.",
        "answer is Lemon",
    ],
    "stated without a letter": ["The answer is 42.", "The answer is not known.", "The answer is all of them."],
    "stated in small letters": ["the answer is {l}.", "answer: {l}", "option {l}"],
    "stated in capitals": ["THE ANSWER IS {x}", "ANSWER: {x}", "FINAL ANSWER: {x}."],
    "labelled": ["Answer: {x}", "Final answer: {x}", "answer:{x}", "Answer:   {x}) it is", "My Answer: {x}, not {y}"],
    "labelled on the next line": ["Answer:\n{x}", "Answer:\n\n  {x}. It follows.", "Answer:\t{x}\nAnswer: {y}"],
    "labelled with brackets": ["Answer: ({x})", "Answer: **{x}**", "Answer: [{x}]", "**Answer:** {x}"],
    "labelled twice": [
        "Answer: {y} or Answer: {x}",
        "Answer: {x}\nAnswer: {y}",
        "Answer: Answer: {x}",
        "answer: answer: {x}",
    ],
    "labelled late": [
        "No answer here\nyet\nAnswer: {x} and Answer: Banana",
        "Answer: none\nAnswer: {x}",
        "Answer: 1 Answer: {x}",
    ],
    "labelled as a word": ["Answer: Hydrogen", "Answer: Because {x} holds", "Answer: Xenon, {x}"],
    "boxed": ["\\boxed{{{x}}}", "Thus $\\boxed{{\\text{{{x}}}}}$.", "\\boxed{{({x})}} not {y}"],
    "alone": ["{x}", "{x}.", "({x})", "{x})", "**{x}**", "'{x}'", "-{x}-", "{x}\n"],
    "alone, several": [
        "{y} is wrong, {x} is right",
        "{x} is right, {y} is wrong",
        "Between {y} and {x}: {x}",
        "{x}, {y}",
    ],
    "alone, then a pronoun": ["It is {x}. I am sure.", "{x} it is, I think", "Option {x}. A simple question."],
    "only a pronoun": ["I cannot say.", "A difficult question.", "I give up", "A", "I"],
    "in a word": ["Option{x}", "{x}2 holds", "_{x}_", "x{x}", "{x}{y}", "grade_{x}", "{x}\u00e9"],
    "with a unit": ["It is 20 {x}", "at 30\u00b0{x}", "5{x}", "{x}-flat", "{x}=mc^2", "vitamin {x}!"],
    "out of range": ["The answer is K.", "Answer: P", "K", "Option L", "The answer is (M)", "Z"],
    "in Chinese": [
        "\u7b54\u6848\u662f{x}",
        "\u7b54\u6848\uff1a{x}",
        "\u9009 {x} \u3002",
        "\u7b54\u6848\u662f\uff08{x}\uff09",
    ],
    "in other languages": [
        "Die Antwort ist {x}.",
        "La respuesta es {x}",
        "\u041e\u0442\u0432\u0435\u0442: {x}",
        "R\u00e9ponse : {x}",
    ],
    "none": ["", " ", "\n", "none of these", "42", "?", "no idea at all", "\U0001f600", "the second one"],
    "steps": [
        "## Step 1: Recall\n{y} does not hold.\n## Step 2: Decide\nThe best answer is {x}.",
        "1. {y}\n2. {x}\n3. done",
    ],
    "table": ["| {y} | no |\n| {x} | yes |", "{y}: no\n{x}: yes", "- {x}\n- {y}"],
}
_BEFORE = ["", "Let me think.\n", "First, 3 + 4 = 7. ", "Step by step:\n\n1) The unit matters.\n", "Answer? "]
_AFTER = ["", "\n", " That is all.", "\n\nHope it helps", " (see above)"]


def choices(count: int) -> Iterator[Choice]:
    """Return at least this many different responses, the same each time."""
    chance = random.Random("choice styles")
    made: set[Choice] = set()
    while len(made) < count:
        for style, forms in STYLES.items():
            for form in forms:
                options = chance.choice([4, 4, 5, 9, 10, 10, 10])
                x, y = chance.sample(LETTERS[:options], 2)
                text = form.format(x=x, y=y, l=x.lower())
                if chance.random() < 0.6:
                    text = chance.choice(_BEFORE) + text + chance.choice(_AFTER)
                gold = x if chance.random() < 0.7 else chance.choice(LETTERS[:options])
                one = Choice(style, text, options, gold)
                if one not in made:
                    made.add(one)
                    yield one
