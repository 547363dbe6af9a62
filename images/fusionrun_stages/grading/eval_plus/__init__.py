"""EvalPlus: HumanEval+ and MBPP+, graded by the outputs of the benchmark's own solutions, in the sandbox.

The rules are those of evalplus 0.3.1 (github.com/evalplus/evalplus, Apache-2.0); it is not a dependency, since it
requires the clients of several companies. ``hack/oracles eval-plus`` compares the two.
"""

from fusionrun_stages.grading.eval_plus.grading import check

__all__ = ["check"]
