"""Names: those that a prompt's tests need from the program, and those that a part of a program defines and needs."""

import ast
import builtins
import json
import symtable
import sys
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from fusionrun_stages.grading.coding.syntax import parse
from fusionrun_stages.sandbox.preamble import read_preamble
from fusionrun_stages.sandbox.prelude import build_prelude

PROVIDED = frozenset(dir(builtins)) | frozenset(build_prelude())
"""Names that a program can use without defining them."""


class Wanted(NamedTuple):
    """Names that the program must define, and attributes that its classes must have."""

    names: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()


class Names(NamedTuple):
    """The names of a part of a program."""

    defined: frozenset[str]
    """Functions, classes and assigned variables of the module."""
    imported: frozenset[str]
    needed: frozenset[str]
    """Names that are read in any scope and that no scope inside the module binds."""
    functions: frozenset[str]
    """The defined names that are functions or classes."""
    stubs: frozenset[str]
    """Functions and classes without a body."""
    attributes: dict[str, frozenset[str]]
    """Methods and attributes by class; a class with bases is left out."""


@lru_cache(maxsize=64)
def names_of_tests(tests: tuple[str, ...], entry_point: str | None, preamble: str = "") -> Wanted:
    """Return the names that the tests use and do not define.

    These are the entry point's root (``Solution`` of ``Solution().twoSum``), what the tests import from a module that
    is not part of Python (``from solution import f``), and the other names that they read. Names of Python and of the
    sandbox's prelude count only if there is no other. Names of the preamble do not count. Tests that are pairs of
    standard input and output have no names.
    """
    names: set[str] = set()
    attributes: set[str] = set()
    entry = parse(entry_point or "")
    for node in ast.walk(entry) if entry else ():
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            attributes.add(node.attr)
    read: set[str] = set()
    bound: set[str] = set()
    for test in tests:
        tree = None if _is_data(test) else parse(test)
        found = read_names(test, tree) if tree else None
        if tree is None or found is None:
            continue
        read |= found.needed
        imported = set(_imported_from_program(tree))
        names |= imported
        bound |= found.defined | (found.imported - imported)
    read = {name for name in read - bound - _names_of_preamble(preamble) if not name.startswith("__")}
    names |= read - PROVIDED
    return Wanted(frozenset(names or read), frozenset(attributes))


def _names_of_preamble(preamble: str) -> frozenset[str]:
    try:
        return read_preamble(preamble).names
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()  # the judge reports it


def read_names(text: str, tree: ast.Module) -> Names | None:
    """Return the names of a valid program; None if it does not compile (``return`` outside a function)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = symtable.symtable(text, "program", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    symbols = table.get_symbols()
    bound = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
    imported = {s.get_name() for s in symbols if s.is_imported()}
    needed: set[str] = {s.get_name() for s in symbols if s.is_referenced()}
    pending = list(table.get_children())
    while pending:
        scope = pending.pop()
        pending += scope.get_children()
        for symbol in scope.get_symbols():
            if symbol.is_global() and symbol.is_referenced():
                needed.add(symbol.get_name())
            if symbol.is_declared_global() and symbol.is_assigned():
                bound.add(symbol.get_name())
    definitions = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    return Names(
        frozenset(bound - imported),
        frozenset(imported),
        frozenset(needed - bound),
        frozenset(node.name for node in definitions),
        frozenset(node.name for node in definitions if _is_stub(node)),
        {n.name: _members(n) for n in definitions if isinstance(n, ast.ClassDef) and not n.bases},
    )


def _is_data(test: str) -> bool:
    """Return whether a test is data, such as a pair of standard input and output."""
    if test.lstrip()[:1] not in ("{", "["):
        return False
    for read in (json.loads, ast.literal_eval):
        try:
            read(test)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        return True
    return False


def _imported_from_program(tree: ast.Module) -> Iterator[str]:
    """Yield the names that are imported from modules outside of Python: one of them may be the program."""
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and _is_foreign(node.module):
            yield from (name.name for name in node.names if name.name != "*")
        elif isinstance(node, ast.Import):
            modules |= {name.asname or name.name for name in node.names if _is_foreign(name.name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield node.attr


def _is_foreign(module: str | None) -> bool:
    root = (module or "").split(".")[0]
    return root == "__main__" or root not in sys.stdlib_module_names


def _is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Return whether a function or class has no body yet: a docstring, ``pass``, ``...`` or NotImplementedError."""
    if isinstance(node, ast.ClassDef):
        if node.bases or node.decorator_list:
            return False
        return all(_is_nothing(s) or (isinstance(s, _FUNCTION) and _is_stub(s)) for s in node.body)
    return all(_is_nothing(statement) for statement in node.body)


_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def _is_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Raise):
        return any(isinstance(n, ast.Name) and n.id == "NotImplementedError" for n in ast.walk(node))
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _members(node: ast.ClassDef) -> frozenset[str]:
    functions = {statement.name for statement in node.body if isinstance(statement, _FUNCTION)}
    stored = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    variables = {
        n.id for s in node.body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    return frozenset(functions | stored | variables)
