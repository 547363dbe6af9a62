"""Tests of one function in the forms that public coding sets use, from its calls and their results as source text.

Each form returns the tests, the entry point, and the statements that call the tests in plain Python.
"""

Made = tuple[tuple[str, ...], str | None, str]
Cases = list[tuple[str, str]]


def _assertions(cases: Cases) -> Made:
    return tuple(f"assert f({call}) == {value}" for call, value in cases), None, ""


def _program(cases: Cases) -> Made:
    text = "".join(
        f"result = f({call})\nif result != {value}:\n    raise AssertionError(result)\n" for call, value in cases
    )
    return (text,), None, ""


def _loop(cases: Cases) -> Made:
    rows = ", ".join(f"(({call},), {value})" for call, value in cases)
    return (f"for given, expected in [{rows}]:\n    assert f(*given) == expected, given\n",), None, ""


def _check(cases: Cases) -> Made:
    lines = "".join(f"    assert candidate({call}) == {value}\n" for call, value in cases)
    return (f"def check(candidate):\n{lines}",), "f", "check(f)"


def _test_case(cases: Cases) -> Made:
    lines = "".join(
        f"    def test_{number}(self):\n        self.assertEqual(f({call}), {value})\n"
        for number, (call, value) in enumerate(cases)
    )
    run = "import unittest as u\nr = u.TestResult()\nu.defaultTestLoader.loadTestsFromTestCase(Tests).run(r)\n"
    return (f"import unittest\n\nclass Tests(unittest.TestCase):\n{lines}",), None, run + "assert r.wasSuccessful()"


def _functions(cases: Cases) -> Made:
    text = "".join(
        f"def test_{number}():\n    assert f({call}) == {value}\n" for number, (call, value) in enumerate(cases)
    )
    return (text,), None, "\n".join(f"test_{number}()" for number in range(len(cases)))


def _test_class(cases: Cases) -> Made:
    lines = "".join(
        f"    def test_{number}(self):\n        assert f({call}) == {value}\n"
        for number, (call, value) in enumerate(cases)
    )
    return (f"class TestF:\n{lines}",), None, "\n".join(f"TestF().test_{n}()" for n in range(len(cases)))


def _main_guard(cases: Cases) -> Made:
    lines = "".join(f"    assert f({call}) == {value}\n" for call, value in cases)
    return (f"def run_tests():\n{lines}\nif __name__ == '__main__':\n    run_tests()\n",), None, ""


def _guarded_statements(cases: Cases) -> Made:
    calls = ", ".join(f"f({call})" for call, _ in cases)
    lines = "".join(f"    assert results[{n}] == {value}\n" for n, (_, value) in enumerate(cases))
    return (f"results = [{calls}]\nif __name__ == '__main__':\n{lines}",), None, ""


FORMS = {
    "assertions": _assertions,
    "a test program": _program,
    "a loop": _loop,
    "check(candidate)": _check,
    "a unittest.TestCase": _test_case,
    "test functions": _functions,
    "a test class": _test_class,
    "a function in a main guard": _main_guard,
    "assertions in a main guard": _guarded_statements,
}
