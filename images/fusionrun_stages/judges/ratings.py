"""Ratings from 1 to 10 in the replies of a judge."""

import re

RATING_MAX = 10.0
"""A larger number in brackets, such as a year, is not a rating."""

RATING = re.compile(r"\[\[(\d+(?:\.\d*)?)\]\]")
BACKUP = re.compile(r"\[(\d+(?:\.\d*)?)\]")
"""Used if there is no rating in double brackets. Both: FastChat, fastchat/llm_judge/common.py, in linear time."""


def first_rating(text: str) -> float | None:
    """Return the first rating in double brackets, else the first in single brackets, else None.

    Notes
    -----
    The official code averages a number above ``RATING_MAX`` like any other. Here it is not a rating.
    """
    match = RATING.search(text) or BACKUP.search(text)
    return _checked(match[1]) if match else None


def last_rating(text: str) -> float | None:
    """Return the last rating in double brackets: a judge may repeat the example of the rubric first."""
    numbers = RATING.findall(text)
    return _checked(numbers[-1]) if numbers else None


def _checked(number: str) -> float | None:
    rating = float(number)
    return rating if rating <= RATING_MAX else None
