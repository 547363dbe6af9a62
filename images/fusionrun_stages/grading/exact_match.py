"""Exact match with the reference answer, except for white space."""

from fusionrun_stages.grade import Grade, right, unusable, wrong


def normalise(text: str) -> str:
    """Strip the text and replace every run of white space with one space; case stays."""
    return " ".join(text.split())


def grade(reference: str | None, answer: str) -> Grade:
    """Compare a response with the reference answer."""
    if reference is None or not reference.strip():
        return unusable("it has no reference answer")
    return right() if normalise(answer) == normalise(reference) else wrong()
