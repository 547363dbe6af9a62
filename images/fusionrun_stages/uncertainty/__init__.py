"""Scores of models with their uncertainty: aggregation, intervals, paired tests and corrections. No I/O.

``scored`` has the scores of the questions, ``resampling`` the bootstrap, ``intervals`` the interval of one score,
``paired`` the difference of two models on the same questions, ``corrections`` the correction for several benchmarks.
"""
