"""How answers are graded, one module per ``api.data.Grader``. A grade has three values: right, wrong, unknown."""

from typing import NamedTuple

from fusionrun.api.records import VerdictValue

PROMPT_FAULT = "prompt: "
"""Begins the detail of an unknown verdict when no answer could be judged: the prompt's own gold answer or tests
cannot be used. ``construct`` drops such a prompt, ``evaluate`` leaves it out."""

DISTURBED = "disturbed: "
"""Begins the detail of an unknown verdict when a program may have failed by what its neighbours, the runner or the
node did: it is run again, alone."""


class Grade(NamedTuple):
    """A verdict and, unless it is plain, why."""

    verdict: VerdictValue
    detail: str = ""


def right() -> Grade:
    """Say that the answer is right."""
    return Grade(VerdictValue.RIGHT)


def wrong(detail: str = "") -> Grade:
    """Say that the answer is wrong."""
    return Grade(VerdictValue.WRONG, detail)


def unknown(detail: str) -> Grade:
    """Say that it cannot be told: the answer is on neither side of a pair."""
    return Grade(VerdictValue.UNKNOWN, detail)


def unusable(detail: str) -> Grade:
    """Say that the prompt itself cannot be judged, whatever the answer."""
    return Grade(VerdictValue.UNKNOWN, PROMPT_FAULT + detail)


def disturbed(detail: str) -> Grade:
    """Say that the program may not have had what it was promised."""
    return Grade(VerdictValue.UNKNOWN, DISTURBED + detail)
