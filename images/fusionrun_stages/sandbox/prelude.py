"""The names that a program and its tests find without importing them.

Answers often leave out the imports that their prompt's signature needs. Source: the names that the prompts of
HumanEval and of the LeetCode sets use; the choice is ours.
"""

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
    """Return a new namespace with these names; the imports cost nothing after the first time."""
    names: dict[str, object] = {}
    exec(PRELUDE, names)  # noqa: S102 (a constant of this module)
    del names["__builtins__"]
    return names
