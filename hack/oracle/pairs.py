r"""Invent pairs of a gold answer and an answer, by seed, in the notations of public sets.

The kinds are those of MATH (LaTeX), GSM8K (integers after ``####``), CMATH (numbers with Chinese units),
OpenMathInstruct-2 (short LaTeX), Big-Math (plain text, E-notation, mixed numbers, units) and olympiad sets (several
blanks, parameters, intervals). Every input is invented here. For each gold answer there are other forms of the same
value, ``same``, and near misses of another value, ``other``.
"""

import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

Made = tuple[str, list[str], list[str]]
"""A gold answer, other forms of it, and near misses."""


class Pair(NamedTuple):
    """A gold answer and the content of the box of an answer."""

    kind: str
    gold: str
    answer: str
    made: str
    """``same`` or ``other``: whether the answer has the value of the gold answer."""


def pairs(count: int, seed: int = 11) -> Iterator[Pair]:
    """Yield at least ``count`` different pairs, the kinds in turn."""
    chance = random.Random(seed)
    seen: set[tuple[str, str]] = set()
    while len(seen) < count:
        for kind, make in KINDS.items():
            gold, same, other = make(chance)
            for made, answers in (("same", [gold.rsplit("#### ", 1)[-1], *same]), ("other", other)):
                for answer in answers:
                    if (gold, answer) not in seen:
                        seen.add((gold, answer))
                        yield Pair(kind, gold, answer, made)


def _integer(chance: random.Random) -> Made:
    n = chance.randint(2, 999)
    return str(n), [f"{n}.0", f"\\text{{{n}}}", f"x = {n}", f"+{n}"], [str(n + 1), str(-n), f"{n}.5", str(n * 10)]


def _negative(chance: random.Random) -> Made:
    n = chance.randint(2, 999)
    return f"-{n}", [f"-{n}.0", f"\\text{{-{n}}}", f"- {n}"], [str(n), f"-{n + 1}"]


def _thousands(chance: random.Random) -> Made:
    a, b = chance.randint(2, 99), chance.randint(100, 999)
    same = [f"{a}{b}", f"{a}\\,{b}", f"{a},\\!{b}", f"{a}{{,}}{b}", f"{a} {b}", f"{a},{b}.00"]
    return f"{a},{b}", same, [f"{a}", f"{b}", f"{a},{b + 1}" if b < 999 else f"{a},{b - 1}", f"{a}.{b}"]


def _gsm8k(chance: random.Random) -> Made:
    a, b = chance.randint(2, 60), chance.randint(2, 60)
    gold = f"He has {a} + {b} = <<{a}+{b}={a + b}>>{a + b} of them.\n#### {a + b}"
    return gold, [str(a + b), f"{a + b} \\text{{ pens}}", f"{a + b}.00"], [str(a), str(b), str(a + b + 1)]


def _fraction(chance: random.Random) -> Made:
    bottom = chance.randint(3, 15)
    top = chance.choice([n for n in range(1, 30) if Fraction(n, bottom).denominator == bottom])
    gold = f"\\frac{{{top}}}{{{bottom}}}"
    same = [
        f"{top}/{bottom}",
        f"\\dfrac{{{top}}}{{{bottom}}}",
        f"\\frac{{{2 * top}}}{{{2 * bottom}}}",
        f"\\tfrac{{{top}}}{{{bottom}}}",
    ]
    return gold, same, [f"\\frac{{{top + 1}}}{{{bottom}}}", f"\\frac{{{bottom}}}{{{top}}}", f"-{gold}", str(top)]


def _decimal(chance: random.Random) -> Made:
    n, m = chance.randint(1, 99), chance.randint(1, 99)
    value = Fraction(n * 100 + m, 100)
    gold = f"{n}.{m:02d}"
    return (
        gold,
        [f"{gold}0", f"\\frac{{{value.numerator}}}{{{value.denominator}}}"],
        [f"{n}.{m:02d}1", f"{n + 1}.{m:02d}", f"{n}"],
    )


def _rounded(chance: random.Random) -> Made:
    top, bottom = chance.randint(1, 20), chance.choice([3, 7, 9, 11, 13])
    top = top * bottom + 1
    digits = f"{top / bottom:.10f}"
    return f"\\frac{{{top}}}{{{bottom}}}", [], [digits[:-7], f"{top / bottom + 0.01:.6f}", f"{top / bottom:.1f}"]


