"""The program in a response: a table of responses, properties of any response, and time that grows with its length."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionrun_stages.grading import coding

SORTED = "def f(a):\n    return sorted(a)\n"
SORTS = ["assert f([3, 1, 2]) == [1, 2, 3]"]
CASES = yaml.safe_load((Path(__file__).parent / "programs.yaml").read_text(encoding="utf-8"))
NAMES = [case["name"] for case in CASES]


def submission(case):
    return coding.Submission(case["answer"], tuple(case.get("tests", SORTS)), case.get("entry_point"))


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_program_is_found_in_the_response(case):
    assert coding.extract_program(*submission(case)) == case.get("program", SORTED)


def test_the_table_names_each_case_once():
    assert len(set(NAMES)) == len(NAMES)


PROGRAMS = st.sampled_from([case["program"] for case in CASES if case.get("program") and "verdict" not in case])
WORDS = st.text(st.sampled_from("abc xyz,.:'\"-*#>1\n"), max_size=60)
"""Prose: no fences, no drafts."""
PIECES = st.sampled_from([
    "```", "~~~", "````", "`", "python", "py3", "\n", "\r\n", "    ", "> ", "- ", "1. ", "<think>", "</think>",
    "def f(a):", "return a", '"""', "'''", "'", "\\", "(", "#", ">>> ", "\ufeff", "\x00", "\ud800", "import os",
    "@f", "class f:", "```markdown",
])  # fmt: skip


@settings(deadline=None, derandomize=True, database=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join))
def test_any_text_has_a_program_or_none(text):
    found = coding.extract_program(text, ("assert f(1) == 1",), "f")
    assert found is None or found.strip()
    if found is not None:
        coding.analyse(found)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    program=PROGRAMS,
    mark=st.sampled_from(["```", "~~~", "````", "`````", "~~~~~"]),
    label=st.sampled_from(["", "python", "Python 3", "py3", "py", " python3", "{.python}", "code", 'python title="a"']),
    lead=st.sampled_from(["", "  ", "    ", "1. ", "- ", "> ", "\t"]),
    before=WORDS,
    after=WORDS,
    ending=st.sampled_from(["\n", "\r\n"]),
    closed=st.booleans(),
)
def test_a_program_in_a_fence_is_found_unchanged(program, mark, label, lead, before, after, ending, closed):
    if mark[0] * 3 in program:
        mark = {"`": "~~~~~", "~": "`````"}[mark[0]]
    indent = lead if not lead.strip() or lead == "> " else " " * len(lead)
    lines = [f"{mark}{label}", *program.rstrip("\n").split("\n"), *([mark] if closed else [])]
    block = "\n".join([lead + lines[0], *(indent + line for line in lines[1:])])
    answer = f"{before}\n\n{block}\n" + (f"\n{after}" if closed else "")
    assert coding.extract_program(answer.replace("\n", ending), ("assert f([]) == []",), None) == program


def test_a_long_response_takes_time_in_proportion_to_its_length():
    """At most half a second each; a fence of the pattern that was here before took ten."""
    script = Path(__file__).parent / "read_long.py"
    done = subprocess.run([sys.executable, str(script), "200000", "4"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"stopped after: {done.stdout}{done.stderr}"
