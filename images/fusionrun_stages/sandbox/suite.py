"""A prompt's tests: the steps to run them, and the detection of tests that would judge no program.

Supported are assertions in statements, in ``check(candidate)`` (HumanEval: called with the entry point), in functions
whose name starts with ``test``, in ``unittest.TestCase`` classes, and in classes whose name starts with ``Test``
(pytest; see ``pytest_names``). If nothing calls an assertion, any program would pass, so the prompt cannot be used.
"""

import ast
import unittest
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fusionrun_stages.sandbox import pytest_names
from fusionrun_stages.sandbox.dataflow import Dataflow, is_parametrize
from fusionrun_stages.sandbox.liveness import find_live, is_assertion, names_of, region
from fusionrun_stages.sandbox.names import find_free, find_imported, root_of
from fusionrun_stages.sandbox.preamble import read_preamble

LINE_MAX_CHARACTERS = 200
SHARED_STATE = frozenset({
    "sys", "io", "os", "builtins", "mock", "patch", "redirect_stdout", "redirect_stderr", "stdout", "stderr",
    "stdin", "input", "open", "capsys", "capfd", "caplog", "monkeypatch", "random", "seed", "globals", "locals",
    "vars", "dir", "type", "isinstance", "issubclass", "hasattr", "callable", "getattr", "id", "is_dataclass",
    "inspect", "types", "warnings", "logging", "time", "gc", "threading", "copy", "deepcopy", "pickle",
    "contextlib", "SystemExit", "exit", "KeyboardInterrupt", "getrecursionlimit", "setrecursionlimit",
    "tracemalloc", "environ", "assertIsInstance", "assertLogs", "assertWarns",
})  # fmt: skip
"""Names with which tests use what a process shares, or look at the class of a value (this project's list). A test that
fails with one of them may pass in one process with the program."""
_Function = ast.FunctionDef | ast.AsyncFunctionDef
Step = tuple[str, Callable[[], object]]
"""Source line for messages, and the function to call."""


class PromptTests:
    """All tests of a prompt, which share one namespace."""

    def __init__(self, tests: Iterable[str], entry_point: str | None, preamble: str = "") -> None:
        texts = list(tests)
        self.preamble = read_preamble(preamble)
        self.trees = [ast.parse(test) for test in texts]
        for tree in self.trees:
            compile(tree, "tests.py", "exec", dont_inherit=True, optimize=0)  # ast.parse accepts a return at the top
        self.entry_point = entry_point
        self.root = root_of(entry_point)
        nodes = [node for tree in self.trees for node in ast.walk(tree)]
        names = {name for node in nodes for name in names_of(node)}
        self._expects_failure = bool(names & {"expectedFailure", "xfail"})
        self._asserts = any(isinstance(node, ast.Raise) or is_assertion(node) for node in nodes)
        self.used = {node.id for node in nodes if isinstance(node, ast.Name)}
        """Every name that the tests read."""
        self.defined = {getattr(node, "name", None) for tree in self.trees for node in tree.body}
        """Names of the tests' top-level functions and classes."""
        self.free = find_free(texts) - self.preamble.names
        """Names that only the program can define."""
        self.imported, self.imports = find_imported(self.trees)
        modules = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
        modules |= {part for n in nodes if isinstance(n, ast.ImportFrom) for part in (n.module or "").split(".")}
        self.shares_state = bool((names | modules) & SHARED_STATE)
        """Whether a test may depend on what one process shares."""
        self.expects_exit = "SystemExit" in names

    @property
    def allowed(self) -> frozenset[str]:
        """Names of the program in the tests' namespace: with an entry point, only its first name.

        Otherwise a program could define a helper that the tests forgot, and that accepts everything.
        """
        return self.free if self.root is None else frozenset({self.root}) - self.defined

    def find_fault(self) -> str | None:
        """Return why the tests cannot judge a program, or None."""
        if not self._asserts:
            return "its tests assert nothing"
        if self._expects_failure:
            return "its tests expect to fail"
        live, dead = find_live(self.trees, self._is_run)
        if dead:
            return f"its tests assert in {dead}, which nothing calls"
        return None if self._can_call(live) else "no test calls the program"

    def _can_call(self, live: list[ast.AST]) -> bool:
        """Return whether a statement that runs names the program."""
        if self.imports or any(
            isinstance(s, ast.FunctionDef) and self._is_check(s) for t in self.trees for s in t.body
        ):
            return True
        program = self.free | ({self.root} - self.defined if self.root else set())
        return any(isinstance(node, ast.Name) and node.id in program for node in live)

    def find_judge(self) -> str | None:
        """Return a name of the program that would decide on the program's results."""
        if self.root is not None and "*" not in self.imported:
            return None  # the tests have no other name of the program, or they import it by its name
        names = (self._program_names() | self.free) - self.imported
        return Dataflow(self.trees, names).find_judge() if len(names) > 1 else None

    def compares_changes(self) -> bool:
        """Return whether a test could pass because the program changes an argument (see ``Dataflow``)."""
        program = self._program_names() | self.imported
        return Dataflow(self.trees, program, self.preamble.defined).compares_changes()

    def _program_names(self) -> frozenset[str]:
        checks = [s for t in self.trees for s in t.body if isinstance(s, ast.FunctionDef) and self._is_check(s)]
        candidates = {arg.arg for check in checks for arg in check.args.posonlyargs + check.args.args}
        return self.allowed | candidates | ({"solution"} if self.imports else set())

    def steps(self, space: dict[str, Any]) -> Iterator[Step]:
        """Yield the statements, then the calls of the functions and classes that they define.

        Call each step before you request the next. Functions are looked up right after their definition: two tests may
        both define ``check``.
        """
        calls: list[Step] = []
        for tree in self.trees:
            for statement in tree.body:
                line = ast.unparse(statement)[:LINE_MAX_CHARACTERS]
                yield line, _executing(ast.Module([statement], []), space)
                if isinstance(statement, ast.FunctionDef) and self._is_run(statement):
                    calls.append(self._call(statement.name, space))
                elif isinstance(statement, ast.ClassDef) and _is_test_class(statement):
                    calls.append((f"class {statement.name}", _running(space[statement.name])))
        yield from calls

    def _is_run(self, node: ast.stmt, case: ast.ClassDef | None = None) -> bool:
        """Return whether ``steps`` runs a top-level function or class, or a method of a class."""
        if isinstance(node, ast.ClassDef):
            return _is_test_class(node)
        if not isinstance(node, ast.FunctionDef) or any(isinstance(n, _YIELDS) for n in region(node.body)):
            return False
        if case is not None:
            is_test = node.name.startswith("test") and _count_required(node) == 1
            return _is_test_class(case) and (node.name in _HOOKS or is_test)
        return self._is_check(node) or (node.name.startswith("test") and _count_required(node) == 0)

    def _is_check(self, function: ast.FunctionDef) -> bool:
        return function.name == "check" and self.entry_point is not None

    def _call(self, name: str, space: dict[str, Any]) -> Step:
        function = space[name]
        if name != "check":
            return f"{name}()", lambda: pytest_names.call(function)
        source = self.entry_point or ""
        return f"check({source})", lambda: function(eval(source, space))  # noqa: S307 (the prompt's expression)


