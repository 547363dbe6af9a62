"""Keep of a text what the entry point of a program needs.

Notes
-----
Source: evalplus 0.3.1, ``evalplus.sanitize``, which uses tree-sitter; here Python's own parser reads the longest valid
code. What the rules drop is intended there, and part of the scores: definitions with decorators, functions without
``return``, ``from __future__`` imports, and all statements but imports, definitions and assignments.
"""

import ast
from collections.abc import Iterator
from itertools import accumulate

from fusionrun_stages.grading.coding.syntax import PROGRAM_MAX_CHARACTERS, parse

PARSES_MAX = 20_000
"""Ranges of lines that are tried. A program of 100 lines in prose needs fewer; only a long text without code needs
more, and has no program."""
_Definition = tuple[str | None, ast.stmt]


def sanitize(text: str, entry_point: str) -> str:
    """Return the imports, and the definitions that the entry point reaches; all of the code if there are none."""
    code = find_code(text)
    return _keep_reachable(code, entry_point).strip() or code


def find_code(text: str) -> str:
    """Return the consecutive lines, at least two, that are valid Python and have the most lines that are not blank.

    Of several, the first. If there are none, the first line.
    """
    lines = text.split("\n")
    if len(text) <= PROGRAM_MAX_CHARACTERS:
        for tried, (start, end) in enumerate(_ranges(lines)):
            if tried == PARSES_MAX:
                break
            code = "\n".join(lines[start:end])
            if parse(code) is not None:
                return code
    return lines[0]


def _ranges(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Yield all ranges of two lines or more that are not all blank, those with most lines that are not blank first."""
    before = list(accumulate((bool(line.strip()) for line in lines), initial=0))
    for size in range(before[-1], 0, -1):
        end = 0
        for start in range(len(lines) - 1):
            end = max(end, start + 2)
            while end <= len(lines) and before[end] - before[start] < size:
                end += 1
            if end > len(lines):
                break
            for last in range(end, len(lines) + 1):
                if before[last] - before[start] > size:
                    break
                yield start, last


def _keep_reachable(code: str, entry_point: str) -> str:
    tree = parse(code)
    if tree is None:
        return ""
    imports = [node for node in tree.body if _is_import(node)]
    definitions = _find_definitions(tree)
    needs = {name: _identifiers(node) for name, node in definitions}
    reached, pending = {entry_point}, [entry_point]
    while pending:
        found = needs.get(pending.pop(), set()) - reached
        reached |= found
        pending += found
    kept = [*imports, *(node for name, node in definitions if name in reached)]
    return "\n".join(ast.get_source_segment(code, node) or "" for node in kept)


def _is_import(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module != "__future__" or node.level > 0
    return isinstance(node, ast.Import)


def _find_definitions(tree: ast.Module) -> list[_Definition]:
    """Return the first definition of each name at the top level."""
    found: dict[str | None, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            found.setdefault(_assigned_name(node), node)
        elif (isinstance(node, ast.ClassDef) and not node.decorator_list) or (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_kept(node)
        ):
            found.setdefault(node.name, node)
    return list(found.items())


def _is_kept(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return not node.decorator_list and any(isinstance(inner, ast.Return) for inner in ast.walk(node))


def _assigned_name(node: ast.Assign | ast.AnnAssign) -> str | None:
    """Return the first operand that is a name: of ``a.b = c`` it is ``c``."""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    alone = isinstance(node, ast.AnnAssign) or len(node.targets) == 1
    return next(
        (operand.id for operand in (target, node.value if alone else None) if isinstance(operand, ast.Name)), None
    )


def _identifiers(node: ast.stmt) -> set[str]:
    """Return all names in a definition, whatever they stand for."""
    found: set[str] = set()
    for inner in ast.walk(node):
        for name, value in ast.iter_fields(inner):
            if name in _NAME_FIELDS and isinstance(value, str):
                found.update(value.split("."))
            elif name in _NAME_FIELDS and isinstance(value, list):
                found.update(item for item in value if isinstance(item, str))
    return found


_NAME_FIELDS = {"id", "attr", "arg", "name", "asname", "module", "names", "rest", "kwd_attrs"}
"""Fields of the classes of ``ast`` that hold identifiers."""
