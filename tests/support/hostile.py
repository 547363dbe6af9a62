"""Programs for the sandbox: right ones for each style of tests, and hostile ones.

Used by the stage tests, where runner and judge are two processes, and on the cluster, where they are two containers.
"""
# ruff: noqa: E501 (one hostile program per line)

from fusionrun.api.records import VerdictValue

RIGHT, WRONG, UNKNOWN = VerdictValue.RIGHT, VerdictValue.WRONG, VerdictValue.UNKNOWN

ADD = "def f(a, b):\n    return a + b\n"

STYLES = [
    ("assertions", ADD, ["assert f(1, 2) == 3", "assert f('a', 'b') == 'ab'"], None),
    ("a test program", ADD, ["from math import isclose\nfor i in range(3):\n    assert isclose(f(i, .5), i + .5)"], None),
    ("check(candidate)", ADD, ["METADATA = {}\n\ndef check(candidate):\n    assert candidate(1, 2) == 3"], "f"),
    ("arguments with common names", "def f(function, self):\n    return function + self\n", ["assert f(function=1, self=2) == 3"], None),
    ("an expression as entry point",
     "class Solution:\n    def twoSum(self, nums: List[int], target: int) -> List[int]:\n"
     "        seen = {}\n        for i, n in enumerate(nums):\n            if target - n in seen:\n"
     "                return [seen[target - n], i]\n            seen[n] = i\n",
     ["def check(candidate):\n    assert candidate(nums=[2, 7, 11], target=9) == [0, 1]"], "Solution().twoSum"),
    ("classes with state",
     "class Stack:\n    def __init__(self):\n        self.items = []\n    def push(self, x):\n        self.items.append(x)\n"
     "    def pop(self):\n        return self.items.pop()\n    def __len__(self):\n        return len(self.items)\n",
     ["s = Stack()\ns.push((1, 2))\nassert len(s) == 1 and s.items == [(1, 2)]\nassert s.pop() == (1, 2)",
      "try:\n    Stack().pop()\n    assert False\nexcept IndexError:\n    pass"], None),
    ("in place", "def reverse(xs):\n    xs.reverse()\n", ["xs = [1, 2]\nreverse(xs)\nassert xs == [2, 1]"], None),
    ("test functions", ADD, ["def test_f():\n    assert f(1, 1) == 2"], None),
    ("plain data of every kind",
     "def f(x):\n    return x\n",
     ["for x in [None, True, 1, 10**400, -1.5, float('inf'), 1+2j, 'é\\ud800', b'\\x00', (1, (2,)), {1, 2}, "
      "frozenset([1]), {(1, 2): [{}]}, range(3), [[]]]:\n    assert f(x) == x and type(f(x)) is type(x)"], None),
    ("iterators", "def f(n):\n    yield from range(n)\n", ["assert list(f(3)) == [0, 1, 2]"], None),
    ("a function named like a builtin", "def sum(a, b):\n    return a + b\n", ["assert sum(1, 2) == 3"], "sum"),
    ("prelude names", "def f(n):\n    return Counter(n).most_common(1)[0][0] + gcd(4, 6)\n",
     ["assert f([1, 1, 2]) == 3"], None),
    ("threads", "import threading\ndef f():\n    out = []\n    t = threading.Thread(target=out.append, args=(1,))\n"
     "    t.start(); t.join()\n    return out\n", ["assert f() == [1]"], None),
    ("files in its folder", "def f():\n    with open('x', 'w') as o:\n        o.write('1')\n"
     "    return open('x').read()\n", ["assert f() == '1'"], None),
    ("a unittest.TestCase", ADD,
     ["import unittest\nclass Add(unittest.TestCase):\n    def setUp(self):\n        self.one = 1\n"
      "    def test_sum(self):\n        self.assertEqual(f(self.one, 2), 3)\n    def test_text(self):\n"
      "        with self.assertRaises(TypeError):\n            f(1, 'a')\nif __name__ == '__main__':\n    unittest.main()",
      "unittest.main()"], None),
    ("a pytest class", ADD, ["class TestAdd:\n    def setup_method(self):\n        self.one = 1\n"
     "    def test_sum(self):\n        assert f(self.one, 2) == 3"], None),
    ("helpers of the tests", ADD, ["def fail():\n    raise AssertionError\ndef same(a, b):\n    assert a == b\n"
     "same(f(1, 2), 3)\nif f(1, 2) != 3:\n    fail()"], None),
    ("numpy in the tests", ADD, ["import numpy as np\nassert np.allclose(f(1, 0.5), 1.5)", "import numpy as np\nassert f(1, 2) == np.sum([1, 2])"], None),
    ("temporary files", "import os, tempfile\ndef f():\n    with tempfile.TemporaryFile('w+') as o, tempfile.NamedTemporaryFile('w') as p:\n"
     "        o.write('1'); o.seek(0); p.write(o.read()); p.flush()\n        text = open(p.name).read()\n"
     "    with tempfile.TemporaryDirectory() as d:\n        open(os.path.join(d, 'x'), 'w').close()\n"
     "        return text, os.listdir(d), os.path.exists(p.name)\n", ["assert f() == ('1', ['x'], False)"], None),
    ("twenty threads", "import threading, time\ndef f():\n    out = []\n    ts = [threading.Thread(target=lambda: (out.append(len([bytearray(2000)])), "
     "time.sleep(.1))) for _ in range(20)]\n    [t.start() for t in ts]\n    [t.join() for t in ts]\n    return len(out)\n", ["assert f() == 20"], None),
]  # fmt: skip


