"""The values, calls and messages between a program and its tests; no message of a program makes it right."""

import datetime as dt
import json
import os
import socket
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from types import ModuleType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fusionrun.api.records import VerdictValue
from fusionrun_stages.sandbox import wire
from fusionrun_stages.sandbox.calls import Server
from fusionrun_stages.sandbox.harness import run_tests
from fusionrun_stages.sandbox.preamble import Classes, Preamble
from fusionrun_stages.sandbox.proxies import RemoteProgram
from fusionrun_stages.sandbox.values import Decoder, Encoder
from fusionrun_stages.sandbox.wire import FrameError

Point = namedtuple("Point", "x y")  # noqa: PYI024 (its fields have no types)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters(), max_size=5)
    | st.binary(max_size=5)
    | st.fractions()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes(timezones=st.sampled_from([None, dt.UTC]))
    | st.times()
    | st.timedeltas()
    | st.builds(range, st.integers(), st.integers(), st.integers(1, 9))
    | st.just(...)
)


def containers(items):
    keys = SCALARS
    return (
        st.lists(items, max_size=4)
        | st.lists(items, max_size=4).map(tuple)
        | st.dictionaries(keys, items, max_size=3)
        | st.dictionaries(keys, items, max_size=3).map(OrderedDict)
        | st.dictionaries(keys, items, max_size=3).map(lambda d: defaultdict(list, d))
        | st.sets(keys, max_size=3)
        | st.frozensets(keys, max_size=3)
        | st.lists(items, max_size=4).map(deque)
        | st.lists(items, max_size=4).map(lambda x: deque(x, 3))
        | st.lists(st.text(max_size=2)).map(Counter)
        | st.binary(max_size=4).map(bytearray)
        | st.tuples(items, items).map(lambda pair: Point(*pair))
    )


VALUES = st.recursive(SCALARS, containers, max_leaves=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6),
    lambda items: st.lists(items, max_size=4) | st.dictionaries(st.text(max_size=5), items, max_size=3),
    max_leaves=12,
)
TAGS = st.sampled_from(
    ["int", "float", "complex", "bytes", "range", "list", "tuple", "set", "frozenset", "dict", "deque", "Counter",
     "OrderedDict", "defaultdict", "bytearray", "Fraction", "Decimal", "date", "datetime", "time", "timedelta",
     "ellipsis", "NotImplementedType", "same", "loose", "named", "iterator", "handle", "graph", "new", "object"]
)  # fmt: skip
TAGGED = st.recursive(
    JSON, lambda items: st.tuples(TAGS, items | st.lists(items, max_size=3), items).map(list), max_leaves=8
)


def refuse(value):
    raise AssertionError(value)


def same(a, b):
    """Equal values of equal classes, also inside."""
    if isinstance(b, Point):
        return a._fields == b._fields and same(tuple(a), tuple(b))
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) and same(a[x], b[y]) for x, y in zip(a, b, strict=True))
    if isinstance(a, list | tuple | deque):
        return len(a) == len(b) and getattr(a, "maxlen", 0) == getattr(b, "maxlen", 0) and all(map(same, a, b))
    return a == b


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_a_value_arrives_as_it_was(value):
    data = json.loads(json.dumps(Encoder(refuse).encode(value)))
    decoder = Decoder(refuse)
    assert same(decoder.decode(data), value)
    assert not decoder.loose


@settings(max_examples=500, deadline=None)
@given(JSON | TAGGED)
@example(["list"])
@example(["same", 0])
@example(["list", [["same", -1]]])
@example(["named", "P", ["x", "x"], [1, 2]])
@example(["Fraction", "0x1", "0x0"])
@example(["Decimal", "sNaN"])
@example(["set", [["list", []]]])
@example(["datetime", "2024-01-01", 7])
@example(["timedelta", "0x99999999999", "0x0", "0x0"])
def test_other_data_is_a_value_or_a_frame_error(data):
    with suppress(FrameError):
        Decoder(lambda number: number, classes=classes_of()[0]).decode(data)
    with suppress(FrameError):
        Decoder(lambda number: number, classes=classes_of()[0]).update([], data)