def _tiny(chance: random.Random) -> Made:
    a, n = chance.randint(11, 98), chance.randint(9, 30)
    gold = f"{a / 10} \\times 10^{{-{n}}}"
    same = [f"{a / 10} \\cdot 10^{{-{n}}}", f"{a / 10}e-{n}", f"{a} \\times 10^{{-{n + 1}}}"]
    return gold, same, [f"{a / 10} \\times 10^{{-{n + 2}}}", f"{(a + 1) / 10} \\times 10^{{-{n}}}", "0"]


def _power(chance: random.Random) -> Made:
    n = chance.randint(41, 200)
    return (
        f"\\frac{{1}}{{2^{{{n}}}}}",
        [f"2^{{-{n}}}", f"\\left(\\frac12\\right)^{{{n}}}"],
        [f"\\frac{{1}}{{2^{{{n + 5}}}}}", f"2^{{{n}}}"],
    )


def _scientific(chance: random.Random) -> Made:
    a, n = chance.randint(11, 98), chance.randint(3, 30)
    return (
        f"{a / 10}e{n}",
        [f"{a / 10} \\times 10^{{{n}}}", f"{a / 10}e+{n}", str(a * 10 ** (n - 1))],
        [f"{a / 10}", f"{a / 10} \\times 10^{{{n + 1}}}", f"{(a + 1) / 10} \\times 10^{{{n}}}"],
    )


def _cell(chance: random.Random) -> Made:
    a, n = chance.randint(1, 9), chance.randint(5, 9)
    return (
        f"{a}e-0{n}",
        [f"0.{'0' * (n - 1)}{a}", f"{a} \\times 10^{{-{n}}}"],
        [f"0.{'0' * n}{a}", str(a), f"{a} \\times 10^{{-{n + 1}}}"],
    )


def _repeating(chance: random.Random) -> Made:
    a, digit = chance.randint(0, 9), chance.choice([1, 2, 4, 5, 7, 8])
    value = a + Fraction(digit, 9)
    fraction = f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    return (
        f"{a}.\\overline{{{digit}}}",
        [fraction, f"{a}.\\dot{{{digit}}}", f"{a}.({digit})"],
        [str(a), f"{a}.{digit}", f"\\frac{{{value.numerator + 1}}}{{{value.denominator}}}"],
    )


def _complex(chance: random.Random) -> Made:
    a, b = chance.randint(2, 20), chance.randint(2, 20)
    same = [f"{a} + {b} i", f"{a}+{b}\\mathrm{{i}}", f"{b}i+{a}", f"{a}+{b}\\text{{i}}", f"{a}+i \\cdot {b}"]
    return f"{a}+{b}i", same, [f"{a}-{b}i", f"{b + 1}+{a}i", str(a)]


def _upright(chance: random.Random) -> Made:
    a, b = chance.randint(2, 20), chance.randint(2, 20)
    return f"{a}-{b}\\mathrm{{i}}", [f"{a}-{b}i", f"-{b}i + {a}"], [f"{a}+{b}i", str(a), f"{b + 1}-{a}i"]


def _mixed(chance: random.Random) -> Made:
    a, bottom = chance.randint(2, 20), chance.choice([3, 5, 7])
    value = a + Fraction(1, bottom)
    fraction = f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    return (
        f"{a} 1/{bottom}",
        [f"{a}\\frac{{1}}{{{bottom}}}", fraction, f"{a} \\frac{{1}}{{{bottom}}}"],
        [str(a), f"\\frac{{1}}{{{bottom}}}", f"\\frac{{{a}}}{{{bottom}}}"],
    )


def _mixed_latex(chance: random.Random) -> Made:
    a, bottom = chance.randint(2, 20), chance.choice([3, 4, 5, 8])
    value = a + Fraction(1, bottom)
    return (
        f"{a}\\frac{{1}}{{{bottom}}}",
        [f"{value.numerator}/{value.denominator}", f"{a} 1/{bottom}"],
        [str(a), f"\\frac{{{a}}}{{{bottom}}}"],
    )


def _percent(chance: random.Random) -> Made:
    n = chance.randint(2, 99)
    return (
        f"{n}\\%",
        [str(n), f"{n / 100}", f"{n} \\text{{ percent}}", f"\\frac{{{n}}}{{100}}"],
        [f"{n + 1}\\%", f"{n / 1000}"],
    )


