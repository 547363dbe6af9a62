"""Invent results of computations as AMPS Hard has them, and other forms of the same or of another value."""

import random
from fractions import Fraction


def _polynomial(coefficients: list[int], variable: str = "x") -> str:
    terms = []
    for power, coefficient in reversed(list(enumerate(coefficients))):
        if not coefficient:
            continue
        factor = "" if abs(coefficient) == 1 and power else str(abs(coefficient))
        unknown = {0: "", 1: variable}.get(power, f"{variable}^{power}")
        terms.append(("-" if coefficient < 0 else "+" if terms else "") + factor + unknown)
    return "".join(terms) or "0"


def _determinant(chance: random.Random) -> tuple[str, list[str]]:
    value = Fraction(chance.choice([-1, 1]) * chance.randrange(1, 900), chance.choice([1, 1, 2, 7, 25]))
    sign, size = ("-" if value < 0 else ""), abs(value)
    latex = f"{sign}\\frac{{{size.numerator}}}{{{size.denominator}}}" if size.denominator > 1 else str(value)
    return latex, [
        latex,
        str(value),
        f"{float(value):.4f}",
        f"{float(value):.1f}",
        f"{float(value) + 0.01:.4f}",
        latex.replace("frac", "dfrac"),
        f"\\frac{{{2 * value.numerator}}}{{{2 * value.denominator}}}",
        f"\\det A={latex}",
        f"{value.numerator * 1000:,}",
        f"\\frac{size.numerator % 10}{size.denominator % 10}",
        "-" + latex,
    ]


def _factors(chance: random.Random) -> tuple[str, list[str]]:
    a, b, c = (chance.choice([-1, 1]) * chance.randrange(1, 9) for _ in range(3))
    gold = f"{abs(c)} \\left(x {a:+}\\right) \\left(x {b:+}\\right)"
    expanded = _polynomial([abs(c) * a * b, abs(c) * (a + b), abs(c)])
    return gold, [
        gold,
        gold.replace("\\left", "").replace("\\right", ""),
        f"({abs(c)}x{a * abs(c):+})(x{b:+})",
        expanded,
        f"{abs(c)}(x{a:+})(x{b + 1:+})",
        f"{abs(c)}(x{a:+})",
        f"{abs(c)} \\cdot (x{a:+}) \\cdot (x{b:+})",
        f"{abs(c)}*(x{a:+})*(x{b:+})",
        f"{abs(c)}(y{a:+})(y{b:+})",
        f"{abs(c)}(x{a:+})(x{b:+}) = 0",
    ]


def _characteristic(chance: random.Random) -> tuple[str, list[str]]:
    coefficients = [chance.randrange(-40, 40), chance.randrange(-40, 40), chance.randrange(-9, 9), -1]
    gold = _polynomial(coefficients, "\\lambda ")
    negated = _polynomial([-c for c in coefficients], "\\lambda ")
    return gold, [
        gold,
        f"p(\\lambda) = {gold}",
        gold.replace("\\lambda ", "\\lambda"),
        gold.replace("^3", "^{3}").replace("^2", "^{2}"),
        negated,
        f"-({negated})",
        gold.replace("\\lambda ", "x"),
        f"{gold}+1",
    ]


def _root(chance: random.Random) -> tuple[str, list[str]]:
    n, k = chance.choice([2, 3, 5, 6, 7, 10]), chance.randrange(2, 9)
    degree = chance.choice([None, 3, 4])
    if degree:
        gold = f"\\sqrt[{degree}]{{{n}}}"
        return gold, [
            gold,
            f"{n}^{{\\frac{{1}}{{{degree}}}}}",
            f"{n}^{{1/{degree}}}",
            f"{n ** (1 / degree):.4f}",
            str(n),
        ]
    gold = f"{k} \\sqrt{{{n}}}"
    return gold, [
        gold,
        f"{k}\\sqrt{n}",
        f"\\sqrt{{{k * k * n}}}",
        f"\\sqrt{k * k * n}",
        f"{k * n**0.5:.4f}",
        f"{k * n**0.5:.2f}",
        f"\\approx {k * n**0.5:.4f}",
        f"{k} * sqrt({n})",
        f"{k}{{\\sqrt{{{n}}}}}",
        f"{k} \\sqrt{{{n + 1}}}",
    ]