NODE = "class Node:\n    def size(self):\n        return 1\n"


def classes_of(*definitions):
    """Return the classes of a preamble in a process that has run it, and then other definitions."""
    preamble, space = Preamble(NODE), {}
    preamble.run(space)
    classes = Classes(preamble, space)
    for definition in definitions:
        exec(definition, space)
    return classes, space["Node"]


def graph_of(node):
    """Return what a graph of nodes is, however it is connected: classes, values and the number of each neighbour."""
    numbers, found = {id(node): 0}, [node]
    shape = []
    for one in found:
        for other in one.links:
            if numbers.setdefault(id(other), len(found)) == len(found):
                found.append(other)
        shape.append((one.val, [numbers[id(other)] for other in one.links]))
    return shape


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(SCALARS, st.lists(st.integers(0, 9), max_size=3)), min_size=1, max_size=10), st.booleans())
def test_a_graph_of_instances_arrives_as_it_was(plan, again):
    """With circles and shared nodes, and also if the program has defined the class again."""
    ours, node_class = classes_of()
    theirs, _ = classes_of(*([NODE] if again else []))
    nodes = [node_class() for _ in plan]
    for node, (value, links) in zip(nodes, plan, strict=True):
        node.val, node.links = value, [nodes[i % len(nodes)] for i in links]
    there = Decoder(refuse, classes=theirs).decode(
        json.loads(json.dumps(Encoder(refuse, classes=ours).encode(nodes[0])))
    )
    assert theirs.is_own(type(there)) is not again
    decoder = Decoder(refuse, classes=ours)
    back = decoder.decode(json.loads(json.dumps(Encoder(refuse, classes=theirs).encode(there))))
    assert type(back) is node_class
    assert decoder.loose is again
    assert graph_of(back) == graph_of(nodes[0])


@pytest.mark.parametrize(
    "data",
    [
        ["new", "Node"],
        ["graph", ["new", "Node"], []],
        ["graph", ["new", "Other"], [[]]],
        ["graph", ["new", "Node"], [[], []]],
        ["graph", ["new", "Node"], [[["size", 5]]]],
        ["graph", ["new", "Node"], [[["__class__", 5]]]],
        ["graph", ["new", "Node"], [[["a b", 5]]]],
        ["graph", ["new", "Node"], [[[5, 5]]]],
        ["graph", ["new", "Node"], [[["a", ["graph", ["new", "Node"], [[]]]]]]],
        ["graph", ["new", ["list", []]], [[]]],
    ],
    ids=str,
)
def test_a_forged_instance_is_refused(data):
    classes, _ = classes_of()
    with pytest.raises(FrameError):
        Decoder(refuse, classes=classes).decode(data)


def judge_bytes(replies):
    """Return the outcome of a process that sends these bytes, whatever it is asked."""
    judge_end, program_end = socket.socketpair()
    with judge_end, program_end:

        def answer():
            try:
                program_end.sendall(replies)
                program_end.shutdown(socket.SHUT_WR)
                while program_end.recv(65536):
                    pass
            except OSError:
                pass

        thread = threading.Thread(target=answer)
        thread.start()
        secret = os.urandom(16).hex()
        modules = {name: sys.modules.get(name) for name in ("pytest", "solution")}
        try:
            return run_tests(
                RemoteProgram(judge_end), "", [f"xs = [1]\nassert f(xs) == {secret!r}\nassert xs == [{secret!r}]"], None
            )
        finally:
            judge_end.shutdown(socket.SHUT_RDWR)
            thread.join()
            for name, module in modules.items():
                sys.modules.pop(name, None)
                if module:
                    sys.modules[name] = module


def frame(message):
    body = json.dumps(message).encode()
    return len(body).to_bytes(4, "big") + body