def _hundred(chance: random.Random) -> Made:
    n = chance.randint(2, 99)
    return str(n * 7), [f"{n * 7}.0"], [f"{n * 700}", f"{n * 7 / 100}"]


def _money(chance: random.Random) -> Made:
    n, m = chance.randint(2, 99), chance.randint(10, 99)
    gold = f"\\${n}.{m}"
    return (
        gold,
        [f"{n}.{m}", f"{n}.{m} \\text{{ dollars}}", f"${n}.{m}"],
        [f"\\${n}.{m + 1}", f"\\${n + 1}.{m}", str(n)],
    )


def _unit(chance: random.Random) -> Made:
    n = chance.randint(2, 99)
    return (
        f"{n} \\text{{ cm}}",
        [str(n), f"{n}\\mathrm{{~cm}}", f"{n} cm", f"{n * 10} \\text{{ mm}}"],
        [f"{n + 1} \\text{{ cm}}", f"{n} \\text{{ m}}", str(n * 10)],
    )


def _area(chance: random.Random) -> Made:
    n = chance.randint(2, 99)
    return (
        str(n),
        [f"{n}\\text{{ cm}}^2", f"{n} \\text{{ square units}}", f"{n}\\ \\mathrm{{m}}^2"],
        [f"{n + 1}\\text{{ cm}}^2"],
    )


def _chinese(chance: random.Random) -> Made:
    n = chance.randint(2, 400)
    unit = chance.choice(["元", "米", "千克", "个", "本"])
    return str(n), [f"{n}{unit}", f"{n} \\text{{{unit}}}"], [f"{n + 1}{unit}"]


def _degrees(chance: random.Random) -> Made:
    n = chance.randint(5, 175)
    return (
        f"{n}^\\circ",
        [str(n), f"{n}^{{\\circ}}", f"{n} \\text{{ degrees}}", f"{n}°"],
        [f"{n + 1}^\\circ", f"{180 - n + 1}^\\circ"],
    )


def _clock(chance: random.Random) -> Made:
    hour, minute = chance.randint(1, 11), chance.choice([10, 15, 20, 35, 40, 50])
    return (
        f"{hour}:{minute}",
        [f"{hour}:{minute}", f"\\text{{{hour}:{minute}}}"],
        [f"{hour + 1}:{minute}", f"{hour}:{minute + 1}", str(hour)],
    )


def _duration(chance: random.Random) -> Made:
    hours, minutes = chance.randint(2, 9), chance.choice([15, 30, 45])
    return (
        f"{hours} h {minutes} min",
        [f"{hours} hours {minutes} minutes", f"{hours * 60 + minutes} min", f"{hours + minutes / 60} \\text{{ hours}}"],
        [str(hours), f"{hours} h {minutes + 1} min", str(minutes)],
    )


def _ratio(chance: random.Random) -> Made:
    a = chance.randint(2, 9)
    b = a + 1
    return f"{a}:{b}", [f"{a} : {b}", f"{2 * a}:{2 * b}"], [f"{b}:{a}", f"{a}:{b + 1}"]


def _base(chance: random.Random) -> Made:
    n = chance.randint(20, 500)
    octal = f"{n:o}"
    return (
        f"{octal}_8",
        [f"{octal}_{{8}}", f"{octal}_{{\\text{{eight}}}}"],
        [f"{octal}_9", f"{n + 1:o}_8", f"{octal}_{{12}}"],
    )


def _dots(chance: random.Random) -> Made:
    a = chance.randint(1, 9)
    gold = f"{a}, {a + 2}, {a + 4}, \\ldots"
    return gold, [f"{a}, {a + 2}, {a + 4}, \\dots"], [str(a), str(a + 4), f"{a}, {a + 2}, {a + 4}"]


def _interval(chance: random.Random) -> Made:
    a, b = sorted(chance.sample(range(-20, 20), 2))
    return (
        f"[{a},{b})",
        [f"[{a}, {b})", f"\\left[{a},{b}\\right)", f"{a} \\le x < {b}", f"x \\in [{a},{b})"],
        [f"[{a},{b}]", f"({a},{b})", f"[{a},{b + 1})", f"{a} < x < {b}"],
    )


