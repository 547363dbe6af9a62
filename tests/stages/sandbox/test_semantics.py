"""Verdicts are those of one process, or unknown: the cases of ``semantics.toml``."""

import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox requires Linux")

CASES = tomllib.loads(Path(__file__).with_name("semantics.toml").read_text())["case"]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_verdict_is_that_of_one_process_or_unknown(grade, case):
    found = grade(case["program"], *case["tests"], entry_point=case.get("entry_point"))
    assert found.verdict == case["verdict"], found.detail


def test_an_input_may_be_longer_than_the_buffer_of_a_pipe(grade):
    pair = {"input": "x" * 200_000, "output": "200000"}
    assert grade("import sys\nprint(len(sys.stdin.read()))\n", str(pair)) == ("right", "")
