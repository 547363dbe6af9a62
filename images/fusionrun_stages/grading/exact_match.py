"""Exact match with the reference, spaces aside."""

from fusionrun_stages.grade import Grade, right, unusable, wrong


def normalise(text: str) -> str:
    """Strip the text and turn every run of white space into one space; capitals stay."""
    return " ".join(text.split())


def grade(reference: str | None, answer: str) -> Grade:
    """Compare an answer with the reference."""
    if reference is None or not reference.strip():
        return unusable("it has no reference answer")
    return right() if normalise(answer) == normalise(reference) else wrong()
