"""Graders of LiveBench, release 2024-08-31: rules without a judge, as in livebench/process_results of version 0.0.4.

``tasks`` selects the grader of a question, ``pool`` grades many responses with a limit of time, ``rows`` reads the row
of the data set, and each other module has the graders of one family of tasks. The coding tasks are graded elsewhere.

The official code stops with an exception on some responses, such as an empty one in ``typos``; these are wrong here.
"""

from fusionrun_stages.grading.live_bench.pool import grade_all
from fusionrun_stages.grading.live_bench.tasks import grade

__all__ = ["grade", "grade_all"]
