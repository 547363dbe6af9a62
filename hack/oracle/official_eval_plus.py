"""Run evalplus in its own Python: ``python official_eval_plus.py < REQUESTS``.

It reads one JSON object per line and writes one JSON value for each: ``{"sanitize": [text, entry point]}`` gives a
text, ``{"check": [benchmark, program, inputs, entry point, expected, atol]}`` gives ``pass``, ``fail`` or ``timeout``,
where inputs and expected values are Python literals, and ``{"solve": [program, inputs, entry point, whether only
a match counts]}`` gives the outputs as a literal. It needs evalplus 0.3.1, tree-sitter and tree-sitter-python.
"""

import ast
import contextlib
import io
import json
import sys
import warnings


def main() -> None:
    """Answer every request."""
    warnings.simplefilter("ignore")
    from evalplus.eval import untrusted_check  # noqa: PLC0415 (only the oracle's Python has it)
    from evalplus.gen.util import trusted_exec  # noqa: PLC0415
    from evalplus.sanitize import sanitize  # noqa: PLC0415

    for line in sys.stdin:
        request = json.loads(line)
        answer: str
        with contextlib.redirect_stdout(io.StringIO()):
            if "sanitize" in request:
                answer = sanitize(*request["sanitize"])
            elif "solve" in request:
                program, inputs, name, is_match = request["solve"]
                answer = repr(trusted_exec(program, _read(inputs), name, output_not_none=is_match))
            else:
                benchmark, program, inputs, name, expected, tolerance = request["check"]
                given, wanted = _read(inputs), _read(expected)
                times = [0.0] * len(given)
                answer = untrusted_check(benchmark, program, given, name, wanted, tolerance, times, fast_check=True)[0]
        print(json.dumps(answer), flush=True)


def _read(literal: str) -> list[object]:
    """Return the values of a literal; ``inf`` and ``nan`` are names, and ``1j`` a number."""
    tree = compile(literal, "literal", "eval", ast.PyCF_ONLY_AST)
    return list(eval(compile(tree, "literal", "eval"), {"inf": float("inf"), "nan": float("nan")}))


if __name__ == "__main__":
    main()
