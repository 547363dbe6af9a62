"""Judge pairs with the official Qwen2.5-Math grader, in its own Python: ``python qwen_grader.py REPOSITORY < PAIRS``.

It reads one JSON list ``[gold, response]`` per line and writes ``right``, ``wrong`` or ``error`` for each. The grader's
code is imported from the checkout that the user names, with the packages that its ``evaluation/requirements.txt`` pins.
"""

import json
import signal
import sys
from pathlib import Path

SECONDS = 5


def main() -> None:
    """Judge every line."""
    evaluation = Path(sys.argv[1]) / "evaluation"
    sys.path[:0] = [str(evaluation), str(evaluation / "latex2sympy")]
    from grader import math_equal  # noqa: PLC0415 (the path is an argument)
    from parser import extract_answer, strip_string  # noqa: PLC0415

    def time_up(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, time_up)
    for line in sys.stdin:
        gold, response = json.loads(line)
        signal.alarm(SECONDS)
        try:
            said = extract_answer(response, "math")
            verdict = "right" if math_equal(said, strip_string(gold.rsplit("####", 1)[-1].strip())) else "wrong"
        except Exception:  # noqa: BLE001 (whatever the grader raises)
            verdict = "error"
        signal.alarm(0)
        print(verdict, flush=True)


if __name__ == "__main__":
    main()
