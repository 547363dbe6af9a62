"""``numpy.allclose`` for plain data, without numpy: the tests run in a process with little memory.

Notes
-----
Source: numpy's documentation of ``isclose`` and of broadcasting.
"""

import cmath
from collections.abc import Iterator
from typing import Any

RELATIVE_TOLERANCE = 1e-7
"""Source: evalplus 0.3.1, which names the default of ``numpy.testing.assert_allclose``."""
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
"""numpy has no numbers for other integers, unless a float is beside them."""
_Shape = tuple[int, ...]


def all_close(first: Any, second: Any, tolerance: float) -> bool:
    """Return whether all numbers are close to those of the second value, whose magnitude counts.

    Raise TypeError or ValueError for anything but numbers, and lists or tuples of one shape.
    """
    for value in (first, second):
        numbers = list(_flatten(value))
        are_integers = all(isinstance(number, int) for number in numbers)
        if are_integers and not all(_INT_MIN <= number <= _INT_MAX for number in numbers):
            raise TypeError("an integer is too large")
    return _compare(first, _shape(first), second, _shape(second), tolerance)


def _flatten(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flatten(item)
    else:
        yield value


def _shape(value: Any) -> _Shape:
    if isinstance(value, list | tuple):
        shapes = {_shape(item) for item in value}
        if len(shapes) > 1:
            raise ValueError("the lists have different lengths")
        return (len(value), *next(iter(shapes), ()))
    if not isinstance(value, int | float | complex):
        raise TypeError(f"a {type(value).__name__} is no number")
    return ()


def _compare(first: Any, shape: _Shape, second: Any, other: _Shape, tolerance: float) -> bool:
    """Compare item by item; an axis that is missing or has the length 1 is repeated."""
    if len(shape) > len(other):
        return all(_compare(item, shape[1:], second, other, tolerance) for item in first)
    if len(other) > len(shape):
        return all(_compare(first, shape, item, other[1:], tolerance) for item in second)
    if not shape:
        return _is_close(first, second, tolerance)
    if shape[0] != other[0] and 1 not in (shape[0], other[0]):
        raise ValueError("the lists have different lengths")
    size = other[0] if shape[0] == 1 else shape[0]
    firsts, seconds = (list(value) * (size if len(value) == 1 else 1) for value in (first, second))
    pairs = zip(firsts, seconds, strict=True)
    return all(_compare(a, shape[1:], b, other[1:], tolerance) for a, b in pairs)


def _is_close(first: Any, second: Any, tolerance: float) -> bool:
    if first == second:
        return True
    if not cmath.isfinite(second):
        return False
    return bool(abs(first - second) <= tolerance + RELATIVE_TOLERANCE * abs(second))
