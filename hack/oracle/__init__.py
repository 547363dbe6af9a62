"""Pairs of a gold answer and an answer, and what three graders of mathematics say about them."""