PACKAGES = [
    ("numpy", "import numpy as np\ndef f(n):\n    return float(np.linalg.solve(2 * np.eye(n), np.ones(n)).sum())\n", "assert f(200) == 100.0"),
    ("pandas", "import pandas as pd\ndef f(xs):\n    return pd.DataFrame({'k': xs, 'v': 1}).groupby('k')['v'].sum().to_dict()\n",
     "assert f(list('aba')) == {'a': 2, 'b': 1}"),
    ("scipy", "from scipy.optimize import brentq\ndef f():\n    return round(brentq(lambda x: x * x - 2, 0, 2), 6)\n", "assert f() == 1.414214"),
    ("sympy", "import sympy\ndef f(n):\n    return sympy.factorint(n)\n", "assert f(360) == {2: 3, 3: 2, 5: 1}"),
    ("networkx", "import networkx as nx\ndef f(edges):\n    return nx.shortest_path(nx.Graph(edges), 1, 3)\n", "assert f([(1, 2), (2, 3)]) == [1, 2, 3]"),
    ("sortedcontainers", "from sortedcontainers import SortedList\ndef f(xs):\n    return list(SortedList(xs))\n", "assert f([2, 1]) == [1, 2]"),
    ("pytest", "import pytest\ndef f():\n    with pytest.raises(ValueError):\n        int('x')\n    return 1\n", "assert f() == 1"),
]  # fmt: skip
"""Programs that use the packages of the sandbox image, within the limits of a program."""


def forged(names: str, first: str = "None", answer: str = "True") -> str:
    """Return a program that writes to its channel: ``names`` (an expression; ``h`` is a handle), then one fixed reply."""
    return (
        "import json, sys\n"
        "def f(*a):\n    return True\n"
        "def put(c, message):\n    b = json.dumps(message).encode()\n    c.sendall(len(b).to_bytes(4, 'big') + b)\n"
        "frame, c, h = sys._getframe(), None, ['handle', 0]\n"
        "while frame:\n    c = c or frame.f_locals.get('channel')\n    frame = frame.f_back\n"
        f"if {first} is not None:\n    put(c, {first})\n"
        f"put(c, {{'names': {names}}})\n"
        f"while True:\n    c.recv(65536)\n    put(c, {{'value': {answer}}})\n"
    )


