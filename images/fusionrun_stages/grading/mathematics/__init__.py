"""Mathematics: compare the final answer of a response with the gold answer.

``response`` finds the final answer, ``reading`` makes a value of it, ``comparison`` compares two values, ``problem``
grades the responses to a prompt, ``pool`` and ``limits`` do so in processes with limits.

A verdict is right or wrong only if it is certain. A text that no rule reads whole is unknown; for a gold answer it is
the prompt's fault.
"""

from fusionrun_stages.grading.mathematics.limits import (
    CPU_SECONDS,
    GRACE_SECONDS,
    MEMORY_BYTES,
    MEMORY_MIN_BYTES,
    PARENT_BYTES,
    share_memory,
)
from fusionrun_stages.grading.mathematics.pool import grade_all
from fusionrun_stages.grading.mathematics.problem import Problem, grade_problem

__all__ = [
    "CPU_SECONDS",
    "GRACE_SECONDS",
    "MEMORY_BYTES",
    "MEMORY_MIN_BYTES",
    "PARENT_BYTES",
    "Problem",
    "grade_all",
    "grade_problem",
    "share_memory",
]
