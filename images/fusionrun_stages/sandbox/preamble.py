"""The preamble of a prompt: trusted code that runs before the program, and before its tests.

It has the imports, classes and functions that a problem takes for granted, such as ``class ListNode`` and
``is_same_tree``. Both processes run it. Instances of its classes are sent by value, with their attributes, so that the
tests read them with the preamble's own code (``values``).
"""

import ast
import warnings
from functools import cache
from types import CodeType
from typing import Any

Namespace = dict[str, Any]


class Preamble:
    """A preamble, read. It may be empty.

    It may end in the signature of the function that the program has to define, with or without a docstring, as the
    prompts of HumanEval and BigCodeBench do. Such a function without a body is no definition.

    Raises
    ------
    SyntaxError, ValueError, RecursionError, MemoryError
        It is not valid Python.
    """

    def __init__(self, text: str = "") -> None:
        tree = _parse(text)
        self.text = text
        self.defined = frozenset(n.name for n in tree.body if isinstance(n, _DEFINITION) and not _is_open(n))
        """Names of its functions and classes."""
        self._open = frozenset(n.name for n in tree.body if isinstance(n, _DEFINITION)) - self.defined
        self.names = self.defined | frozenset(_bound(tree.body)) - self._open
        """All names that it gives to the tests, except those of star imports."""
        self._code: CodeType = compile(tree, "preamble.py", "exec", dont_inherit=True, optimize=0)

    def run(self, space: Namespace) -> None:
        """Run it in a namespace; functions without a body are left out."""
        exec(self._code, space)  # noqa: S102 (the data set's code, not the program)
        for name in self._open:
            space.pop(name, None)

    def run_for_program(self, space: Namespace) -> dict[str, Any] | None:
        """Run it in the program's process; return the reply for an exception, which is not the program's fault."""
        try:
            self.run(space)
        except Exception as error:  # noqa: BLE001 (the limits of this process are others than those of the tests)
            return {"unsent": f"the preamble raises {type(error).__name__}: {error}"[:300]}
        return None


@cache
def read_preamble(text: str) -> Preamble:
    """Return a preamble, read once per process. Raises as ``Preamble`` does."""
    return Preamble(text)


class Classes:
    """The classes of a preamble whose instances are sent by value, in one process.

    The program may define a class of this name again, as responses often do. Its instances then take the place of the
    preamble's, as in one process.
    """

    def __init__(self, preamble: Preamble, space: Namespace) -> None:
        self._space = space
        found = {name: space.get(name) for name in preamble.defined}
        self._own: dict[Any, type] = {
            n: kind for n, kind in found.items() if isinstance(kind, type) and _is_plain(kind)
        }

    def find(self, name: Any) -> type:
        """Return the class to make an instance of; raise LookupError for another name."""
        found = self._space.get(name)
        return found if name in self._own and isinstance(found, type) else self._own[name]

    def name(self, kind: type) -> str | None:
        """Return the name of a class whose instances are sent by value; None for any other."""
        name = kind.__name__
        return name if name in self._own and kind in (self._own[name], self._space.get(name)) else None

    def is_own(self, kind: type) -> bool:
        """Return whether a class is the preamble's, and not one of the program with its name."""
        return kind in self._own.values()


_DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about strings such as "\d"
        try:
            return ast.parse(text)
        except SyntaxError:
            return ast.parse(f"{text.rstrip()}\n    pass\n")  # it ends in a signature


def _is_open(node: ast.stmt) -> bool:
    """Return whether a function or class has no body: at most a docstring, ``pass`` or ``...``."""
    if isinstance(node, ast.ClassDef) and (node.bases or node.decorator_list):
        return False
    if not isinstance(node, _DEFINITION):
        return False
    return all(
        isinstance(s, ast.Pass)
        or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
        or (isinstance(node, ast.ClassDef) and _is_open(s))
        for s in node.body
    )


def _bound(body: list[ast.stmt]) -> set[str]:
    """Return the names that statements at the top bind."""
    names: set[str] = set()
    for statement in body:
        if isinstance(statement, _DEFINITION):
            names.add(statement.name)
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.alias):
                names.add((node.asname or node.name).partition(".")[0])
    return names - {"*"}


def _is_plain(kind: type) -> bool:
    """Return whether the attributes of an instance are all that it has."""
    return (
        type(kind) is type
        and kind.__bases__ == (object,)
        and not vars(kind).keys() & {"__new__", "__slots__", "__setattr__", "__getattribute__", "__getattr__"}
    )
