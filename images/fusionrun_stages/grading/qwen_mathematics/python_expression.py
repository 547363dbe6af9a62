"""Read a formula in Python's notation, such as ``2*x**2``, without running code from a response.

The Qwen2.5-Math harness calls SymPy's ``parse_expr``, which evaluates the text with Python's built-in functions in
reach. Here the text may have only names, numbers and operators, and the names have only SymPy's constants and
mathematical functions in reach. Without attributes, texts and keywords there is no way from these to other code.
"""

import io
import keyword
import token
import tokenize
from functools import cache
from typing import Any

_OPERATORS = frozenset(
    ("+", "-", "*", "/", "//", "**", "%", "^", "&", "|", "~", "(", ")", "[", "]", "{", "}", ",", "!", "!=")
)
_COMPARISONS = frozenset(("<", ">", "<=", ">=", "=="))
_LAYOUT = frozenset((token.NEWLINE, token.NL, token.ENDMARKER))


def parse_expression(text: str) -> Any:
    """Return the value of a formula. Any exception means that it cannot be read."""
    from sympy.parsing.sympy_parser import parse_expr

    _check(text)
    return parse_expr(text, global_dict=dict(_namespace()))


def _check(text: str) -> None:
    """Raise ValueError if the text has more than names, numbers and operators."""
    for found in tokenize.generate_tokens(io.StringIO(text.strip()).readline):
        is_name = found.type == token.NAME and not keyword.iskeyword(found.string) and "__" not in found.string
        is_sign = found.string in _OPERATORS or found.string in _COMPARISONS
        if not (is_name or is_sign or found.type == token.NUMBER or found.type in _LAYOUT):
            raise ValueError(f"not allowed in a formula: {found.string!r}")


@cache
def _namespace() -> dict[str, Any]:
    import sympy
    from sympy.core.function import Application

    names = {name: getattr(sympy, name) for name in sympy.__all__ if hasattr(sympy, name)}
    allowed = {
        name: value
        for name, value in names.items()
        if isinstance(value, sympy.Basic) or (isinstance(value, type) and issubclass(value, Application))
    }
    for name in ("Integer", "Float", "Rational", "Symbol", "Function", "sqrt", "cbrt", "root"):
        allowed[name] = names[name]
    return {**allowed, "max": sympy.Max, "min": sympy.Min, "abs": sympy.Abs, "__builtins__": {}}
