"""Mutants of a Python program: each differs from it in one operator, constant, comparison, statement or branch."""

import ast
import random
from collections.abc import Callable, Iterator

Edit = tuple[str, Callable[[], None]]
"""What is changed, and a function that changes it in the tree."""

OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.FloorDiv, ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq, ast.GtE), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
}  # fmt: skip
CALLS = {
    "min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "set": "list", "list": "tuple",
    "tuple": "list", "int": "float", "sum": "len", "ValueError": "KeyError", "KeyError": "ValueError", "dict": "list",
}  # fmt: skip
METHODS = {"append": "remove", "upper": "lower", "lower": "upper", "pop": "append", "add": "discard", "find": "rfind"}


def make_mutants(program: str, count: int, seed: str) -> list[tuple[str, str]]:
    """Return up to ``count`` mutants, each as its name and its text, chosen with this seed."""
    names = [name for name, _ in _edits(ast.parse(program))]
    chosen = random.Random(seed).sample(range(len(names)), min(count, len(names)))
    found = [(names[number], _apply(program, number)) for number in sorted(chosen)]
    original = ast.unparse(ast.parse(program))
    return [(name, text) for name, text in found if text != original]


def _apply(program: str, number: int) -> str:
    tree = ast.parse(program)
    for index, (_, edit) in enumerate(_edits(tree)):
        if index == number:
            edit()
            break
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _edits(tree: ast.Module) -> Iterator[Edit]:
    """Yield every possible change, always in the same order. Apply at most one, then stop."""
    nodes = [node for node in ast.walk(tree) if getattr(node, "lineno", 0)]
    for node in nodes:
        for name, edit in _edits_of(node):
            yield f"line {node.lineno}: {name}", edit


def _edits_of(node: ast.AST) -> Iterator[Edit]:  # noqa: PLR0912 (one branch per kind of node)
    match node:
        case ast.BinOp() | ast.AugAssign():
            if other := OPERATORS.get(type(node.op)):
                yield f"{type(node.op).__name__} to {other.__name__}", _setting(node, "op", other())
        case ast.Compare():
            for other in COMPARISONS[type(node.ops[0])]:
                yield (
                    f"{type(node.ops[0]).__name__} to {other.__name__}",
                    _setting(node, "ops", [other(), *node.ops[1:]]),
                )
        case ast.BoolOp():
            other = ast.Or if isinstance(node.op, ast.And) else ast.And
            yield f"to {other.__name__}", _setting(node, "op", other())
        case ast.UnaryOp(op=ast.USub()):
            yield "without minus", _setting(node, "op", ast.UAdd())
        case ast.If() | ast.IfExp():
            yield "negated condition", _setting(node, "test", ast.UnaryOp(ast.Not(), node.test))
            if node.orelse:
                yield "swapped branches", _swapping(node, "body", "orelse")
        case ast.While():
            yield "negated condition", _setting(node, "test", ast.UnaryOp(ast.Not(), node.test))
        case ast.Return(value=ast.expr()):
            yield "returns None", _setting(node, "value", ast.Constant(None))
            yield "returns a list of it", _setting(node, "value", ast.List([node.value], ast.Load()))
        case ast.Constant():
            for value in _other_constants(node.value):
                yield f"{node.value!r} to {value!r}", _setting(node, "value", value)
        case ast.Call():
            yield from _edits_of_call(node)
        case ast.Slice():
            if node.lower:
                yield "lower bound + 1", _setting(node, "lower", ast.BinOp(node.lower, ast.Add(), ast.Constant(1)))
            if node.upper:
                yield "upper bound - 1", _setting(node, "upper", ast.BinOp(node.upper, ast.Sub(), ast.Constant(1)))
        case ast.Subscript(slice=ast.Name() | ast.BinOp(), ctx=ast.Load()):
            yield "index - 1", _setting(node, "slice", ast.BinOp(node.slice, ast.Sub(), ast.Constant(1)))
    if isinstance(node, ast.stmt):
        for field in ("body", "orelse", "finalbody"):
            yield from _removals(node, field)


def _edits_of_call(node: ast.Call) -> Iterator[Edit]:
    name = getattr(node.func, "id", None)
    if name in CALLS:
        yield f"{name} to {CALLS[name]}", _setting(node.func, "id", CALLS[name])
    method = getattr(node.func, "attr", None)
    if method in METHODS:
        yield f"{method} to {METHODS[method]}", _setting(node.func, "attr", METHODS[method])
    if len(node.args) > 1:
        yield "without the last argument", _setting(node, "args", node.args[:-1])
        yield "swapped arguments", _setting(node, "args", [node.args[1], node.args[0], *node.args[2:]])


def _removals(node: ast.stmt, field: str) -> Iterator[Edit]:
    body = getattr(node, field, [])
    for index, statement in enumerate(body):
        text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not text and not isinstance(statement, ast.Pass):
            edited = [*body[:index], ast.Pass(), *body[index + 1 :]]
            yield f"without {type(statement).__name__} of line {statement.lineno}", _setting(node, field, edited)
        if isinstance(statement, ast.Break | ast.Continue):
            other = ast.Continue() if isinstance(statement, ast.Break) else ast.Break()
            yield f"{type(other).__name__} in line {statement.lineno}", _setting(node, field, [*body[:index], other])


def _other_constants(value: object) -> list[object]:
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, value - 1]
        case float():
            return [value + 0.5]
        case str() if len(value) < 20:
            return [value + "x", ""]
    return []


def _setting(node: ast.AST, field: str, value: object) -> Callable[[], None]:
    return lambda: setattr(node, field, value)


def _swapping(node: ast.AST, one: str, other: str) -> Callable[[], None]:
    def swap() -> None:
        first, second = getattr(node, one), getattr(node, other)
        setattr(node, one, second)
        setattr(node, other, first)

    return swap
