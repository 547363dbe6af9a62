"""Programs in text without fences: the statements at the left margin that are valid Python, between lines of prose."""

import ast
import re
import textwrap
from collections.abc import Iterator

from fusionrun_stages.grading.coding.strings import quote_after
from fusionrun_stages.grading.coding.syntax import parse

_CONTINUES = re.compile(r"(?:elif|else|except|finally)\b|[)\]}]")
"""Starts of lines at the margin that belong to the statement before."""


def find_programs(lines: list[str]) -> list[str]:
    """Return the runs of statements, in their order; each statement is parsed once, or twice if it is indented."""
    programs: list[list[str]] = [[]]
    for statement in _split(lines):
        code = _read_statement("\n".join(statement))
        if code is None:
            programs.append([])
        elif code:
            programs[-1].append(code)
    return ["\n".join(run).strip("\n") + "\n" for run in programs if run]


def _split(lines: list[str]) -> Iterator[list[str]]:
    """Split before each line at the margin, except inside strings and before the other branches of a statement."""
    statement: list[str] = []
    quote = None
    decorated = False
    for line in lines:
        starts = line[:1].strip() != "" and quote is None and not decorated and not _CONTINUES.match(line)
        if starts and statement:
            yield statement
            statement = []
        statement.append(line)
        decorated = line.startswith("@") and quote is None
        quote = quote_after(line, quote)
    yield statement


def _read_statement(text: str) -> str | None:
    """Return the code of a statement, nothing for blank lines, None for prose."""
    if not text.strip():
        return ""
    tree = parse(text)
    if tree is not None:
        return text if all(is_code(node) for node in tree.body) else None
    head, _, indented = text.partition("\n")
    block = textwrap.dedent(text if head[:1].isspace() else indented)
    tree = parse(block)
    return block if tree is not None and any(is_code(node) for node in tree.body) else None


def is_code(node: ast.stmt) -> bool:
    """Return whether a statement is more than words that happen to be valid, such as ``Note: none``."""
    if isinstance(node, ast.AnnAssign):
        return node.value is not None
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call | ast.Await | ast.Yield | ast.Constant)
    return not isinstance(node, ast.Return)
