"""Coding: find the program in the response, analyse it, and run the prompt's tests in the sandbox."""

from fusionrun_stages.grading.coding.grading import Submission, grade_all, isolation
from fusionrun_stages.grading.coding.names import names_of_tests
from fusionrun_stages.grading.coding.program import extract_program
from fusionrun_stages.grading.coding.static import analyse

__all__ = [
    "Submission",
    "analyse",
    "extract_program",
    "grade_all",
    "isolation",
    "names_of_tests",
]
