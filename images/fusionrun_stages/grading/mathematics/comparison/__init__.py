"""Compare two values: right, wrong, or a doubt."""

from fusionrun_stages.grading.mathematics.comparison import quantities, relations, several, times, words
from fusionrun_stages.grading.mathematics.comparison.rules import compare

__all__ = ["compare", "quantities", "relations", "several", "times", "words"]