def _inequality(chance: random.Random) -> Made:
    a = chance.randint(-20, 20)
    return (
        f"x \\ge {a}",
        [f"[{a},\\infty)", f"x \\geqslant {a}", f"{a} \\le x"],
        [f"x > {a}", f"x \\le {a}", f"({a},\\infty)", str(a)],
    )


def _union(chance: random.Random) -> Made:
    a, b = sorted(chance.sample(range(-20, 20), 2))
    gold = f"(-\\infty,{a})\\cup({b},\\infty)"
    return (
        gold,
        [f"x < {a} \\text{{ or }} x > {b}", f"(-\\infty, {a}) \\cup ({b}, +\\infty)"],
        [f"(-\\infty,{a}]\\cup({b},\\infty)", f"({a},{b})"],
    )


def _builder(chance: random.Random) -> Made:
    a = chance.randint(-20, 20)
    return (
        f"\\{{x \\mid x < {a}\\}}",
        [f"(-\\infty,{a})", f"x < {a}", f"\\{{x | x < {a}\\}}"],
        [f"(-\\infty,{a}]", f"x > {a}"],
    )


def _list(chance: random.Random) -> Made:
    a, b = chance.sample(range(-30, 60), 2)
    return (
        f"{a}, {b}",
        [f"{b}, {a}", f"{a} \\text{{ and }} {b}", f"x = {a} \\text{{ or }} x = {b}", f"\\{{{a}, {b}\\}}"],
        [f"{a}, {b + 100}", str(a), f"{a}, {b}, 99"],
    )


def _blanks(chance: random.Random) -> Made:
    a, b = chance.sample(range(2, 60), 2)
    return f"${a}$;${b}$", [f"{a}; {b}", f"{a}, {b}", f"{a};{b}"], [str(b), f"{a};{b + 1}", str(a)]


def _pair(chance: random.Random) -> Made:
    a, b = chance.sample(range(2, 60), 2)
    return (
        f"({a},{b})",
        [f"({a}, {b})", f"\\left({a},{b}\\right)", f"x = {a}, y = {b}"],
        [f"({b},{a})", f"({a},{b + 1})", f"[{a},{b}]"],
    )


def _triple(chance: random.Random) -> Made:
    a, b, c = chance.sample(range(2, 60), 3)
    return f"({a},{b},{c})", [f"({a}, {b}, {c})", f"\\langle {a}, {b}, {c}\\rangle"], [f"({a},{c},{b})", f"({a},{b})"]


def _signs(chance: random.Random) -> Made:
    a = chance.randint(2, 60)
    return f"\\pm {a}", [f"{a}, -{a}", f"-{a} \\text{{ or }} {a}"], [str(a), f"-{a}", f"\\pm {a + 1}"]


def _root(chance: random.Random) -> Made:
    k, m = chance.randint(2, 9), chance.choice([2, 3, 5, 7])
    return (
        f"{k}\\sqrt{{{m}}}",
        [f"\\sqrt{{{k * k * m}}}", f"{k} \\sqrt {m}", f"\\sqrt{{{m}}} \\cdot {k}"],
        [f"{m + 1}\\sqrt{{{k}}}", f"{k}\\sqrt{{{m + 4}}}", str(k)],
    )


def _pi(chance: random.Random) -> Made:
    k = chance.choice([2, 4, 5, 8])
    return (
        f"\\frac{{{k}\\pi}}{{3}}",
        [f"\\frac{{{k}}}{{3}}\\pi", f"{k}\\pi/3"],
        [f"\\frac{{{k}}}{{3}}", f"\\frac{{{k + 1}\\pi}}{{3}}"],
    )


def _polynomial(chance: random.Random) -> Made:
    k = chance.randint(2, 9)
    return (
        f"x^2+{2 * k}x+{k * k}",
        [f"(x+{k})^2", f"{k * k} + {2 * k}x + x^2", f"x(x+{2 * k})+{k * k}"],
        [f"(x-{k})^2", f"x^2+{k}x+{k * k}"],
    )


def _parameter(chance: random.Random) -> Made:
    k = chance.randint(2, 9)
    return (
        f"\\frac{{n(n+{k})}}{{2}}",
        [f"\\frac{{n^2+{k}n}}{{2}}", f"\\frac{{1}}{{2}}n(n+{k})"],
        [f"\\frac{{n(n-{k})}}{{2}}", f"n(n+{k})"],
    )


