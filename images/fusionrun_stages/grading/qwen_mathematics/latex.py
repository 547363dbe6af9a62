"""Read LaTeX with SymPy's own grammar, and with that of latex2sympy.

SymPy refuses the ANTLR runtime of this image: its grammar was generated for 4.11, latex2sympy2-extended needs 4.13.
Both versions of the runtime read the same serialised grammar (its version is 4 since ANTLR 4.10), so the grammar is
called here without SymPy's check. Like SymPy's ``parse_latex``, it ignores the text after the longest formula that it
can read.
"""

import re
from functools import cache
from typing import Any

_EXTENSIONS = re.compile(r"\u2212|\\pm|\\mp|\\mathrm\{[~ ]*\}")
"""Signs that latex2sympy2-extended reads, but not the harness: the typographic and the double signs, an empty name."""
_OPENING = ("[", "{", r"\{")


def parse_latex(text: str) -> Any:
    """Return the SymPy expression of a formula. Any exception means that it cannot be read."""
    lexer_class, parser_class, listener_class, convert_relation = _grammar()
    from antlr4 import CommonTokenStream, InputStream

    listener = listener_class(text)
    lexer = lexer_class(InputStream(text))
    parser = parser_class(CommonTokenStream(lexer))
    for recognizer in (lexer, parser):
        recognizer.removeErrorListeners()
        recognizer.addErrorListener(listener)
    return convert_relation(parser.math().relation())


@cache
def _grammar() -> tuple[Any, Any, Any, Any]:
    from sympy.parsing.latex import _parse_latex_antlr as sympy_latex

    def skip_check(_recognizer: object, _version: str) -> None:
        """Do not print that the versions differ."""

    lexer = type("Lexer", (sympy_latex.LaTeXLexer,), {"checkVersion": skip_check})
    parser = type("Parser", (sympy_latex.LaTeXParser,), {"checkVersion": skip_check})
    return lexer, parser, sympy_latex.MathErrorListener, sympy_latex.convert_relation


def parse_latex_extended(text: str) -> Any:
    """Return the value of a formula that SymPy's grammar lacks, such as a matrix. Any exception means that it cannot.

    The harness has its own copy of latex2sympy: a list becomes a Python list, text after it is ignored, and there are
    no sets. latex2sympy2-extended reads whole texts only, and sets; so its rule for one relation is called here, not
    its main rule.
    """
    if _EXTENSIONS.search(text):
        raise ValueError("not in the grammar of the harness")
    text = text.replace("~", " ")
    try:
        values = _relations(text)
    except Exception:
        if not text.startswith(_OPENING) or len(values := _relations(text.lstrip("\\")[1:])) == 1:
            raise
    return values[0] if len(values) == 1 else values


def _relations(text: str) -> list[Any]:
    """Return the values of the relations at the beginning of a text, which commas or semicolons separate."""
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, _Latex2Sympy

    converter = _Latex2Sympy(config=ConversionConfig(interpret_as_mixed_fractions=False, lowercase_symbols=False))
    parser = converter.create_parser(text)
    values = [_assigned(converter.convert_relation(parser.relation()))]
    while parser.getCurrentToken().text in (",", ";"):
        parser.getTokenStream().consume()
        values.append(_assigned(converter.convert_relation(parser.relation())))
    return values


def _assigned(value: Any) -> Any:
    """Return the right side of an equation that only names it."""
    from sympy import Equality

    return value.rhs if isinstance(value, Equality) and value.lhs.is_Symbol else value
