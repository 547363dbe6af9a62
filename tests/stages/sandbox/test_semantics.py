"""Verdicts are those of one process, or unknown: the cases of ``semantics.toml`` and ``preambles.toml``."""

import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox requires Linux")

HERE = Path(__file__).parent
CASES = tomllib.loads((HERE / "semantics.toml").read_text())["case"]
WITH_PREAMBLE = tomllib.loads((HERE / "preambles.toml").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_verdict_is_that_of_one_process_or_unknown(grade, case):
    found = grade(case["program"], *case["tests"], entry_point=case.get("entry_point"))
    assert found.verdict == case["verdict"], found.detail


@pytest.mark.parametrize("case", WITH_PREAMBLE["case"], ids=[case["name"] for case in WITH_PREAMBLE["case"]])
def test_a_preamble_runs_before_the_program_and_its_tests(grade, case):
    preamble = WITH_PREAMBLE["preambles"][case["preamble"]]
    found = grade(case["program"], *case["tests"], entry_point=case.get("entry_point"), preamble=preamble)
    assert found.verdict == case["verdict"], found.detail


def test_an_input_may_be_longer_than_the_buffer_of_a_pipe(grade):
    pair = {"input": "x" * 200_000, "output": "200000"}
    assert grade("import sys\nprint(len(sys.stdin.read()))\n", str(pair)) == ("right", "")
