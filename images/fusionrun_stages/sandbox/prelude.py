"""Names that a program and its tests can use without an import.

Responses often leave out imports that the prompt's signature needs. Source: names in the prompts of HumanEval and the
LeetCode sets; the selection is this project's.
"""

from functools import cache

PRELUDE = """
import bisect, collections, copy, functools, heapq, itertools, math, operator, random, re, string
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import inf, gcd, sqrt, ceil, floor, factorial, comb
from typing import *
"""


def build_prelude() -> dict[str, object]:
    """Return a new namespace with these names."""
    return dict(_names())


def is_in_prelude(name: str) -> bool:
    """Return whether the prelude defines a name."""
    return name in _names()


@cache
def _names() -> dict[str, object]:
    names: dict[str, object] = {}
    exec(PRELUDE, names)  # noqa: S102 (a constant of this module)
    del names["__builtins__"]
    return names