def _derivative(chance: random.Random) -> tuple[str, list[str]]:
    a, b = chance.randrange(2, 9), chance.randrange(2, 9)
    kind = chance.randrange(4)
    if kind == 0:
        gold = f"{a} e^{{{b} x}} + \\frac{{1}}{{x}}"
        return gold, [
            gold,
            f"{a}e^{{{b}x}}+x^{{-1}}",
            f"{a}\\exp({b}x)+1/x",
            f"\\frac{{{a}xe^{{{b}x}}+1}}{{x}}",
            f"{a}e^{b}x",
        ]
    if kind == 1:
        gold = f"-{a * b} \\sin{{\\left({b} x \\right)}}"
        return gold, [
            gold,
            f"-{a * b}\\sin({b}x)",
            f"-{a * b} \\sin {b}x",
            f"-{a * b}sin({b}x)",
            f"{a * b} \\cos({b}x + \\frac{{\\pi}}{{2}})",
            f"{a * b}\\sin({b}x)",
            f"-{2 * a * b}\\sin(\\frac{{{b}x}}{{2}})\\cos(\\frac{{{b}x}}{{2}})",
            f"y' = -{a * b}\\sin({b}x)",
        ]
    if kind == 2:
        gold = f"\\frac{{{a}}}{{2 \\sqrt{{{a} x + {b}}}}}"
        return gold, [
            gold,
            f"\\frac{{{a}}}{{2}}({a}x+{b})^{{-1/2}}",
            f"\\frac{{{a}}}{{2}} \\left({a} x + {b}\\right)^{{-\\frac{{1}}{{2}}}}",
            f"{a}/(2\\sqrt{{{a}x+{b}}})",
            f"\\dfrac{{{a}}}{{2\\sqrt{{{a}x+{b}}}}}",
            f"\\frac{{{a}}}{{\\sqrt{{{a}x+{b}}}}}",
        ]
    gold = f"\\frac{{{a}}}{{x^{{2}} + {b}}} + \\tan^{{2}}{{\\left(x \\right)}}"
    return gold, [
        gold,
        f"\\frac{{{a}}}{{{b}+x^2}}+\\tan^2(x)",
        f"\\frac{{{a}}}{{{b}+x^2}}+\\sec^2 x - 1",
        f"\\frac{{{a}}}{{{b}+x^2}}+\\frac{{\\sin^2 x}}{{\\cos^2 x}}",
        f"\\frac{{{a}}}{{x^2}}+\\tan^2(x)",
        f"\\arctan(x) + {a}",
    ]


def _integral(chance: random.Random) -> tuple[str, list[str]]:
    a, b = chance.randrange(2, 9), chance.randrange(2, 9)
    gold = f"-\\frac{{{a}}}{{{b}}} \\log{{\\left(x + {b} \\right)}} - \\frac{{x^{{3}}}}{{3}}"
    return gold, [
        gold,
        f"-\\frac{{{a}}}{{{b}}}\\ln(x+{b})-\\frac{{x^3}}{{3}} + C",
        f"-\\frac{{{a}}}{{{b}}}\\ln|x+{b}|-\\frac{{x^3}}{{3}}+C",
        f"-\\frac{a}{b}\\ln(x+{b})-\\frac13x^3",
        f"-\\frac{{{a}}}{{{b}}}\\log_{{10}}(x+{b})-\\frac{{x^3}}{{3}}",
        f"-\\frac{{x^3}}{{3}}-\\frac{{{a}\\ln(x+{b})}}{{{b}}}",
        f"\\int f = -\\frac{{{a}}}{{{b}}} \\log (x+{b}) - x^3/3",
        "\\frac{x^3}{3}",
        "\\text{does not exist}",
        "x \\to \\infty",
        f"({a}, {b})",
        "\\begin{pmatrix} 1 & 2 \\end{pmatrix}",
    ]


def _complete_square(chance: random.Random) -> tuple[str, list[str]]:
    a, h, k = chance.randrange(2, 9), chance.randrange(1, 9), chance.randrange(1, 50)
    gold = f"{a} \\left(x + \\frac{{{h}}}{{{2 * a}}}\\right)^{{2}} - \\frac{{{k}}}{{{4 * a}}}"
    return gold, [
        gold,
        f"{a}(x+\\frac{{{h}}}{{{2 * a}}})^2-\\frac{{{k}}}{{{4 * a}}}",
        f"{a}(x+{h / 2 / a})^2-{k / 4 / a}",
        f"{a}(x+{h / 2 / a:.3f})^2-{k / 4 / a:.3f}",
        f"{a}x^2+{h}x+\\frac{{{h * h - k}}}{{{4 * a}}}",
        f"{a}(x-\\frac{{{h}}}{{{2 * a}}})^2-\\frac{{{k}}}{{{4 * a}}}",
        f"{a}[x+\\frac{{{h}}}{{{2 * a}}}]^2-\\frac{{{k}}}{{{4 * a}}}",
        f"f(x) = {a}(x+\\frac{{{h}}}{{{2 * a}}})^2-\\frac{{{k}}}{{{4 * a}}}",
    ]


KINDS = {
    "amps_hard_determinant": _determinant,
    "amps_hard_factor_polynomials": _factors,
    "amps_hard_characteristic_polynomial": _characteristic,
    "amps_hard_geometric_mean": _root,
    "amps_hard_derivatives": _derivative,
    "amps_hard_integral": _integral,
    "amps_hard_complete_square": _complete_square,
}
"""What invents a reference answer and answers, by subtask."""