_HOOKS = ("setUp", "tearDown", "setUpClass", "tearDownClass", "setup_method", "teardown_method")
_YIELDS = (ast.Yield, ast.YieldFrom)


def _executing(tree: ast.Module, space: dict[str, Any]) -> Callable[[], object]:
    code = compile(tree, "tests.py", "exec", dont_inherit=True, optimize=0)
    return lambda: exec(code, space)  # noqa: S102 (the user's tests, not the program)


def _running(case: Any) -> Callable[[], object]:
    """Return a function that runs a test class and raises its first failure."""
    if issubclass(case, unittest.TestCase):
        return unittest.defaultTestLoader.loadTestsFromTestCase(case).debug

    def run() -> None:
        for name in [name for name in vars(case) if name.startswith("test")]:
            instance = case()
            getattr(instance, "setup_method", lambda: None)()
            pytest_names.call(getattr(instance, name))
            getattr(instance, "teardown_method", lambda: None)()

    return run


def _is_test_class(node: ast.ClassDef) -> bool:
    names = {statement.name for statement in node.body if isinstance(statement, _Function)}
    is_case = any("TestCase" in names_of(base) for base in node.bases)
    return is_case or (node.name.startswith("Test") and not node.bases and "__init__" not in names)


def _count_required(function: ast.FunctionDef) -> int:
    """Return the number of required arguments that pytest's ``parametrize`` does not give."""
    args = function.args
    names = [arg.arg for arg in [*args.posonlyargs, *args.args]]
    names = names[: len(names) - len(args.defaults)]
    names += [arg.arg for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default is None]
    given = {name for decorator in function.decorator_list for name in _parametrized(decorator)}
    return len(set(names) - given)


def _parametrized(decorator: ast.expr) -> list[str]:
    if not isinstance(decorator, ast.Call) or not is_parametrize(decorator) or not decorator.args:
        return []
    try:
        return pytest_names.split_names(ast.literal_eval(decorator.args[0]))
    except (ValueError, TypeError):
        return []
