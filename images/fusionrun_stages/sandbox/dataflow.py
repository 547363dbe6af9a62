"""What a prompt's tests compare: results of the program, arguments that it may change, or values of their own.

The analysis does not follow the order of statements, and treats a name alike in all functions. It errs towards doubt.
"""

import ast
from collections.abc import Iterator, Sequence

from fusionrun_stages.sandbox.names import names_in

_BINDERS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)


class Dataflow:
    """Names of the tests that derive from the program.

    ``program``: names of the program, and the parameters of ``check`` functions. ``trusted``: functions and classes of
    the preamble, which no program can change.
    """

    def __init__(
        self, trees: Sequence[ast.Module], program: frozenset[str], trusted: frozenset[str] = frozenset()
    ) -> None:
        self._trusted = trusted
        self._nodes = [node for tree in trees for node in ast.walk(tree)]
        self._bindings = [(targets, names_in(value)) for targets, value in _bindings(self._nodes)]
        self._parents = {id(child): node for node in self._nodes for child in ast.iter_child_nodes(node)}
        self._parameters = _find_parameters(self._nodes, program)
        self.program = program
        self.results = self._close(program)
        """Names whose value may derive from the program, and the program's names."""

    def _close(self, names: frozenset[str]) -> frozenset[str]:
        """Add the names that are bound to an expression with one of these names."""
        found = set(names)
        while True:
            new = {target for targets, names in self._bindings if names & found for target in targets} - found
            if not new:
                return frozenset(found)
            found |= new

    def find_judge(self) -> str | None:
        """Return a name of the program that decides on a result of another name of the program.

        As in ``assert is_same(f(1), 2)`` or ``assert f(1) == EXPECTED``: the program would judge itself.
        """
        closures = [self._close(frozenset({name})) for name in self.program]
        for node in self._nodes:
            called = names_in(node.func) & self.program if isinstance(node, ast.Call) else set()
            if isinstance(node, ast.Call) and called:
                arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
                given = [argument for argument in arguments if names_in(argument) & (self.results - called)]
                if given and (len(given) < len(arguments) or not self._is_compared(node)):
                    return sorted(called)[0]
            truth = next((n for n in _truths(node) if sum(n in closure for closure in closures) > 1), None)
            if truth:
                return truth
            for left, right in _compared(node):
                one, other = (names_in(side) & self.program for side in (left, right))
                if one and other and one != other:
                    return sorted(other)[0]
        return None

    def _is_compared(self, node: ast.AST) -> bool:
        """Return whether the value of an expression is compared or stored, not taken as truth."""
        parent = self._parents[id(node)]
        while isinstance(parent, ast.Call | ast.keyword | ast.Starred | ast.Subscript | ast.Tuple | ast.List):
            if _is_assertion_of_truth(parent):
                return False
            if any(True for _ in _compared(parent)):
                return True
            node, parent = parent, self._parents[id(parent)]
        return isinstance(parent, (ast.Compare, *_BINDERS))

    def compares_changes(self) -> bool:
        """Return whether a program could pass by changing what it is compared with.

        It cannot if every argument that a call may change is read only in assertions that compare it with a value that
        derives neither from the program nor from such an argument.
        """
        given = {name for node in self._nodes if self._calls_program(node) for name in _argument_names(node)}
        arguments = self._close(frozenset(given - self.program - self._trusted))
        tainted = arguments | self.results | self._parameters
        for node in self._nodes:
            if not (isinstance(node, ast.Name) and node.id in arguments and isinstance(node.ctx, ast.Load)):
                continue
            if not self._is_argument(node) and not self._is_read_safely(node, tainted):
                return True
        return False

    def _calls_program(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and bool(names_in(node.func) & self.results)

    def _is_argument(self, node: ast.AST) -> bool:
        """Return whether a name is only given to the program."""
        parent = self._parents[id(node)]
        while isinstance(parent, ast.keyword | ast.Starred | ast.Tuple | ast.List | ast.Subscript):
            node, parent = parent, self._parents[id(parent)]
        return self._calls_program(parent) and node is not parent.func  # type: ignore[attr-defined]

    def _is_read_safely(self, node: ast.AST, tainted: frozenset[str]) -> bool:
        """Return whether a name stands in an assertion, compared with an independent value."""
        compared = False
        while id(node) in self._parents:
            parent = self._parents[id(node)]
            for left, right in [*_compared(parent), *self._compared_by_preamble(parent)]:
                if node in (left, right):
                    compared = _is_identity(parent) or not names_in(right if node is left else left) & tainted
                    if not compared:
                        return False
            if isinstance(parent, ast.Assert) or _is_assert_method(parent):
                return compared
            if isinstance(parent, ast.stmt):
                return False
            node = parent
        return False

    def _compared_by_preamble(self, node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
        """Yield the two arguments of a function of the preamble, such as ``is_same_tree(root, expected)``."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self._trusted):
            return
        if len(node.args) == 2 and not node.keywords:  # noqa: PLR2004 (the sides of a comparison)
            yield node.args[0], node.args[1]


def _bindings(nodes: Sequence[ast.AST]) -> Iterator[tuple[set[str], ast.AST]]:
    """Yield the names that a node binds, and the expression that it binds them to."""
    for node in nodes:
        if isinstance(node, ast.Assign):
            yield {name for target in node.targets for name in names_in(target)}, node.value
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value:
            yield names_in(node.target), node.value
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            yield names_in(node.target), node.iter
        elif isinstance(node, ast.withitem) and node.optional_vars:
            yield names_in(node.optional_vars), node.context_expr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            returned = [child for child in ast.walk(node) if isinstance(child, ast.Return) and child.value]
            yield from (({node.name}, child) for child in returned)


def _find_parameters(nodes: Sequence[ast.AST], program: frozenset[str]) -> frozenset[str]:
    """Return the parameters of the tests' functions, which may have any value."""
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
    given = [n for n in functions if not any(is_parametrize(d) for d in getattr(n, "decorator_list", ()))]
    names = {arg.arg for n in given for arg in ast.walk(n.args) if isinstance(arg, ast.arg)}
    return frozenset(names) - program - {"self"}


def is_parametrize(decorator: ast.AST) -> bool:
    """Return whether a decorator is pytest's ``mark.parametrize``."""
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(function, ast.Attribute) and function.attr == "parametrize"


def _argument_names(call: ast.AST) -> set[str]:
    assert isinstance(call, ast.Call)
    return {n for value in (*call.args, *(k.value for k in call.keywords)) for n in names_in(value)}


def _compared(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield the two sides of each comparison."""
    if isinstance(node, ast.Compare):
        yield from zip([node.left, *node.comparators], node.comparators, strict=False)
    elif _is_assert_method(node) and not _is_assertion_of_truth(node) and len(node.args) > 1:  # type: ignore[attr-defined]
        yield node.args[0], node.args[1]  # type: ignore[attr-defined]


def _truths(node: ast.AST) -> list[str]:
    """Return the names whose truth a node uses."""
    tested: list[ast.expr] = []
    if isinstance(node, ast.Assert | ast.If | ast.While | ast.IfExp):
        tested = [node.test]
    elif isinstance(node, ast.BoolOp):
        tested = node.values
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        tested = [node.operand]
    elif isinstance(node, ast.Call) and _is_assertion_of_truth(node):
        tested = node.args[:1]
    return [expression.id for expression in tested if isinstance(expression, ast.Name)]


def _is_identity(node: ast.AST) -> bool:
    return isinstance(node, ast.Compare) and all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)


def _is_assert_method(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("assert")


def _is_assertion_of_truth(node: ast.AST) -> bool:
    return _is_assert_method(node) and node.func.attr in ("assertTrue", "assertFalse")  # type: ignore[attr-defined]
