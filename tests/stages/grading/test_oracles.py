"""The committed pairs of ``hack/oracles``: our verdicts are still the same, and every disagreement has its reason."""

import pytest
from oracle.pairs import pairs
from oracle.reasons import DOCUMENT, disagreements, read_reasons, read_rows, render

from fusionrun_stages.grading.mathematics import Problem, grade_problem

ROWS = read_rows()


def test_there_are_enough_pairs_and_they_are_those_that_the_script_makes():
    assert len(ROWS) >= 2000
    assert [row[:4] for row in ROWS] == [tuple(pair) for pair in pairs(2400)]


@pytest.mark.parametrize("kind", sorted({row.kind for row in ROWS}))
def test_our_verdicts_are_those_of_the_committed_pairs(kind):
    for row in (row for row in ROWS if row.kind == kind):
        (found,) = grade_problem(Problem(row.gold, [f"So the answer is $\\boxed{{{row.answer}}}$."]))
        assert found.verdict.value == row.ours, (row, found.detail)


def test_no_other_value_is_right_and_no_equal_value_is_wrong():
    assert not [row for row in ROWS if (row.made, row.ours) in {("other", "right"), ("same", "wrong")}]


def test_every_disagreement_has_a_reason_and_is_in_the_document():
    assert set(disagreements(ROWS)) == set(read_reasons())
    version = DOCUMENT.read_text(encoding="utf-8").split("by math-verify ")[1].split()[0]
    assert DOCUMENT.read_text(encoding="utf-8") == render(ROWS, version)
