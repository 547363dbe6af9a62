"""Run a prompt's tests against a program in another process, and say what came of it."""

import ast
import builtins
from collections.abc import Iterator, Sequence
from types import CodeType
from typing import Any

from fusionrun_stages.graders import Grade, right, unknown, unusable, wrong
from fusionrun_stages.sandbox.prelude import build_prelude
from fusionrun_stages.sandbox.proxies import NotPlainError, Program, ProgramGoneError

LINE_MAX_CHARACTERS = 200


def run_tests(program: Program, tests: Sequence[str], entry_point: str | None) -> Grade:
    """Run all tests in one namespace; every one must pass.

    Parameters
    ----------
    tests
        Statements or whole test programs. They may assert at once (``assert f(1) == 2``), define ``check(candidate)``
        (HumanEval: it is then called with the entry point) or define ``test_…`` functions (then these are called).
    entry_point
        Expression for what is under test: ``f`` or ``Solution().twoSum``.
    """
    try:
        trees = [ast.parse(test) for test in tests]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return unusable(f"its tests are no Python: {error}")
    if not any(_asserts(tree) for tree in trees):
        return unusable("its tests assert nothing")
    try:
        names = program.names()
    except (ProgramGoneError, NotPlainError):
        return _unless(program, wrong())
    except Exception as error:  # noqa: BLE001 (whatever the program raised)
        return wrong(f"not loaded: {_describe(error)}")
    return _unless(program, _run(program, _build_namespace(names, trees, entry_point), trees, entry_point))


def _unless(program: Program, grade: Grade) -> Grade:
    """Put what ended the program first: a bare ``except:`` in a test must not hide it."""
    if program.gone:
        return wrong(f"ended: {program.gone}")
    return unknown(f"not plain: {program.not_plain}") if program.not_plain else grade


def _run(program: Program, space: dict[str, Any], trees: list[ast.Module], entry_point: str | None) -> Grade:
    line = ""
    try:
        for source, code in _statements(trees, entry_point):
            line = source
            exec(code, space)  # noqa: S102 (the user's tests, not the program)
    except AssertionError:
        return wrong(f"failed: {line}")
    except (ProgramGoneError, NotPlainError):
        return wrong()
    except ModuleNotFoundError as error:
        return unusable(f"its tests need what is not there: {error}")
    except MemoryError:
        return unknown("the tests used up their memory")
    except Exception as error:  # noqa: BLE001 (a wrong program may make its tests raise anything)
        return wrong(f"raised: {_describe(error)} in {line}")
    return right() if program.calls else unknown("no test calls the program")


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:LINE_MAX_CHARACTERS]}"


def _statements(trees: list[ast.Module], entry_point: str | None) -> Iterator[tuple[str, CodeType]]:
    """Yield the tests' statements, then the calls of what they define, each with its source for people."""
    functions = []
    for tree in trees:
        for statement in tree.body:
            line = ast.unparse(statement)[:LINE_MAX_CHARACTERS]
            yield line, compile(ast.Module([statement], []), "tests.py", "exec")
            if isinstance(statement, ast.FunctionDef):
                functions.append(statement)
    for function in functions:
        call = None
        if function.name == "check" and entry_point:
            call = f"check({entry_point})"
        elif function.name.startswith("test_") and not function.args.args:
            call = f"{function.name}()"
        if call:
            yield call, compile(call, "tests.py", "exec")


def _asserts(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Assert | ast.Raise) or (isinstance(node, ast.Attribute) and node.attr.startswith("assert"))
        for node in ast.walk(tree)
    )


def _build_namespace(names: dict[str, Any], trees: list[ast.Module], entry_point: str | None) -> dict[str, Any]:
    """Put the program's names below the builtins', the prelude's and the tests' own: it shadows none of these.

    Only a name that is itself the entry point may be a builtin's (a program asked for a function ``sum``).
    """
    space = build_prelude()
    own = {getattr(node, "name", None) for tree in trees for node in tree.body}
    for name, value in names.items():
        shadows = name in space or hasattr(builtins, name) or name in own
        if name.isidentifier() and (not shadows or name == entry_point):
            space[name] = value
    return space
