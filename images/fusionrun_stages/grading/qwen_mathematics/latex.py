"""Read LaTeX with SymPy's own grammar, and with that of latex2sympy.

SymPy refuses the ANTLR runtime of this image: its grammar was generated for 4.11, latex2sympy2-extended needs 4.13. Both
versions of the runtime read the same serialised grammar (its version is 4 since ANTLR 4.10), so the grammar is called
here without SymPy's check. Like SymPy's ``parse_latex``, it ignores the text after the longest formula that it can read.
"""

from functools import cache
from typing import Any

_EXTENSIONS = ("\N{MINUS SIGN}", r"\pm", r"\mp")


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

    The harness has its own copy of latex2sympy, which reads a list as a Python list. It has no sets, no double signs and
    no typographic minus; latex2sympy2-extended has, so they are refused here.
    """
    from latex2sympy2_extended import latex2sympy
    from latex2sympy2_extended.sets import FiniteSet
    from sympy import Interval, Set, Tuple

    if any(sign in text for sign in _EXTENSIONS):
        raise ValueError("not in the grammar of the harness")
    value = latex2sympy(text.replace("~", " "), normalization_config=None)
    if isinstance(value, FiniteSet):
        return list(value._unsorted_args)  # noqa: SLF001 (in the order of the text)
    if isinstance(value, Interval) and not (value.left_open or value.right_open):
        return [value.start, value.end]
    if value.has(Set) or isinstance(value, Tuple):
        raise ValueError("not in the grammar of the harness")
    return value
