r"""Parse one formula, in LaTeX or as plain text, to a SymPy expression.

math-verify's parser reads what it understands and skips the rest: ``0.\overline{3}`` becomes 0. This one reads all or
nothing: ``NotRead`` is raised for anything that is not certain. It takes time in proportion to the text.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import sympy

DEPTH_MAX = 40
"""Nested brackets of a formula."""
DIGITS_MAX = 400
"""Digits of one number."""
BITS_MAX = 20_000
"""Size of a power of integers; larger ones stay unread, since they would fill the memory."""
FACTORIAL_MAX = 2_000

LOG_BASE = sympy.Symbol("log_base", positive=True)
r"""The base of ``\log`` without one: authors mean 10, e or 2."""


class NotReadError(Exception):
    """The text is no formula, or there are two ways to read it."""


class TooLargeError(NotReadError):
    """The value is too large to compute with."""


class _Token(NamedTuple):
    kind: str  # number, command, letter, word, symbol
    text: str
    spaced: bool  # white space in front of it


_TOKEN = re.compile(
    r"(?P<space> *)(?:(?P<repeating>[0-9]*\.[0-9]*(?:\\(?:overline|bar|dot) ?\{?[0-9]+\}?[0-9]*)+|[0-9]+\.[0-9]*\([0-9]+\))"
    r"|(?P<science>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][+-]?[0-9]+(?![0-9.a-zA-Z]))"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"|(?P<command>\\[a-zA-Z]+|\\[{}|])|(?P<word>[a-zA-Z]+)|(?P<symbol>\*\*|[-+*/^_(){}\[\]|!'=<>,;:&%.]))"
)
_REPEATED = re.compile(r"\\(overline|bar|dot) ?\{?([0-9]+)\}?")

_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot, "sec": sympy.sec, "csc": sympy.csc,
    "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan, "arccot": sympy.acot, "sinh": sympy.sinh,
    "cosh": sympy.cosh, "tanh": sympy.tanh, "ln": sympy.log, "exp": sympy.exp, "abs": sympy.Abs, "asin": sympy.asin,
    "acos": sympy.acos, "atan": sympy.atan, "lg": lambda x: sympy.log(x, 10),
}  # fmt: skip
_INVERSE = {"sin": sympy.asin, "cos": sympy.acos, "tan": sympy.atan, "cot": sympy.acot, "sinh": sympy.asinh}
WORDS = frozenset([*_FUNCTIONS, "sqrt", "pi", "log", "infinity", "inf", "oo", "cbrt"])
_GREEK = frozenset(
    ["alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa", "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega", "ell"]
)
_OPENING = {"(": ")", "[": "]", "\\{": "\\}"}
_STARTS = frozenset(["\\frac", "\\sqrt", "\\surd", "\\pi", "\\infty", "\\binom", "\\lfloor", "\\lceil", "\\log"])
_WORD_LETTERS_MAX = 3


def parse(text: str) -> Any:
    """Return the SymPy expression of a whole text; raise NotReadError for anything else."""
    parser = _Parser(_tokens(text))
    value = parser.sum()
    if parser.index != len(parser.tokens):
        raise NotReadError(text)
    return value


def repeating_decimal(text: str) -> Fraction:
    r"""Return the value of ``0.1\overline{6}``, ``0.\dot{1}4285\dot{7}`` or ``0.(3)``."""
    text = text.replace(" ", "")
    if "(" in text:
        whole, rest = text.split(".", 1)
        fixed, repeated = rest.rstrip(")").split("(")
    else:
        marks = list(_REPEATED.finditer(text))
        whole, fixed = text[: marks[0].start()].split(".", 1)
        kinds = {mark[1] for mark in marks}
        tail = text[marks[-1].end() :]
        if len(marks) == 1 and not tail:
            repeated = marks[0][2]
        elif len(marks) == 2 and kinds == {"dot"} and not tail:
            repeated = marks[0][2] + text[marks[0].end() : marks[1].start()] + marks[1][2]
        elif (
            kinds == {"dot"} and not tail and all(a.end() == b.start() for a, b in zip(marks, marks[1:], strict=False))
        ):
            repeated = "".join(mark[2] for mark in marks)
        else:
            raise NotReadError(text)
    if len(text) > DIGITS_MAX:
        raise TooLargeError(text[:40])
    scale = 10 ** len(fixed)
    return Fraction(int(whole + fixed or "0"), scale) + Fraction(int(repeated), scale * (10 ** len(repeated) - 1))


def decimal(text: str) -> Fraction:
    """Return the exact value of a decimal, also in E-notation."""
    exponent = re.split("[eE]", text)[1:] or ["0"]
    if len(text) > DIGITS_MAX or abs(int(exponent[0])) > DIGITS_MAX:
        raise TooLargeError(text[:40])
    return Fraction(text)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    index = 0
    text = text.rstrip(" ")
    while index < len(text):
        found = _TOKEN.match(text, index)
        if found is None:
            raise NotReadError(text)
        spaced = bool(found["space"])
        index = found.end()
        kind = str(found.lastgroup)
        token = found[kind]
        if kind != "word":
            tokens.append(_Token(kind, token, spaced))
        elif token in WORDS:
            tokens.append(_Token("command", "\\" + token, spaced))
        elif len(token) > _WORD_LETTERS_MAX:
            raise NotReadError(token)
        else:
            tokens += [_Token("letter", letter, spaced and n == 0) for n, letter in enumerate(token)]
    return tokens


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.index = 0
        self.depth = 0

    def peek(self, offset: int = 0) -> str:
        place = self.index + offset
        return self.tokens[place].text if place < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.index].kind if self.index < len(self.tokens) else ""

    def take(self) -> str:
        if self.index >= len(self.tokens):
            raise NotReadError("it ends early")
        self.index += 1
        return self.tokens[self.index - 1].text

    def expect(self, text: str) -> None:
        if self.take() != text:
            raise NotReadError(f"no {text}")

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
        return _checked(sympy.Add(*terms))

    def product(self) -> Any:
        value = self.power()
        divided = False
        while True:
            token = self.peek()
            if token in {"*", "\\times", "\\cdot"}:
                self.take()
                value, divided = value * self.signed_power(), False
            elif token in {"/", "\\div"}:
                self.take()
                divided = token == "/"
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
        kind, token = self.kind(), self.peek()
        if kind in {"number", "science", "repeating", "letter"}:
            return True
        if kind == "command":
            return token in _STARTS or token[1:] in _FUNCTIONS or token[1:] in _GREEK or token == "\\{"
        return token in {"(", "[", "{"}

    def power(self) -> Any:
        base = self.operand()
        while True:
            token = self.peek()
            if token in {"^", "**"}:
                self.take()
                base = _power(base, self.argument(plain=token == "**"))
                if self.peek() in {"^", "**"}:
                    raise NotReadError("x^a^b has two readings")
            elif token == "!":
                self.take()
                base = _factorial(base)
            elif token == "\\deg":
                self.take()
                base = base * sympy.pi / 180
            else:
                return base

    def argument(self, *, plain: bool = False) -> Any:
        """Read what follows a command or a caret: a group in braces, or one character as in LaTeX."""
        if self.peek() == "{":
            return self.group("{", "}")
        if self.peek() == "(":
            return self.group("(", ")")
        if self.peek() == "-":
            self.take()
            return -self.operand(simple=True)
        if self.kind() == "number" and len(self.peek()) > 1 and not plain:
            # In LaTeX 2^10 is 2^1 0; everyone who writes it means 2^{10}.
            return self.operand(simple=True)
        return self.operand(simple=True)

    def digit(self) -> Any:
        r"""Read an argument of \frac or \sqrt: a group, or one digit of ``\frac43``."""
        if self.peek() == "{":
            return self.group("{", "}")
        token = self.tokens[self.index] if self.index < len(self.tokens) else None
        if token is not None and token.kind == "number" and token.text.isdigit() and len(token.text) > 1:
            self.tokens[self.index] = token._replace(text=token.text[1:], spaced=False)
            return sympy.Integer(int(token.text[0]))
        return self.operand(simple=True)

    def group(self, opening: str, ending: str) -> Any:
        self.expect(opening)
        value = self.sum()
        self.expect(ending)
        return value

    def operand(self, *, simple: bool = False) -> Any:  # noqa: PLR0911 (one case per notation)
        kind = self.kind()
        token = self.take()
        if kind == "repeating":
            return _rational(repeating_decimal(token))
        if kind == "science":
            return _rational(decimal(token))
        if kind == "number":
            return self.number(token, simple=simple)
        if kind == "letter":
            return self.symbol(token)
        if token in _OPENING or token == "{":
            value = self.sum()
            self.expect(_OPENING.get(token, "}"))
            return value
        if token == "|":
            value = self.sum()
            self.expect("|")
            return sympy.Abs(value)
        if kind == "command":
            return self.command(token[1:], simple=simple)
        raise NotReadError(token)

    def number(self, token: str, *, simple: bool) -> Any:
        value = _rational(decimal(token))
        if simple or "." in token:
            if self.peek() == "\\frac" and "." in token:
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

    def subscript(self) -> str:
        if self.peek() != "{":
            return self.take()
        self.take()
        parts = []
        while self.peek() not in {"}", ""}:
            parts.append(self.take())
        self.expect("}")
        return "".join(parts)

    def command(self, name: str, *, simple: bool) -> Any:  # noqa: PLR0911 (one case per command)
        if name in _FUNCTIONS or name == "log":
            if simple:
                raise NotReadError("a function without braces")
            return self.function(name)
        match name:
            case "pi":
                return sympy.pi
            case "infty" | "infinity" | "inf" | "oo":
                return sympy.oo
            case "frac":
                top = self.digit()
                return top / self.nonzero(self.digit())
            case "binom":
                return _binomial(self.digit(), self.digit())
            case "sqrt" | "surd" | "cbrt":
                return self.root(name)
            case "lfloor" | "lceil":
                value = self.sum()
                self.expect("\\rfloor" if name == "lfloor" else "\\rceil")
                return sympy.floor(value) if name == "lfloor" else sympy.ceiling(value)
            case "hat" | "vec" | "overrightarrow" | "bar" | "overline":
                return self.decorated(name)
        if name in _GREEK:
            return self.symbol_named(name)
        raise NotReadError(name)

    def decorated(self, name: str) -> Any:
        self.expect("{")
        letters = self.subscript_until_brace()
        return sympy.Symbol(f"{name}_{letters}", real=True)

    def subscript_until_brace(self) -> str:
        parts = []
        while self.kind() == "letter":
            parts.append(self.take())
        self.expect("}")
        if not parts:
            raise NotReadError("no letter")
        return "".join(parts)

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
        if name == "surd" or self.peek() == "(":
            radicand = self.operand(simple=True)
        else:
            radicand = self.digit()
        if degree == 2:
            return sympy.sqrt(radicand)
        if radicand.is_number and radicand.is_real and radicand.is_negative and degree.is_odd:
            return -_power(-radicand, 1 / degree)
        return _power(radicand, 1 / degree)

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
            if name not in _INVERSE:
                raise NotReadError("an inverse")
            return _INVERSE[name](inner)
        else:
            value = _FUNCTIONS[name](inner)
        if value.has(sympy.nan, sympy.zoo):
            raise NotReadError("not defined")
        return value if exponent is None else _power(value, exponent)

    def function_argument(self) -> Any:
        r"""Read the argument: a group, or the product that follows, as in ``\sin 2x``; the next function ends it."""
        if self.peek() in {"(", "{", "[", "|"}:
            token = self.peek()
            value = self.operand()
            if token != "(":
                return value
            if self.peek() in {"^", "!"}:
                raise NotReadError("sin(x)^2 has two readings") if self.peek() == "!" else NotReadError("power")
            return value
        value = self.power()
        while self.begins_operand() and self.peek()[1:] not in {*_FUNCTIONS, "log"} and self.peek() not in {"(", "["}:
            value = value * self.power()
        if self.peek() == "/" and self.peek(1).isdigit():
            raise NotReadError("sin x/2 has two readings")
        return value


def _rational(value: Fraction) -> Any:
    return sympy.Rational(value.numerator, value.denominator)


def _checked(value: Any) -> Any:
    if value.has(sympy.nan, sympy.zoo):
        raise NotReadError("not defined")
    return value


def _power(base: Any, exponent: Any) -> Any:
    """Return the power unless it is too large to compute."""
    if exponent.is_Rational and base.is_Rational:
        size = max(abs(int(base.p)), int(base.q)).bit_length()
        if abs(float(exponent)) * size > BITS_MAX and abs(base) != 1 and base != 0:
            raise TooLargeError("a large power")
        if base == 0 and exponent <= 0:
            raise NotReadError("a power of zero")
        return _checked(base**exponent)
    if base.is_number and exponent.is_number and exponent.is_finite:
        if exponent.is_real is not True or abs(exponent.evalf(8)) > BITS_MAX:
            if exponent.is_real is None or exponent.is_real:
                raise TooLargeError("a large power")
            if abs(exponent.evalf(8)) > BITS_MAX:
                raise TooLargeError("a large power")
    elif exponent.is_number and exponent.is_Rational and abs(exponent) > BITS_MAX:
        raise TooLargeError("a large power")
    return _checked(base**exponent)


def _factorial(value: Any) -> Any:
    if value.is_Integer and not 0 <= value <= FACTORIAL_MAX:
        raise TooLargeError("a large factorial")
    return sympy.factorial(value)


def _binomial(top: Any, bottom: Any) -> Any:
    if (top.is_Integer and abs(top) > FACTORIAL_MAX) or (bottom.is_Integer and abs(bottom) > FACTORIAL_MAX):
        raise TooLargeError("a large binomial")
    return sympy.binomial(top, bottom)