REPLIES = st.fixed_dictionaries(
    {},
    optional={
        "ready": JSON, "names": JSON | st.just({"f": ["handle", 0]}), "value": JSON | TAGGED,
        "changed": JSON | st.lists(st.tuples(st.integers(-1, 2), TAGGED).map(list), max_size=2), "kept": JSON,
        "raised": st.sampled_from(["ValueError", "StopIteration", "NameError", "AssertionError", "UnicodeDecodeError",
                                   "SystemExit", "KeyboardInterrupt", "x"]) | JSON,
        "message": JSON, "arguments": JSON | st.lists(TAGGED, max_size=2), "module": JSON, "shortage": JSON,
        "unsent": JSON, "together": st.just("right"), "stdout": JSON,
    },
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(REPLIES, max_size=4), st.binary(max_size=20))
def test_no_message_of_a_process_is_right(replies, rest):
    """The expected value is random, so no reply can contain it."""
    start = frame(wire.READY) + frame({"names": {"f": ["handle", 0]}})
    for sent in (
        start + b"".join(map(frame, replies)) + rest,
        b"".join(map(frame, [wire.READY, *replies])) + rest,
        rest,
    ):
        assert judge_bytes(sent).grade.verdict in (VerdictValue.WRONG, VerdictValue.UNKNOWN)


NODES = "kept = []\nclass Node:\n    def __init__(self, next=None):\n        self.next = next\n"
CALLS_WITH_NODES = [
    ("the node itself", "return a", False),
    ("the node after it", "return a.next", False),
    ("a new node before it", "return Node(a)", False),
    ("the nodes in the other order", "b, a.next = a.next, None\n    b.next = a\n    return b", False),
    ("the node is kept", "kept.append(a)", True),
    ("the node after it is kept", "kept.append(a.next)", True),
    ("a new node is kept", "kept.append(Node())\n    return kept[0]", True),
]


@pytest.mark.parametrize(("body", "kept"), [c[1:] for c in CALLS_WITH_NODES], ids=[c[0] for c in CALLS_WITH_NODES])
def test_a_call_reports_instances_that_the_program_keeps(body, kept):
    module, preamble = ModuleType("solution"), Preamble(NODES)
    preamble.run(module.__dict__)
    exec(f"def f(a):\n    {body}\n", module.__dict__)
    server = Server(module, Classes(preamble, module.__dict__))
    node = ["graph", ["new", "Node"], [[["next", ["new", "Node"]]], [["next", None]]]]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server.answer(ours, {"do": "call", "of": server.offer(module.f)[1], "args": [node], "named": {}})
        assert wire.receive(theirs).get("kept", False) is kept


CALLS = [
    ("a new list", "return [a, [a]]", False),
    ("a sorted argument", "a.sort()\n    return a", False),
    ("a part of the argument", "return a[:1]", False),
    ("nothing", "return None", False),
    ("a list of the module", "return kept", True),
    ("an inner list of the module", "return (inner[0],)", True),
    ("an argument that is kept", "kept.append(a)", True),
    ("an inner list that is kept", "kept.append(a[0])", True),
]


@pytest.mark.parametrize(("body", "kept"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_a_call_reports_containers_that_the_program_keeps(body, kept):
    """By their numbers of references, which differ between versions of Python."""
    module = ModuleType("solution")
    exec(f"kept, inner = [], [[1]]\ndef f(a):\n    {body}\n", module.__dict__)
    server = Server(module)
    request = {
        "do": "call",
        "of": server.offer(module.f)[1],
        "args": [["list", [["list", [2]], ["list", [1]]]]],
        "named": {},
    }
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server.answer(ours, request)
        assert wire.receive(theirs).get("kept", False) is kept


def test_numbers_of_numpy_are_loose():
    numpy = pytest.importorskip("numpy")
    decoder = Decoder(refuse)
    data = Encoder(refuse).encode([numpy.int64(3), numpy.float64(0.5), numpy.bool_(True)])
    assert decoder.decode(data) == [3, 0.5, True]
    assert decoder.loose


def test_fractions_and_decimals_are_exact():
    value = [Fraction(1, 3), Decimal("0.10")]
    assert str(Decoder(refuse).decode(Encoder(refuse).encode(value))) == str(value)
