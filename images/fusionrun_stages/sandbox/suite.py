"""A prompt's tests: the steps to run them, and the detection of assertions that would never run.

Supported are assertions in statements, in ``check(candidate)`` (HumanEval: called with the entry point), in functions
whose name starts with ``test``, in ``unittest.TestCase`` classes, and in classes whose name starts with ``Test``
(pytest). If nothing calls an assertion, any program would pass, so the prompt cannot be used.
"""

import ast
import unittest
from collections.abc import Callable, Iterable, Iterator
from typing import Any

LINE_MAX_CHARACTERS = 200
_HOOKS = ("setUp", "tearDown", "setUpClass", "tearDownClass", "setup_method", "teardown_method")
_Function = ast.FunctionDef | ast.AsyncFunctionDef
Step = tuple[str, Callable[[], object]]
"""Source line for messages, and the function to call."""


class PromptTests:
    """All tests of a prompt, which share one namespace."""

    def __init__(self, tests: Iterable[str], entry_point: str | None) -> None:
        self._trees = [ast.parse(test) for test in tests]
        for tree in self._trees:
            compile(tree, "tests.py", "exec")  # ast.parse accepts a return outside a function
        self._entry_point = entry_point
        nodes = [node for tree in self._trees for node in ast.walk(tree)]
        self._functions = [node for node in nodes if isinstance(node, _Function)]
        self._expects_failure = any("expectedFailure" in _names(node) for node in nodes)
        self._asserts = any(isinstance(node, ast.Raise) or _is_assertion(node) for node in nodes)
        self.used = {node.id for node in nodes if isinstance(node, ast.Name)}
        """Every name that the tests read."""
        self.defined = {getattr(node, "name", None) for tree in self._trees for node in tree.body}
        """Names of the tests' top-level functions and classes."""

    def find_fault(self) -> str | None:
        """Return why the tests cannot judge a program, or None."""
        if not self._asserts:
            return "its tests assert nothing"
        if self._expects_failure:
            return "its tests expect to fail"
        dead = self._find_dead()
        return f"its tests assert in {dead}, which nothing calls" if dead else None

    def steps(self, space: dict[str, Any]) -> Iterator[Step]:
        """Yield the statements, then the calls of the functions and classes that they define.

        Call each step before you request the next. Functions are looked up right after their definition: two tests may
        both define ``check``.
        """
        calls: list[Step] = []
        for tree in self._trees:
            for statement in tree.body:
                line = ast.unparse(statement)[:LINE_MAX_CHARACTERS]
                yield line, _executing(ast.Module([statement], []), space)
                if isinstance(statement, ast.FunctionDef) and self._is_called(statement):
                    calls.append(self._call(statement.name, space))
                elif isinstance(statement, ast.ClassDef) and _is_test_class(statement):
                    calls.append((f"class {statement.name}", _running(space[statement.name])))
        yield from calls

    def _is_called(self, function: ast.FunctionDef) -> bool:
        is_check = function.name == "check" and self._entry_point is not None
        is_test = function.name.startswith("test") and _count_required(function) == 0
        return (is_check or is_test) and _runs_when_called(function)

    def _call(self, name: str, space: dict[str, Any]) -> Step:
        function = space[name]
        if name != "check":
            return f"{name}()", function
        source = self._entry_point or ""
        return f"check({source})", lambda: function(eval(source, space))  # noqa: S307 (the prompt's expression)

    def _find_dead(self) -> str | None:
        """Return a function that asserts but is not called and not referenced by code that runs."""
        called: set[int] = set()
        for statement in (node for tree in self._trees for node in tree.body):
            if isinstance(statement, ast.FunctionDef) and self._is_called(statement):
                called.add(id(statement))
            elif isinstance(statement, ast.ClassDef) and _is_test_class(statement):
                called |= {id(node) for node in statement.body if _is_test_method(node)}
        live = [node for tree in self._trees for node in _region(tree.body)]
        dead = self._functions
        while True:
            referenced = {name for node in live for name in _names(node)}
            reached = [f for f in dead if id(f) in called or f.name in referenced or f.name.startswith("__")]
            if not reached:
                break
            dead = [function for function in dead if function not in reached]
            live = [node for function in reached for node in _region(function.body)]
        return next((f.name for f in dead if any(_is_assertion(node) for node in _region(f.body))), None)


def _executing(tree: ast.Module, space: dict[str, Any]) -> Callable[[], object]:
    code = compile(tree, "tests.py", "exec")
    return lambda: exec(code, space)  # noqa: S102 (the user's tests, not the program)


def _running(case: Any) -> Callable[[], object]:
    """Return a function that runs a test class and raises its first failure."""
    if issubclass(case, unittest.TestCase):
        return unittest.defaultTestLoader.loadTestsFromTestCase(case).debug

    def run() -> None:
        for name in [name for name in vars(case) if name.startswith("test")]:
            instance = case()
            getattr(instance, "setup_method", lambda: None)()
            getattr(instance, name)()
            getattr(instance, "teardown_method", lambda: None)()

    return run


def _is_test_class(node: ast.ClassDef) -> bool:
    names = {statement.name for statement in node.body if isinstance(statement, _Function)}
    is_case = any("TestCase" in _names(base) for base in node.bases)
    return is_case or (node.name.startswith("Test") and not node.bases and "__init__" not in names)


def _is_test_method(node: ast.stmt) -> bool:
    if not isinstance(node, ast.FunctionDef) or not _runs_when_called(node):
        return False
    return node.name in _HOOKS or (node.name.startswith("test") and _count_required(node) == 1)


def _runs_when_called(function: ast.FunctionDef) -> bool:
    return not any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _region(function.body))


def _count_required(function: ast.FunctionDef) -> int:
    """Return the number of required arguments."""
    args = function.args
    keywords = sum(default is None for default in args.kw_defaults)
    return len(args.posonlyargs) + len(args.args) - len(args.defaults) + keywords


def _region(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes that run with these statements: all except the bodies of functions."""
    pending = list(body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, _Function):
            pending += [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        else:
            pending += ast.iter_child_nodes(node)


def _names(node: ast.AST) -> tuple[str, ...]:
    if isinstance(node, ast.Name):
        return (node.id,)
    return (node.attr,) if isinstance(node, ast.Attribute) else ()


def _is_assertion(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise):
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return isinstance(raised, ast.Name) and raised.id == "AssertionError"
    return isinstance(node, ast.Assert) or (isinstance(node, ast.Attribute) and node.attr.startswith("assert"))