LOOPHOLES = [
    ("exit before the tests", "import sys\nsys.exit(0)\n", WRONG),
    ("os._exit in the function", "def f(*a):\n    __import__('os')._exit(0)\n", WRONG),
    ("exit at import through builtins", "raise SystemExit(0)\n", WRONG),
    ("equal to everything", "class A:\n    def __eq__(self, o): return True\n    def __bool__(self): return True\n"
     "def f(*a):\n    return A()\n", UNKNOWN),
    ("an int that is equal to everything",
     "class A(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\ndef f(*a):\n    return A(7)\n", UNKNOWN),
    ("a str that is equal to everything",
     "class A(str):\n    def __eq__(self, o): return True\ndef f(*a):\n    return A('7')\n", UNKNOWN),
    ("a list that is equal to everything",
     "class A(list):\n    def __eq__(self, o): return True\ndef f(*a):\n    return A([7])\n", WRONG),
    ("patched modules", "import sys\nfor m in list(sys.modules.values()):\n    for n in ('encode', 'decode', 'send', "
     "'run_tests', 'loads', 'dumps'):\n        if hasattr(m, n):\n            setattr(m, n, lambda *a, **k: 3)\n"
     "def f(*a):\n    return 3\n", UNKNOWN),
    ("patched builtins", "import builtins\nbuiltins.AssertionError = ValueError\nbuiltins.isinstance = lambda *a: True\n"
     "def f(*a):\n    return 0\n", WRONG),
    ("its own check function", "def check(candidate):\n    pass\ndef f(*a):\n    return 0\n", WRONG),
    ("shadowed builtins", "def len(x):\n    return 3\ndef abs(x):\n    return 0\ndef f(*a):\n    return 0\n", UNKNOWN),
    ("a StopIteration to end a test's loop", "def f(*a):\n    raise StopIteration\n", WRONG),
    ("an expected-looking end", "def f(*a):\n    raise KeyboardInterrupt\n", WRONG),
    ("a forged reply", "import gc, sys\nframe = sys._getframe()\nwhile frame:\n    c = frame.f_locals.get('channel')\n"
     "    if c is not None:\n        c.sendall((2).to_bytes(4, 'big') + b'[]')\n    frame = frame.f_back\n", WRONG),
    ("forged builtins", forged("{'f': h, '__builtins__': ['dict', [['abs', h], ['all', h], ['len', h], "
     "['map', h], ['range', h]]]}"), WRONG),
    ("a private name", forged("{'f': h, '_f': h}"), WRONG),
    ("a name that is a dunder", forged("{'f': h, '__name__': '__main__'}"), WRONG),
    ("a builtin sent by name", forged("{'f': h, 'abs': h, 'all': h}"), UNKNOWN),
    ("a second start", forged("{}", "{'ready': True}"), WRONG),
    ("names that are no object", forged("['f']"), WRONG),
    ("a pickle as reply", "import sys, pickle\nframe = sys._getframe()\nwhile frame:\n    c = frame.f_locals.get('channel')\n"
     "    if c is not None:\n        b = pickle.dumps(print)\n        c.sendall(len(b).to_bytes(4, 'big') + b)\n"
     "    frame = frame.f_back\n", WRONG),
    ("an endless reply", "import sys\nframe = sys._getframe()\nwhile frame:\n    c = frame.f_locals.get('channel')\n"
     "    if c is not None:\n        c.sendall(b'\\xff' * 2**22)\n    frame = frame.f_back\n", WRONG),
    ("a huge return value", "def f(*a):\n    return 'x' * 5 * 10**6\n", UNKNOWN),
    ("deep nesting", "def f(*a):\n    x = []\n    for _ in range(10**4):\n        x = [x]\n    return x\n", UNKNOWN),
]  # fmt: skip
TESTS = ["assert all(f(i, 2) == i + 2 for i in range(1, 3))", "assert all(map(lambda i: f(i, 1) == i + 1, [1, 2]))",
         "assert len([f(1, 2)]) == 1", "assert abs(f(1, 2) - 3) == 0", "assert f(1, 2) == 3"]  # fmt: skip


SOCKET = "/run/sandbox/runner.sock"
"""The runner's socket in the pod; the stage tests replace it."""


def program_with_attack(expression: str) -> str:
    """Return a program whose f runs an attack and returns the exception that denied it."""
    return (
        "import os, sys\n"
        "def f():\n"
        "    try:\n"
        f"        r = {expression}\n"
        "    except BaseException as e:\n"
        "        return 'denied by ' + type(e).__name__\n"
        "    return repr(r)\n"
    )


def denied_by(by: str) -> str:
    """Return a test that one of these exceptions (separated by spaces) denied an attack."""
    return f"assert f() in {[f'denied by {name}' for name in by.split()]}"


