"""Mutants of right programs, and the verdict of plain Python on them: the reference for the judge of coding."""
