"""Which functions of a prompt's tests are called: an assertion in any other one never runs."""

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence

_Function = ast.FunctionDef | ast.AsyncFunctionDef
IsRun = Callable[[ast.stmt, ast.ClassDef | None], bool]
"""Whether the runner of the tests calls a top-level function or class (None), or a method of a class."""


def find_live(trees: Sequence[ast.Module], is_run: IsRun) -> tuple[list[ast.AST], str | None]:
    """Return the nodes that may run, and the name of a function that asserts but is never called, if any.

    A function is referenced by its name; a method by an attribute of this name, if its class is referenced.
    """
    nodes = [node for tree in trees for node in ast.walk(tree)]
    owners = {id(m): c for c in nodes if isinstance(c, ast.ClassDef) for m in c.body if isinstance(m, _Function)}
    tops = {id(statement) for tree in trees for statement in tree.body}
    dead = [node for node in nodes if isinstance(node, _Function)]
    live = [node for tree in trees for node in region(tree.body)]
    while True:
        names = {node.id for node in live if isinstance(node, ast.Name)}
        attributes = {node.attr for node in live if isinstance(node, ast.Attribute)}

        def is_reached(function: _Function, names: set[str] = names, attributes: set[str] = attributes) -> bool:
            owner = owners.get(id(function))
            if owner is None:
                return function.name in names or (id(function) in tops and is_run(function, None))
            if is_run(function, owner):
                return True
            used = owner.name in names or is_run(owner, None)
            return used and (function.name in attributes or function.name.startswith("__"))

        reached = [function for function in dead if is_reached(function)]
        if not reached:
            return live, next((f.name for f in dead if any(is_assertion(n) for n in region(f.body))), None)
        dead = [function for function in dead if function not in reached]
        live += [node for function in reached for node in region(function.body)]


def region(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes that run with these statements: all except the bodies of functions."""
    pending = list(body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, _Function):
            pending += [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        else:
            pending += ast.iter_child_nodes(node)


def names_of(node: ast.AST) -> tuple[str, ...]:
    """Return the name that a node reads, as a variable or an attribute."""
    if isinstance(node, ast.Name):
        return (node.id,)
    return (node.attr,) if isinstance(node, ast.Attribute) else ()


def is_assertion(node: ast.AST) -> bool:
    """Return whether a node asserts."""
    if isinstance(node, ast.Raise):
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return isinstance(raised, ast.Name) and raised.id == "AssertionError"
    if isinstance(node, ast.Attribute) and node.attr == "raises":
        return isinstance(node.value, ast.Name) and node.value.id == "pytest"
    return isinstance(node, ast.Assert) or (isinstance(node, ast.Attribute) and node.attr.startswith("assert"))
