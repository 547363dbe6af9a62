"""The text that is run: a program with the imports that LiveCodeBench's runner adds.

Notes
-----
Source: FuseEval, Code-Eval/LiveCodeBench/lcb_runner/evaluation/testing_util.py, ``run_test``.
"""

import ast

from fusionrun_stages.grading.coding.syntax import parse

_MODULES = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json",
)  # fmt: skip
RECURSION_LIMIT = 600_000
FUNCTION = "code"
"""The function that contains a program that reads an input: so it can be run once per test."""


def build_imports() -> str:
    """Return the imports, all names first: later ones replace earlier ones.

    A program that calls ``exit`` or ``quit`` fails, as in the official runner; ``sys.exit`` may end a program that
    reads an input.
    """
    names = [f"from {module} import *" for module in (*_MODULES, "builtins", "typing")]
    modules = [f"import {module}" for module in _MODULES]
    return "\n".join([*names, *modules, "exit = quit = None", f"sys.setrecursionlimit({RECURSION_LIMIT})", ""])


def build_module(program: str) -> str:
    """Return the module of a program whose function is called."""
    return build_imports() + program


def build_script(program: str) -> str:
    """Return a module with a function that runs the whole program.

    From the first line that is no import on, every line is in the function, including those of a text over several
    lines. The program's variables are thus local, and ``global`` does not work, as in the official runner. Without such
    a line, there is no function.
    """
    lines = _open_main(program).split("\n")
    first = next((n for n, line in enumerate(lines) if not line.startswith(("from ", "import "))), len(lines))
    head, body = lines[:first], lines[first:]
    if body:
        head += ["stdin = sys.stdin", "stdout = sys.stdout", f"def {FUNCTION}():"]
    return build_imports() + "\n".join([*head, *(f"\t{line}" for line in body), ""])


def _open_main(program: str) -> str:
    """Replace a last statement ``if __name__ == '__main__'`` by its content."""
    tree = parse(program)
    last = tree.body[-1] if tree and tree.body else None
    if not isinstance(last, ast.If) or ast.unparse(last.test) != "__name__ == '__main__'":
        return program
    assert tree is not None
    return f"{ast.unparse(ast.Module(tree.body[:-1], []))}\n{ast.unparse(ast.Module(last.body, []))}"
