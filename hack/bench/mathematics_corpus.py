r"""Answers to mathematics prompts, seeded: eight samples each, in the notations that chat models use.

Reference answers: 55 % integers, 13 % fractions, 7 % decimals, 15 % expressions (roots, polynomials, multiples of pi),
5 % points and intervals, 3 % sets, 2 % equations. An answer is a solution of about 600 characters with formulas between
``$`` or ``\(``, and ends with a box between dollars (45 %), a plain box (35 %), a phrase such as "The answer is" (15 %)
or no marker (5 %). 60 % of the answers are right, a third of these in another notation than the reference.
"""

import random
from collections.abc import Iterator

from fusionrun_stages.grading.mathematics import Problem

SAMPLES = 8
KINDS = {"integer": 55, "fraction": 13, "decimal": 7, "expression": 15, "point": 5, "set": 3, "equation": 2}
STEPS = (
    "We first write {a} as a sum of two terms, {d}{a} = {b} + {c}{e}, and look at each of them in turn.",
    "Substituting x = {b} into the equation gives {d}x^2 - {a}x + {c} = {f}{e}, which we simplify.",
    "There are {a} ways to choose the first and {b} for the second, so {d}{a} \\cdot {b} = {f}{e} in all.",
    "The triangle has sides {a}, {b} and {c}; by the law of cosines, {d}\\cos C = \\frac{{{b}}}{{{f}}}{e}.",
    "Dividing both sides by {b}, we get {d}\\frac{{{a}x}}{{{b}}} = {c}{e}.",
    "Note that the remainder of {f} modulo {b} is {c}, since {d}{f} = {a} \\times {b} + {c}{e}.",
    "Therefore the total is {d}{a} + {b} - {c}{e}, and we only have to check the boundary cases.",
)


def questions(count: int, seed: int = 42) -> Iterator[Problem]:
    """Yield questions with their answers."""
    chance = random.Random(seed)
    for _ in range(count):
        kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
        gold, others, wrongs = _value(kind, chance)
        yield Problem(gold, [_answer(gold, others, wrongs, chance) for _ in range(SAMPLES)])


def _value(kind: str, chance: random.Random) -> tuple[str, list[str], list[str]]:  # noqa: PLR0911 (one per kind)
    """Return a reference answer, other notations of it, and wrong answers."""
    n, m, k = chance.randint(2, 400), chance.randint(2, 20), chance.randint(2, 9)
    match kind:
        case "integer":
            value = chance.choice([n, n, n, -n, n * 1000])
            others = [f"{value:,}", f"{value}.0", f"x = {value}", f"{value}\\text{{ cm}}", f"\\${value}"]
            return str(value), others, [str(value + 1), str(value - k), str(-value), str(2 * value)]
        case "fraction":
            top, bottom = n * m + 1, m
            gold = f"\\frac{{{top}}}{{{bottom}}}"
            others = [f"{top}/{bottom}", f"\\dfrac{{{top}}}{{{bottom}}}", f"\\frac{{{2 * top}}}{{{2 * bottom}}}"]
            return gold, others, [f"\\frac{{{top + 1}}}{{{bottom}}}", f"\\frac{{{bottom}}}{{{top}}}", str(n)]
        case "decimal":
            value = f"{n}.{m:02d}"
            return value, [f"{value}0", f"{value}\\%"], [f"{n}.{m + 1:02d}", str(n), f"{n + 1}.{m:02d}"]
        case "expression":
            return chance.choice(
                [
                    (
                        f"{k}\\sqrt{{{m}}}",
                        [f"\\sqrt{{{k * k * m}}}", f"{k} \\sqrt {{{m}}}"],
                        [f"{m}\\sqrt{{{k}}}", str(n)],
                    ),
                    (f"\\frac{{{k}\\pi}}{{7}}", [f"\\frac{{{k}}}{{7}}\\pi"], [f"\\frac{{{k}\\pi}}{{11}}", f"{k}\\pi"]),
                    (f"x^2+{2 * k}x+{k * k}", [f"(x+{k})^2"], [f"x^2+{k}x+{k * k}", f"(x-{k})^2"]),
                    (f"{k}x+{m}", [f"{m}+{k}x"], [f"{k}x-{m}", f"{m}x+{k}"]),
                ]
            )
        case "point":
            open_, close = chance.choice(["()", "[)", "[]"])
            gold = f"{open_}{k}, {n}{close}"
            return (
                gold,
                [f"\\left{open_}{k},{n}\\right{close}"],
                [f"{open_}{n}, {k}{close}", f"{open_}{k}, {n + 1}{close}"],
            )
        case "set":
            return f"\\{{{k}, {n}\\}}", [f"{k}, {n}", f"{n}, {k}"], [f"\\{{{k}, {n + 1}\\}}", str(k)]
        case _:
            return f"y = {k}x + {m}", [f"y = {m} + {k}x"], [f"y = {k}x - {m}", f"y = {m}x + {k}"]


def _answer(gold: str, others: list[str], wrongs: list[str], chance: random.Random) -> str:
    said = chance.choice(wrongs)
    if chance.random() < 0.6:
        said = chance.choice(others) if chance.random() < 1 / 3 else gold
    d, e = chance.choice([("$", "$"), ("\\(", "\\)"), ("", "")])
    steps = []
    for _ in range(chance.randint(3, 9)):
        a, b, c, f = (chance.randint(2, 99) for _ in range(4))
        steps.append(chance.choice(STEPS).format(a=a, b=b, c=c, f=f, d=d, e=e))
    end = chance.random()
    if end < 0.45:
        box = chance.choice(["$\\boxed{%s}$", "\\[\n\\boxed{%s}\n\\]", "\\(\\boxed{%s}\\)"]) % said
        return "\n\n".join(steps) + f"\n\nThe answer is {box}."
    if end < 0.8:
        return "\n\n".join(steps) + f"\n\nSo we get \\boxed{{{said}}}" + chance.choice(["", ".", " as required."])
    if end < 0.95:
        return "\n\n".join(steps) + chance.choice(["\n\nThe answer is $%s$.", "\n\n**Answer:** %s", "\n#### %s"]) % said
    return "\n\n".join(steps)
