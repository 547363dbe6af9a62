"""Scores of the questions of benchmarks: ``answers`` joins the rows, ``grading`` grades them, ``tallies`` adds them up.

``details`` describes the scores for people.
"""
