"""Functions, constants and letters that have a name in LaTeX."""

from collections.abc import Callable
from typing import Any

import sympy

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot, "sec": sympy.sec, "csc": sympy.csc,
    "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan, "arccot": sympy.acot, "sinh": sympy.sinh,
    "cosh": sympy.cosh, "tanh": sympy.tanh, "ln": sympy.log, "exp": sympy.exp, "abs": sympy.Abs, "asin": sympy.asin,
    "acos": sympy.acos, "atan": sympy.atan, "lg": lambda x: sympy.log(x, 10),
}  # fmt: skip
CONSTANTS = {"pi": sympy.pi} | dict.fromkeys(["infty", "infinity", "inf", "oo"], sympy.oo)
INVERSE = {"sin": sympy.asin, "cos": sympy.acos, "tan": sympy.atan, "cot": sympy.acot, "sinh": sympy.asinh}
GREEK = frozenset(
    ["alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa",
     "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega", "Gamma",
     "Delta",
     "Theta", "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega", "ell"]
)  # fmt: skip
