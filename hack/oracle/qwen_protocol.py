"""Grade responses with the official Qwen2.5-Math harness, in its own Python: ``python qwen_protocol.py REPOSITORY``.

It reads one JSON list ``[gold, response]`` per line and writes a JSON list for each: the final answer in its normal
form, and ``right``, ``wrong`` or ``time`` (over 3 s, which the harness counts as wrong). The functions are imported
from the checkout that the user names, with the packages that its ``evaluation/requirements.txt`` pins. What the harness
does around them in ``math_eval.py`` and ``evaluate.py``, which need vLLM and Pebble, is repeated here.
"""

import json
import signal
import sys
import warnings
from pathlib import Path

SECONDS = 3
CHOICES = set("ABCDE")


class TimeUpError(BaseException):
    """Not an Exception: the grader catches every Exception."""


def main() -> None:
    """Grade every line."""
    warnings.simplefilter("ignore")
    evaluation = Path(sys.argv[1]) / "evaluation"
    sys.path[:0] = [str(evaluation), str(evaluation / "latex2sympy")]
    from grader import math_equal  # noqa: PLC0415 (the path is an argument)
    from parser import choice_answer_clean, extract_answer, strip_string  # noqa: PLC0415

    late: list[bool] = []

    def time_up(*_: object) -> None:
        late.append(True)
        raise TimeUpError

    signal.signal(signal.SIGALRM, time_up)
    for line in sys.stdin:
        gold, response = json.loads(line)
        gold = strip_string(gold)
        answer = strip_string(extract_answer(response.strip(), "math"))
        if gold in CHOICES and answer not in CHOICES:
            answer = choice_answer_clean(response.strip())
        elif CHOICES.issuperset(gold) and not CHOICES.issuperset(answer):
            answer = "".join(letter for letter in answer if letter in CHOICES)
        late.clear()
        found = "wrong"
        signal.setitimer(signal.ITIMER_REAL, SECONDS, 0.05)  # again, since a bare ``except:`` in the grader catches it
        try:
            found = "right" if math_equal(answer, gold) else "wrong"
        except TimeUpError:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        found = "time" if late else found
        print(json.dumps([answer, found], ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
