"""The number of prompts with which an evaluation finds a difference of two models."""

import math

QUANTILE = 1.959964
"""Quantile 0.975 of the standard normal distribution: standard errors of half a 95 % interval."""
POWER_QUANTILE = 0.841621
"""Quantile 0.8 of the standard normal distribution, for a power of 0.8."""


def prompts_needed(standard_error: float, prompts: int, difference: float) -> int | None:
    """Return the prompts with which a difference is significant in 4 of 5 evaluations; None if it is 0.

    ``standard_error`` is that of the paired difference on ``prompts`` prompts, in the unit of ``difference``. The level
    is 0.05, two-sided. The further prompts must be like the measured ones.

    Notes
    -----
    Source: the sample size of a paired z-test, as in Miller, "Adding Error Bars to Evals" (arXiv 2411.00640), section
    5; n times the squared standard error is the variance of the differences.
    """
    if not difference or not prompts:
        return None
    per_prompt = prompts * standard_error**2
    needed = (QUANTILE + POWER_QUANTILE) ** 2 * per_prompt / difference**2
    return max(2, math.ceil(needed))
