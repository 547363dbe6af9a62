"""The part of pytest that coding tests use: ``raises``, ``approx``, ``mark.parametrize``, ``skip`` and ``fail``.

Pytest itself would start its own run. There are no fixtures. Source of the defaults: docs.pytest.org, API reference.
"""

import itertools
import math
import re
import unittest
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType, TracebackType
from typing import Any, Self

RELATIVE, ABSOLUTE = 1e-6, 1e-12
"""Tolerances of ``approx``."""
_PARAMETERS = "fusionrun_parameters"


class _Raises:
    """Context of a block that must raise."""

    def __init__(self, expected: Any, match: str | None = None) -> None:
        self._expected, self._match = expected, match
        self.type: Any = None
        self.value: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if error is None:
            raise AssertionError(f"DID NOT RAISE {self._expected!r}")
        if not isinstance(error, self._expected):
            return False
        self.type, self.value = kind, error
        if self._match is not None and not re.search(self._match, str(error)):
            raise AssertionError(f"the message {str(error)[:100]!r} does not match {self._match!r}")
        return True

    def match(self, pattern: str) -> bool:
        """Assert that the message matches."""
        assert re.search(pattern, str(self.value)), str(self.value)
        return True


def _raises(expected: Any, *args: Any, match: str | None = None, **kwargs: Any) -> _Raises:
    context = _Raises(expected, match)
    if not args:
        return context
    with context:
        args[0](*args[1:], **kwargs)
    return context


class _Approx:
    """A number, sequence or mapping that equals others within a tolerance."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, expected: Any, rel: Any = None, abs: Any = None, nan_ok: bool = False) -> None:  # noqa: A002, FBT001, FBT002 (pytest's names)
        self._expected, self._relative, self._absolute, self._nan_ok = expected, rel, abs, nan_ok

    def __eq__(self, actual: object) -> bool:
        return self._same(self._expected, actual)

    def _same(self, expected: Any, actual: Any) -> bool:  # noqa: PLR0911 (one line per kind)
        if isinstance(expected, Mapping):
            is_mapping = isinstance(actual, Mapping) and expected.keys() == actual.keys()
            return is_mapping and all(self._same(expected[key], actual[key]) for key in expected)
        if isinstance(expected, Sequence) and not isinstance(expected, str):
            is_sequence = isinstance(actual, Sequence) and len(expected) == len(actual)
            return is_sequence and all(map(self._same, expected, actual))
        if expected == actual or isinstance(expected, bool) or not isinstance(expected, int | float | complex):
            return bool(expected == actual)
        if not isinstance(actual, int | float | complex):
            return False
        if expected != expected:  # noqa: PLR0124 (NaN)
            return bool(self._nan_ok and actual != actual)  # noqa: PLR0124
        if isinstance(expected, float) and math.isinf(expected):
            return False
        return abs(expected - actual) <= self._tolerance(expected)

    def _tolerance(self, expected: Any) -> float:
        absolute = ABSOLUTE if self._absolute is None else self._absolute
        if self._relative is None and self._absolute is not None:
            return float(absolute)
        return float(max((RELATIVE if self._relative is None else self._relative) * abs(expected), absolute))


class _Mark:
    def parametrize(self, names: Any, values: Iterable[Any], **_: Any) -> Callable[[Any], Any]:
        split = split_names(names)
        rows = [value if len(split) > 1 or isinstance(value, _Row) else (value,) for value in values]
        cases = [dict(zip(split, row, strict=True)) for row in rows]

        def decorate(function: Any) -> Any:
            setattr(function, _PARAMETERS, [*getattr(function, _PARAMETERS, []), cases])
            return function

        return decorate

    def __getattr__(self, name: str) -> Any:
        if name in ("skip", "skipif", "usefixtures"):
            raise unittest.SkipTest(f"pytest.mark.{name} is not supported")
        return _identity


def _identity(*args: Any, **_: Any) -> Any:
    """Return a mark without effect, as ``@pytest.mark.slow`` or ``@pytest.mark.timeout(5)``."""
    return args[0] if len(args) == 1 and callable(args[0]) else _identity


class _Row(tuple[Any, ...]):
    """A row of ``pytest.param``."""

    __slots__ = ()


def split_names(names: Any) -> list[str]:
    """Return the names of ``parametrize``: a list, or a text with commas."""
    return [n.strip() for n in names.split(",") if n.strip()] if isinstance(names, str) else [str(n) for n in names]


def call(function: Any) -> None:
    """Call a test with every combination of its parameters."""
    for cases in itertools.product(*getattr(function, _PARAMETERS, [])):
        function(**{name: value for case in cases for name, value in case.items()})


def _fail(reason: str = "", **_: Any) -> None:
    raise AssertionError(reason)


def _skip(reason: str = "", **_: Any) -> None:
    raise unittest.SkipTest(reason)


def build_module() -> ModuleType:
    """Return a module ``pytest`` with these names. Any other name is an AttributeError that names it."""
    module = ModuleType("pytest")
    module.__dict__.update(
        raises=_raises,
        approx=_Approx,
        mark=_Mark(),
        param=lambda *values, **_: _Row(values),
        fail=_fail,
        skip=_skip,
        main=lambda *_, **__: 0,
    )
    return module