def raw_call(number: int, *arguments: object) -> str:
    """Return an expression that makes a system call (one with the same number everywhere) and raises its error."""
    return (
        f"(lambda c: c.CDLL(None, use_errno=True).syscall({number}, {', '.join(map(str, arguments))}) >= 0 or "
        "(_ for _ in ()).throw(OSError(c.get_errno(), '')))(__import__('ctypes'))"
    )


FORBIDDEN = "PermissionError"
ABSENT = "FileNotFoundError"
DENIED = [
    ("fork", "os.fork()", FORBIDDEN),
    ("exec", "os.execv('/bin/true', ['true'])", FORBIDDEN),
    ("a shell", "__import__('subprocess').run(['true'])", FORBIDDEN),
    ("spawn", "os.posix_spawn('/bin/true', ['true'], {})", FORBIDDEN),
    ("kill its parent", "os.kill(os.getppid(), 9)", FORBIDDEN),
    ("kill every process of its UID", "os.kill(-1, 9)", FORBIDDEN),
    ("kill its group's neighbours", "os.killpg(os.getpgid(os.getppid()), 9)", FORBIDDEN),
    ("signal its parent through a descriptor", "__import__('fcntl').fcntl(0, 8, os.getppid())", FORBIDDEN),
    ("choose the signal of a descriptor", "__import__('fcntl').fcntl(0, 10, 9)", FORBIDDEN),
    ("become the owner of a descriptor", "__import__('fcntl').fcntl(0, 15, b'\\1\\0\\0\\0\\1\\0\\0\\0')", FORBIDDEN),
    ("request signals of a descriptor", "__import__('fcntl').fcntl(0, 4, 0o20000)", FORBIDDEN),
    ("request signals by ioctl", "__import__('fcntl').ioctl(0, 0x5452, b'\\1\\0\\0\\0')", FORBIDDEN),
    ("become the owner of a socket by ioctl", "__import__('fcntl').ioctl(0, 0x8901, b'\\1\\0\\0\\0')", FORBIDDEN),
    ("read the parent's memory", "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)", FORBIDDEN),
    ("read the parent's environment", "open(f'/proc/{os.getppid()}/environ').read()", FORBIDDEN),
    ("read the first process's environment", "open('/proc/1/environ').read()", FORBIDDEN),
    ("list the parent's descriptors", "os.listdir(f'/proc/{os.getppid()}/fd')", FORBIDDEN),
    ("read its initial environment", "open('/proc/self/environ').read()", FORBIDDEN),
    ("read the password file", "open('/etc/shadow').read()", FORBIDDEN),
    ("read the service account", "os.listdir('/var/run/secrets/kubernetes.io/serviceaccount')", ABSENT),
    ("read the judge's task", "open('/etc/fusionrun/task.json').read()", ABSENT),
    ("list the volume", "os.listdir('/data')", ABSENT),
    ("write to /tmp", "open('/tmp/escaped', 'w')", f"{FORBIDDEN} OSError"),  # OSError in the pod: a read-only file system
    ("write to shared memory", "open('/dev/shm/escaped', 'w')", FORBIDDEN),
    ("write to the socket's folder", f"open(os.path.dirname({SOCKET!r}) + '/escaped', 'w')", FORBIDDEN),
    ("remove the runner's socket", f"os.unlink({SOCKET!r})", FORBIDDEN),
    ("chmod the runner's socket", f"os.chmod({SOCKET!r}, 0)", FORBIDDEN),
    ("chmod the runner's socket with the newest call", raw_call(452, -100, f"{SOCKET!r}.encode()", 0, 0), FORBIDDEN),
    ("chmod the runner's socket from its folder", f"[os.chdir(os.path.dirname({SOCKET!r})), os.chmod('runner.sock', 0)]", FORBIDDEN),
    ("give the runner's socket to its group", f"os.chown({SOCKET!r}, os.getuid(), os.getgid())", FORBIDDEN),
    ("change the times of the runner's socket", f"os.utime({SOCKET!r}, (0, 0))", FORBIDDEN),
    ("set an attribute of the runner's socket", f"os.setxattr({SOCKET!r}, 'user.x', b'1')", FORBIDDEN),
    ("set an attribute with the newest call", raw_call(463, -100, f"{SOCKET!r}.encode()", 0, "b'user.x'", "b''", 0), FORBIDDEN),
    ("chmod its own folder", "os.chmod('.', 0)", FORBIDDEN),
    ("chmod its neighbours' folder", "os.chmod('..', 0)", FORBIDDEN),
    ("chmod an open file", "os.fchmod(os.open('x', os.O_CREAT), 0)", FORBIDDEN),
    ("list its neighbours", "os.listdir('../..')", FORBIDDEN),
    ("write to its neighbours' folder", "open('../escaped', 'w')", FORBIDDEN),
    ("a symbolic link out", "os.symlink('/etc/passwd', 'link')", FORBIDDEN),
    ("a hard link out", "os.link(sys.executable, 'link')", FORBIDDEN),
    ("a device", "os.mknod('device', 0o20600, os.makedev(1, 1))", FORBIDDEN),
    ("a TCP socket", "__import__('socket').create_connection(('127.0.0.1', 22))", FORBIDDEN),
    ("a UDP socket", "__import__('socket').socket(2, 2)", FORBIDDEN),
    ("a Unix socket", f"__import__('socket').socket(1, 1).connect({SOCKET!r})", FORBIDDEN),
    ("ptrace", "[1 / (__import__('ctypes').CDLL(None).ptrace(16, os.getppid(), 0, 0) + 1)]", "ZeroDivisionError"),
    ("unshare a namespace", "[1 / (__import__('ctypes').CDLL(None).unshare(0x10000000) + 1)]", "ZeroDivisionError"),
    ("raise its limits", "__import__('resource').setrlimit(0, (10**6, 10**6))", "PermissionError ValueError"),
    ("limit its parent", "__import__('resource').prlimit(os.getppid(), 0, (0, 0))", FORBIDDEN),
    ("outlive the runner", "[1 / (__import__('ctypes').CDLL(None).prctl(1, 0, 0, 0, 0) + 1)]", "ZeroDivisionError"),
    ("become dumpable", "[1 / (__import__('ctypes').CDLL(None).prctl(4, 1, 0, 0, 0) + 1)]", "ZeroDivisionError"),
    ("secret memory", raw_call(447, 0), FORBIDDEN),
    ("watch files", "[1 / (__import__('ctypes').CDLL(None).inotify_init() + 1)]", "ZeroDivisionError"),
    ("system V shared memory", "[1 / (__import__('ctypes').CDLL(None).shmget(0, 4096, 0o1600) + 1)]", "ZeroDivisionError"),
    ("a file that is too big", "[o.write(b'x' * 2**20) for o in [open('big', 'wb', 0)] for _ in range(2)]", "OSError"),
    ("too many descriptors", "[os.dup(1) for _ in range(100)]", "OSError"),
    ("too much memory", "len(bytearray(2**31))", "MemoryError"),
]  # fmt: skip

