"""The result of a grader: right, wrong or unknown."""

import re
from typing import NamedTuple

from fusionrun.api.records import VerdictValue

PROMPT_FAULT = "prompt: "
"""Prefix of an unknown verdict's detail: no response can be judged, since the prompt's gold answer or tests cannot be
used. ``construct`` drops such a prompt, ``evaluate`` leaves it out."""

DISTURBED = "disturbed: "
"""Prefix of an unknown verdict's detail: other programs, the runner or the node may have caused the failure. The
program is run again, alone."""

NOT_PERMITTED = "not permitted in the sandbox: "
"""Prefix of an unknown verdict's detail: the program may be right where it may start processes or change files."""
MISSING_MODULE = "missing module: "
"""Beginning of an unknown verdict's detail, after ``PROMPT_FAULT`` if the tests import the module: the sandbox's image
does not have it."""
MISSING_PATTERN = f"^(?:{PROMPT_FAULT})?{MISSING_MODULE}" + r"(\w+)"


class Grade(NamedTuple):
    """A verdict, and its reason if it is not right."""

    verdict: VerdictValue
    detail: str = ""


def right() -> Grade:
    """Return the grade of a right response."""
    return Grade(VerdictValue.RIGHT)


def wrong(detail: str = "") -> Grade:
    """Return the grade of a wrong response."""
    return Grade(VerdictValue.WRONG, detail)


def unknown(detail: str) -> Grade:
    """Return the grade of a response that cannot be judged: it is neither chosen nor rejected in a pair."""
    return Grade(VerdictValue.UNKNOWN, detail)


def unusable(detail: str) -> Grade:
    """Return the grade of any response to a prompt that cannot be judged."""
    return Grade(VerdictValue.UNKNOWN, PROMPT_FAULT + detail)


def missing_module(detail: str) -> str | None:
    """Return the name of the module that a verdict's detail says is missing."""
    found = re.match(MISSING_PATTERN, detail)
    return found.group(1) if found else None


def disturbed(detail: str) -> Grade:
    """Return the grade of a program that may not have had its guaranteed resources."""
    return Grade(VerdictValue.UNKNOWN, DISTURBED + detail)
