"""Mathematics by the rules of the Qwen2.5-Math harness, which FuseChat-3.0 uses for GSM8K, MATH and AMC 23.

``extraction`` finds the final answer in a response, ``normal_form`` rewrites it, ``comparison`` compares it with the
gold answer, ``pool`` does so in processes with limits.

These rules deliberately differ from this project's own (``grading.mathematics``): scores are comparable only by the
same rules. They have no verdict "unknown", and they take some wrong answers for right ones: the text after the part of
a formula that can be read is ignored, and 1/100 and 100 times the gold answer are right.
"""

from fusionrun_stages.grading.qwen_mathematics.pool import grade_all

__all__ = ["grade_all"]
