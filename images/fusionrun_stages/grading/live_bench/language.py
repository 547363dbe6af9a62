"""Connections, typos and plot unscrambling.

Source: LiveBench 0.0.4, process_results/writing/*/utils.py.
"""

import difflib
import re

from fusionrun_stages.grading.live_bench.rows import LiveBenchRow, UngradableError
from fusionrun_stages.grading.marks import Mark

_GROUP = 4
"""Words of a group of Connections."""


def grade_connections(row: LiveBenchRow, text: str) -> Mark:
    """Grade groups of four words: the share of right groups in the best bold list."""
    bolds = re.findall(r"\*\*(.*?)\*\*", text)
    if not bolds:
        return Mark(0.0, "it has no bold text", parsed=False)
    expected = _groups(row.ground_truth)
    best = max(sum(any(group <= found for found in _groups(bold)) for group in expected) for bold in bolds)
    detail = "" if best == len(expected) else f"{best} of {len(expected)} groups"
    return Mark(best / len(expected), detail)


def _groups(words: str) -> list[set[str]]:
    listed = [word.strip().lower() for word in words.split(",")]
    return [set(listed[start : start + _GROUP]) for start in range(0, len(listed), _GROUP)]


def grade_typos(row: LiveBenchRow, text: str) -> Mark:
    """Grade a corrected text: the last line that is not empty contains it."""
    lines = [line for line in text.split("\n") if line]
    if not lines:
        return Mark(0.0, "it is empty", parsed=False)
    return Mark(1.0) if row.ground_truth in lines[-1] else Mark(0.0, "the last line does not have the corrected text")


def grade_plot(row: LiveBenchRow, text: str) -> Mark:
    """Grade an order of sentences: 1 less the edit distance divided by the number of sentences.

    The order is that of the sentences of the response that are closest to those of the reference.
    """
    from rapidfuzz.distance import Levenshtein

    _, tag, summary = text.partition("<PLOT_SUMMARY>")
    expected, found = _sentences(row.ground_truth), _sentences(summary if tag else text)
    if not expected:
        raise UngradableError("its ground_truth has no sentence")
    order = [
        found.index(closest)
        for sentence in expected
        for closest in difflib.get_close_matches(sentence, found, n=1, cutoff=0.0)
    ]
    distance = Levenshtein.distance(list(range(len(expected))), order)
    detail = f"{distance} edits to the right order" if distance else ""
    return Mark(1 - distance / len(expected), detail, parsed=bool(tag))


def _sentences(text: str) -> list[str]:
    return [stripped for sentence in text.split(".") if (stripped := sentence.strip())]
