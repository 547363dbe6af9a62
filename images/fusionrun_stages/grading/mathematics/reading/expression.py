"""Parse one formula, in LaTeX or as plain text, to a SymPy expression.

math-verify's parser reads what it understands and skips the rest: a repeating decimal becomes 0. This one reads all or
nothing: ``NotReadError`` is raised for anything that is not certain. It takes time in proportion to the text.
"""

from typing import Any

import sympy

from fusionrun_stages.grading.mathematics.reading.functions import CONSTANTS, FUNCTIONS, GREEK, INVERSE
from fusionrun_stages.grading.mathematics.reading.powers import binomial, checked, factorial, power
from fusionrun_stages.grading.mathematics.reading.stream import TokenStream
from fusionrun_stages.grading.mathematics.reading.tokens import (
    NotReadError,
    Token,
    TooLargeError,
    decimal,
    repeating_decimal,
    tokens_of,
)

DEPTH_MAX = 40
"""Nested brackets of a formula."""
LOG_BASE = sympy.Symbol("log_base", positive=True)
r"""The base of ``\log`` without one: authors mean 10, e or 2."""

_OPENING = {"(": ")", "[": "]", "\\{": "\\}"}
_STARTS = frozenset(["\\frac", "\\sqrt", "\\surd", "\\pi", "\\infty", "\\binom", "\\lfloor", "\\lceil", "\\log"])


def parse(text: str) -> Any:
    """Return the SymPy expression of a whole text; raise NotReadError for anything else."""
    parser = _Parser(tokens_of(text))
    value = parser.sum()
    if parser.index != len(parser.tokens):
        raise NotReadError(text)
    return value


