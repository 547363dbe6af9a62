"""From a response to a verdict: the table of responses of tests/stages/grading, judged in the sandbox."""

import sys
from pathlib import Path

import pytest
import yaml

from fusionrun_stages.grading import coding

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox requires Linux")

TABLE = Path(__file__).parents[1] / "grading/programs.yaml"
SORTS = ["assert f([3, 1, 2]) == [1, 2, 3]"]


def test_each_response_gets_its_verdict(runner):
    cases = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    submissions = [
        coding.Submission(case["answer"], tuple(case.get("tests", SORTS)), case.get("entry_point")) for case in cases
    ]
    grades = dict(coding.grade_all(submissions, 2))
    expected = [case.get("verdict", "right").split("|") for case in cases]
    assert [
        (case["name"], grades[number])
        for number, case in enumerate(cases)
        if grades[number].verdict.value not in expected[number]
    ] == []