ENDED = [
    ("an endless loop", "def f():\n    while True: pass\n", WRONG, "CPU time"),
    ("an endless loop while it is loaded", "while True: pass\n", WRONG, "CPU time"),
    ("a loop in C", "def f():\n    return sum(range(10**12))\n", WRONG, "CPU time"),
    ("a power tower", "def f():\n    return 7 ** 10 ** 9\n", WRONG, "ended"),
    ("a regular expression", "import re\ndef f():\n    return re.match('(a+)+$', 'a' * 64 + 'b')\n", WRONG, "CPU time"),
    ("ignored signals", "def f():\n    s = __import__('signal')\n    s.signal(s.SIGXCPU, s.SIG_IGN)\n    while True: pass\n",
     WRONG, "CPU time"),
    ("endless output", "def f():\n    while True: print('x' * 10**6)\n", WRONG, "CPU time"),
    ("a fork bomb", "import os\ndef f():\n    while True:\n        try: os.fork()\n        except OSError: pass\n", WRONG, "CPU time"),
    ("a thread bomb", "import threading, time\ndef f():\n    while True:\n        threading.Thread(target=time.sleep, "
     "args=(99,)).start()\n", UNKNOWN, ""),
    ("a bomb of small threads", "import threading, time\nthreading.stack_size(32768)\ndef f():\n    while True:\n"
     "        threading.Thread(target=time.sleep, args=(99,)).start()\n", UNKNOWN, ""),
    ("a memory bomb", "def f():\n    x = []\n    while True: x.append(bytearray(2**20))\n", WRONG, ""),
    ("a disk bomb", "def f():\n    i = 0\n    while True:\n        i += 1\n        with open(f'd{i}', 'wb') as o: "
     "o.write(b'x' * 2**19)\n        __import__('os').unlink(f'd{i}')\n", WRONG, "CPU time"),
    ("a disk bomb that keeps its files", "def f():\n    i = 0\n    while True:\n        i += 1\n        with open(f'd{i}', 'wb') as o: "
     "o.write(b'x' * 2**19)\n", WRONG, ""),
    ("a disk bomb that ignores errors", "def f():\n    i = 0\n    while True:\n        i += 1\n        try:\n            with open(f'd{i}', 'wb') as o: "
     "o.write(b'x' * 2**19)\n        except OSError: pass\n", WRONG, "ended"),
    ("an inode bomb", "def f():\n    i = 0\n    while True:\n        i += 1\n        open(f'd{i}', 'w').close()\n", WRONG, "ended"),
    ("an inode bomb that sleeps", "import time\ndef f():\n    for i in range(1500): open(f'd{i}', 'w').close()\n    time.sleep(999)\n",
     WRONG, "ended: it created more"),
    ("an inode bomb in an unreadable folder", "import os, time\ndef f():\n    os.mkdir('d', 0o300)\n    for i in range(1500): open(f'd/{i}', 'w').close()\n"
     "    time.sleep(999)\n", WRONG, "ended: it created"),
    ("endlessly nested folders", "import os\ndef f():\n    while True:\n        os.mkdir('d')\n        os.chdir('d')\n", WRONG, "ended"),
    ("sleep", "import time\ndef f():\n    time.sleep(10**6)\n", UNKNOWN, "not done after"),
    ("waiting for input", "def f():\n    return input()\n", WRONG, "raised: ProgramError: EOFError"),
    ("a stack overflow", "import sys\ndef f(n=0):\n    sys.setrecursionlimit(10**9)\n    return g(0)\n"
     "def g(n):\n    return g(n + 1) + 1\n", WRONG, ""),
    ("abort", "def f():\n    __import__('os').abort()\n", WRONG, "ended"),
    ("a real-time signal", "import struct\ndef f():\n    c = __import__('ctypes')\n    libc, timer = c.CDLL(None), c.c_void_p()\n"
     "    libc.timer_create(1, struct.pack('@qii48x', 0, 40, 0), c.byref(timer))\n"
     "    libc.timer_settime(timer, 0, struct.pack('@qqqq', 0, 0, 0, 10**6), None)\n    while True: pass\n", WRONG, "ended: by signal 40"),
    ("a segmentation fault", "def f():\n    __import__('ctypes').string_at(0)\n", WRONG, "ended: by SIGSEGV"),
]  # fmt: skip

BOMBS = [program for name, program, *_ in ENDED if "bomb" in name or name == "endlessly nested folders"]
HARMLESS = [
    ("writes files", "def f(n):\n    for i in range(20):\n        with open(f'x{i}', 'w') as o: o.write('1' * 10**5)\n"
     "    return sum(len(open(f'x{i}').read()) for i in range(20))\n", "assert f(0) == 2 * 10**6"),
    ("starts threads", "import threading, time\ndef f(n):\n    out = []\n"
     "    for _ in range(5):\n        ts = [threading.Thread(target=out.append, args=(i,)) for i in range(9)]\n"
     "        [t.start() for t in ts]\n        [t.join() for t in ts]\n        time.sleep(.02)\n    return len(out)\n", "assert f(0) == 45"),
    ("takes memory", "def f(n):\n    return len(bytearray(200 * 2**20))\n", "assert f(0) == 200 * 2**20"),
    ("computes", "def f(n):\n    return sum(range(10**6))\n", "assert f(0) == 499999500000"),
]  # fmt: skip
"""Right programs that need the resources that the bombs use up. Beside a bomb they are right or unknown, never wrong."""
