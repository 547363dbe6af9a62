"""LiveCodeBench, and LiveBench's category coding: programs that read an input, and functions that are called.

The rules are those of the runner that FuseEval and LiveBench of 2024-08-31 contain (github.com/LiveCodeBench, MIT).
Later versions of the runner take the last block of a response, and compare decimal numbers without a tolerance.
``hack/oracles live-code-bench`` compares with both.
"""

from fusionrun_stages.grading.live_code_bench.grading import check

__all__ = ["check"]
