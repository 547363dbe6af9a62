"""Read LaTeX with SymPy's own grammar, and with that of latex2sympy.

SymPy refuses the ANTLR runtime of this image: its grammar was generated for 4.11, latex2sympy2-extended needs 4.13. Both
versions of the runtime read the same serialised grammar (its version is 4 since ANTLR 4.10), so the grammar is called
here without SymPy's check. Like SymPy's ``parse_latex``, it ignores the text after the longest formula that it can read.
"""

from functools import cache
from typing import Any


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
    """Return the value of a formula that SymPy's grammar lacks, such as a matrix. Any exception means that it cannot."""
    from latex2sympy2_extended import latex2sympy

    return latex2sympy(text)