class _Parser(TokenStream):
    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.depth = 0

    def sum(self) -> Any:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise TooLargeError("nested too deeply")
        negative = False
        while self.peek() in {"+", "-"}:
            negative ^= self.take() == "-"
        terms = [self.product()]
        if negative:
            terms[0] = -terms[0]
        while self.peek() in {"+", "-"}:
            sign = -1 if self.take() == "-" else 1
            if self.peek() in {"+", "-"}:
                raise NotReadError("two signs")
            term = self.product()
            terms.append(sign * term)
        self.depth -= 1
        return checked(sympy.Add(*terms))

    def product(self) -> Any:
        value = self.power()
        divided = False
        while True:
            found = self.peek()
            if found in {"*", "\\times", "\\cdot"}:
                self.take()
                value, divided = value * self.signed_power(), False
            elif found in {"/", "\\div"}:
                self.take()
                divided = found == "/"
                value = value / self.nonzero(self.signed_power())
            elif self.begins_operand():
                number = self.kind() in {"number", "science", "repeating"}
                if divided or (number and self.tokens[self.index - 1].text != ")"):
                    raise NotReadError("1/2x has two readings, and 2 3 is no product")
                value = value * self.power()
            else:
                return value

    def nonzero(self, value: Any) -> Any:
        if value == 0:
            raise NotReadError("division by zero")
        return value

    def signed_power(self) -> Any:
        if self.peek() == "-":
            self.take()
            return -self.power()
        return self.power()

    def begins_operand(self) -> bool:
        kind, found = self.kind(), self.peek()
        if kind in {"number", "science", "repeating", "letter"}:
            return True
        if kind == "command":
            return found in _STARTS or found[1:] in FUNCTIONS or found[1:] in GREEK or found == "\\{"
        return found in {"(", "[", "{"}

    def power(self) -> Any:
        base = self.operand()
        while True:
            found = self.peek()
            if found in {"^", "**"}:
                self.take()
                base = power(base, self.argument())
                if self.peek() in {"^", "**"}:
                    raise NotReadError("x^a^b has two readings")
            elif found == "!":
                self.take()
                base = factorial(base)
            elif found == "\\deg":
                self.take()
                base = base * sympy.pi / 180
            else:
                return base

    def argument(self) -> Any:
        """Read what follows a command or a caret: a group, or one operand.

        In LaTeX 2^10 is 2^1 0; everyone who writes it means 2^{10}.
        """
        if self.peek() == "{":
            return self.group("{", "}")
        if self.peek() == "(":
            return self.group("(", ")")
        if self.peek() == "-":
            self.take()
            return -self.operand(simple=True)
        return self.operand(simple=True)

    def digit(self) -> Any:
        r"""Read an argument of \frac or \sqrt: a group, or one digit of ``\frac43``."""
        if self.peek() == "{":
            return self.group("{", "}")
        found = self.tokens[self.index] if self.index < len(self.tokens) else None
        if found is not None and found.kind == "number" and found.text.isdigit() and len(found.text) > 1:
            self.tokens[self.index] = found._replace(text=found.text[1:], spaced=False)
            return sympy.Integer(int(found.text[0]))
        return self.operand(simple=True)

    def group(self, opening: str, ending: str) -> Any:
        self.expect(opening)
        value = self.sum()
        self.expect(ending)
        return value

    def operand(self, *, simple: bool = False) -> Any:  # noqa: PLR0911 (one case per notation)
        kind = self.kind()
        found = self.take()
        if kind == "repeating":
            return sympy.Rational(repeating_decimal(found))
        if kind == "science":
            return sympy.Rational(decimal(found))
        if kind == "number":
            return self.number(found, simple=simple)
        if kind == "letter":
            return self.symbol(found)
        if found in _OPENING or found == "{":
            value = self.sum()
            self.expect(_OPENING.get(found, "}"))
            return value
        if found == "|":
            value = self.sum()
            self.expect("|")
            return sympy.Abs(value)
        if kind == "command":
            return self.command(found[1:], simple=simple)
        raise NotReadError(found)

    def number(self, found: str, *, simple: bool) -> Any:
        value = sympy.Rational(decimal(found))
        if simple or "." in found:
            if self.peek() == "\\frac" and "." in found:
                raise NotReadError("a decimal before a fraction")
            return value
        if self.peek() == "_":
            raise NotReadError("a number base inside a formula")
        if self.peek() == "\\frac":
            return self.mixed(value)
        following = [self.peek(n) for n in range(3)]
        plain = following[0].isdigit() and following[1] == "/" and following[2].isdigit()
        if plain and self.tokens[self.index].spaced:
            top, bottom = int(following[0]), int(following[2])
            if not 0 < top < bottom:
                raise NotReadError("no mixed number")
            self.index += 3
            return value + sympy.Rational(top, bottom)
        return value

    def mixed(self, whole: Any) -> Any:
        r"""Read ``3\frac{1}{4}``: a mixed number if the fraction is proper, else two readings."""
        self.take()
        top, bottom = self.digit(), self.nonzero(self.digit())
        if not (top.is_Integer and bottom.is_Integer):
            return whole * top / bottom
        if not 0 < top < bottom or whole == 0:
            raise NotReadError("neither a mixed number nor a product for certain")
        return whole + sympy.Rational(int(top), int(bottom))

    def symbol(self, name: str) -> Any:
        if self.peek() == "_":
            self.take()
            return sympy.Symbol(f"{name}_{self.subscript()}", real=True)
        if self.peek() == "'":
            raise NotReadError("a derivative")
        if name in {"f", "g", "h"} and self.peek() == "(":
            raise NotReadError("a function")
        if name == "e":
            return sympy.E
        return sympy.I if name == "i" else sympy.Symbol(name, real=True)

    def command(self, name: str, *, simple: bool) -> Any:  # noqa: PLR0911 (one case per command)
        if name in FUNCTIONS or name == "log":
            if simple:
                raise NotReadError("a function without braces")
            return self.function(name)
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in {"frac", "binom"}:
            top, bottom = self.digit(), self.digit()
            return binomial(top, bottom) if name == "binom" else top / self.nonzero(bottom)
        if name in {"sqrt", "surd", "cbrt"}:
            return self.root(name)
        if name in {"lfloor", "lceil"}:
            return self.rounded(name)
        if name in {"hat", "vec", "overrightarrow", "bar", "overline"}:
            return self.decorated(name)
        if name in GREEK:
            return self.symbol_named(name)
        raise NotReadError(name)

    def rounded(self, name: str) -> Any:
        value = self.sum()
        self.expect("\\rfloor" if name == "lfloor" else "\\rceil")
        return sympy.floor(value) if name == "lfloor" else sympy.ceiling(value)

    def decorated(self, name: str) -> Any:
        self.expect("{")
        letters = self.letters()
        return sympy.Symbol(f"{name}_{letters}", real=True)

    def symbol_named(self, name: str) -> Any:
        suffix = ""
        if self.peek() == "_":
            self.take()
            suffix = "_" + self.subscript()
        return sympy.Symbol(name + suffix, real=True)

    def root(self, name: str) -> Any:
        degree: Any = sympy.Integer(3 if name == "cbrt" else 2)
        if name == "sqrt" and self.peek() == "[":
            degree = self.nonzero(self.group("[", "]"))
        radicand = self.operand(simple=True) if name == "surd" or self.peek() == "(" else self.digit()
        if degree == 2:
            return sympy.sqrt(radicand)
        if radicand.is_number and radicand.is_real and radicand.is_negative and degree.is_odd:
            return -power(-radicand, 1 / degree)
        return power(radicand, 1 / degree)

    def function(self, name: str) -> Any:
        base: Any = None
        exponent: Any = None
        while self.peek() in {"^", "_"}:
            if self.take() == "^":
                exponent = self.argument()
            else:
                base = self.argument()
        inner = self.function_argument()
        if name == "log":
            value = sympy.log(inner) / sympy.log(LOG_BASE if base is None else self.nonzero(base))
        elif base is not None:
            raise NotReadError("a function with an index")
        elif exponent == -1:
            if name not in INVERSE:
                raise NotReadError("an inverse")
            return INVERSE[name](inner)
        else:
            value = FUNCTIONS[name](inner)
        if value.has(sympy.nan, sympy.zoo):
            raise NotReadError("not defined")
        return value if exponent is None else power(value, exponent)

    def function_argument(self) -> Any:
        r"""Read the argument: a group, or the product that follows, as in ``\sin 2x``; the next function ends it."""
        if self.peek() in {"(", "{", "[", "|"}:
            found = self.peek()
            value = self.operand()
            if found != "(":
                return value
            if self.peek() in {"^", "!"}:
                raise NotReadError("sin(x)^2 has two readings")
            return value
        value = self.power()
        while self.begins_operand() and self.peek()[1:] not in {*FUNCTIONS, "log"} and self.peek() not in {"(", "["}:
            value = value * self.power()
        if self.peek() == "/" and self.peek(1).isdigit():
            raise NotReadError("sin x/2 has two readings")
        return value
