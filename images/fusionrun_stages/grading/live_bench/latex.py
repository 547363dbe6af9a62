"""Read LaTeX with SymPy's ANTLR grammar.

``sympy.parsing.latex.parse_latex`` refuses every version of the ANTLR runtime but 4.11. The runtime in the image is
4.13, which reads the same grammar: its serialisation has the same version since 4.10. The other readers in the image,
SymPy's Lark grammar and latex2sympy2-extended, understand other texts than LiveBench's grader does.
"""

from functools import cache
from typing import Any


def parse_latex(text: str) -> Any:
    """Return the expression in the beginning of the text that the grammar accepts.

    Raises
    ------
    Exception
        The text is not in the grammar (``LaTeXParsingError``), or SymPy cannot make an expression of it (any other).
    """
    from antlr4 import CommonTokenStream, InputStream
    from sympy.parsing.latex._parse_latex_antlr import MathErrorListener, convert_relation

    make_lexer, make_parser = _grammar()
    text = text.strip()
    listener = MathErrorListener(text)
    lexer = make_lexer(InputStream(text))
    lexer.removeErrorListeners()
    lexer.addErrorListener(listener)
    parser = make_parser(CommonTokenStream(lexer))
    parser.removeErrorListeners()
    parser.addErrorListener(listener)
    return convert_relation(parser.math().relation())


@cache
def _grammar() -> tuple[Any, Any]:
    from sympy.parsing.latex._antlr.latexlexer import LaTeXLexer
    from sympy.parsing.latex._antlr.latexparser import LaTeXParser

    def accept_version(_self: object, _version: str) -> None:
        """Do not print that the versions of runtime and grammar differ."""

    return (
        type("Lexer", (LaTeXLexer,), {"checkVersion": accept_version}),
        type("Parser", (LaTeXParser,), {"checkVersion": accept_version}),
    )
