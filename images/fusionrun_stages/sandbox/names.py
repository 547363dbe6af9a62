"""The names in a prompt's tests: which ones they define, and which ones the program must define."""

import ast
import builtins
import symtable
from collections.abc import Iterable, Iterator, Sequence

from fusionrun_stages.sandbox.prelude import is_in_prelude

MODULE = "solution"
"""Tests may import the program under this name."""


def find_free(tests: Iterable[str]) -> frozenset[str]:
    """Return the global names that the tests read, and neither they, nor Python, nor the prelude define."""
    read: set[str] = set()
    bound: set[str] = set()
    for test in tests:
        for table in _walk(symtable.symtable(test, "tests.py", "exec")):
            for symbol in table.get_symbols():
                top = table.get_type() == "module"
                if symbol.is_referenced() and (top or symbol.is_global()):
                    read.add(symbol.get_name())
                if (symbol.is_assigned() or symbol.is_imported()) and (top or symbol.is_declared_global()):
                    bound.add(symbol.get_name())
    return frozenset(name for name in read - bound if not is_provided(name))


def _walk(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _walk(child)


def is_provided(name: str) -> bool:
    """Return whether Python or the prelude defines a name for tests."""
    return hasattr(builtins, name) or is_in_prelude(name) or (name.startswith("__") and name.endswith("__"))


def find_imported(trees: Sequence[ast.Module]) -> tuple[frozenset[str], bool]:
    """Return the names that the tests import from the program, and whether they import it at all."""
    names: set[str] = set()
    imports = False
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom) and node.module == MODULE:
            names |= {alias.asname or alias.name for alias in node.names}
            imports = True
        elif isinstance(node, ast.Import):
            imports |= any(alias.name == MODULE for alias in node.names)
    return frozenset(names), imports


def root_of(expression: str | None) -> str | None:
    """Return the first name of an entry point: ``Solution`` of ``Solution().twoSum``."""
    if not expression:
        return None
    return next((n.id for n in ast.walk(ast.parse(expression, mode="eval")) if isinstance(n, ast.Name)), None)


def names_in(node: ast.AST) -> set[str]:
    """Return all names in an expression or statement."""
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