def _line(chance: random.Random) -> Made:
    k, m = chance.randint(2, 9), chance.randint(1, 20)
    return (
        f"y = {k}x + {m}",
        [f"{k}x - y + {m} = 0", f"y={m}+{k}x", f"{k}x + {m}"],
        [f"y = {k}x - {m}", f"{k}x + y + {m} = 0"],
    )


def _system(chance: random.Random) -> Made:
    a, b = chance.sample(range(2, 60), 2)
    return f"x = {a}, y = {b}", [f"y = {b}, x = {a}", f"({a},{b})"], [f"x = {b}, y = {a}", f"x = {a}, y = {b + 1}"]


def _matrix(chance: random.Random) -> Made:
    a, b, c, d = chance.sample(range(2, 30), 4)
    gold = f"\\begin{{pmatrix}} {a} & {b} \\\\ {c} & {d} \\end{{pmatrix}}"
    return (
        gold,
        [gold.replace("pmatrix", "bmatrix"), gold.replace(" ", "")],
        [gold.replace(f" {a} ", f" {a + 30} ", 1), f"\\begin{{pmatrix}} {a} & {c} \\\\ {b} & {d} \\end{{pmatrix}}"],
    )


def _yes(chance: random.Random) -> Made:
    a, b = chance.choice([("Yes", "No"), ("No", "Yes"), ("True", "False"), ("even", "odd")])
    return f"{a}.", [a, f"\\text{{{a}}}", a.lower()], [b, f"\\text{{{b}}}", "1"]


def _name(chance: random.Random) -> Made:
    a, b = chance.sample(["Omar", "Linnea", "Priya", "Tomás", "Keiko", "Bartek", "Wanjiru", "Hugo"], 2)
    return f"\\text{{{a}}}", [a, a.lower()], [b, f"\\text{{{b}}}", "3"]


def _letters(chance: random.Random) -> Made:
    word = chance.choice(["stream", "parsec", "tinsel", "rescue", "danger", "claret"])
    mixed = list(word)
    chance.shuffle(mixed)
    return word, [f"\\text{{{word}}}", word.capitalize()], ["".join(mixed)] if "".join(mixed) != word else []


def _choice(chance: random.Random) -> Made:
    a, b = chance.sample("ABCDE", 2)
    return f"\\text{{({a})}}", [a, f"({a})", f"\\textbf{{({a})}}", f"\\text{{{a}}}"], [b, f"({b})"]


def _nothing(chance: random.Random) -> Made:
    return (
        chance.choice(["No solution.", "\\text{no solution}"]),
        ["\\text{No solution}", "\\emptyset"],
        ["0", str(chance.randint(1, 9))],
    )


def _million(chance: random.Random) -> Made:
    n = chance.randint(2, 90)
    return f"{n} million", [f"{n},000,000", f"{n}000000"], [str(n), f"{n},000"]


KINDS: dict[str, Callable[[random.Random], Made]] = {
    "integer": _integer,
    "negative integer": _negative,
    "thousands": _thousands,
    "GSM8K solution": _gsm8k,
    "fraction": _fraction,
    "decimal": _decimal,
    "rounded decimal": _rounded,
    "tiny number": _tiny,
    "tiny power": _power,
    "E-notation": _scientific,
    "float cell": _cell,
    "repeating decimal": _repeating,
    "complex number": _complex,
    "upright i": _upright,
    "mixed number": _mixed,
    "mixed number in LaTeX": _mixed_latex,
    "percent": _percent,
    "hundredfold": _hundred,
    "money": _money,
    "unit": _unit,
    "unit in the answer": _area,
    "Chinese unit": _chinese,
    "degrees": _degrees,
    "clock": _clock,
    "duration": _duration,
    "ratio": _ratio,
    "number base": _base,
    "dots": _dots,
    "interval": _interval,
    "inequality": _inequality,
    "union": _union,
    "set-builder": _builder,
    "list": _list,
    "blanks": _blanks,
    "pair": _pair,
    "triple": _triple,
    "plus-minus": _signs,
    "root": _root,
    "multiple of pi": _pi,
    "polynomial": _polynomial,
    "parameter": _parameter,
    "line": _line,
    "system": _system,
    "matrix": _matrix,
    "yes or no": _yes,
    "name": _name,
    "letters": _letters,
    "choice": _choice,
    "no solution": _nothing,
    "million": _million,
}
