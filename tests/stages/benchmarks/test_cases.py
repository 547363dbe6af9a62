"""Packed test cases come from a network: they are texts, of a bounded size, and never code."""

import base64
import json
import os
import pickle
import zlib

import pytest

from fusionrun_stages.benchmarks.layouts import cases
from fusionrun_stages.prompts.bad_rows import BadRowError
from fusionrun_stages.prompts.counts import PromptCounts
from support.benchmarks import benchmark, case, packed, problem, questions, write

CASES = [case("1\n", "2\n"), case("[1]", "[2]", "functional")]


def pack(content):
    return base64.b64encode(zlib.compress(content)).decode()


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("value", [CASES, json.dumps(CASES), packed(CASES)], ids=["list", "json", "packed"])
def test_cases_in_each_form(value):
    assert cases.read_cases(value) == CASES


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_any_protocol_is_read(protocol):
    assert cases.unpack(pack(pickle.dumps("é", protocol))) == "é"


def test_a_pickle_that_calls_a_function_does_not(tmp_path):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        content = pickle.dumps(Hostile(str(tmp_path / "made")), protocol)
        with pytest.raises(BadRowError, match="pickle is not a text"):
            cases.unpack(pack(content))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("not base64!", "neither JSON nor compressed"),
        (base64.b64encode(b"not zlib").decode(), "neither JSON nor compressed"),
        (pack(pickle.dumps("[]"))[:12] + "====", "neither JSON nor compressed|cut off"),
        (base64.b64encode(zlib.compress(pickle.dumps("[]" * 9))[:-6]).decode(), "cut off"),
        (pack(b"not a pickle"), "pickle is not a text"),
        (pack(pickle.dumps(["[]"])), "pickle is not a text"),
        (pack(pickle.dumps("[")), "not JSON"),
        ("[1]", "a test case without a testtype"),
        ('[{"testtype": "stdin", "input": 1, "output": "2"}]', "not a text"),
        ('{"a": 1}', "neither JSON nor compressed"),
        (None, "no list of test cases"),
    ],
)
def test_damaged_cases_are_refused(value, reason):
    with pytest.raises(BadRowError, match=reason):
        cases.read_cases(value)


def test_the_size_of_unpacked_cases_is_bounded(monkeypatch):
    monkeypatch.setattr(cases, "UNPACKED_MAX_BYTES", 1000)
    assert cases.unpack(pack(pickle.dumps("x" * 900)))
    with pytest.raises(BadRowError, match="longer than"):
        cases.unpack(pack(pickle.dumps("x" * 10_000_000)))


def test_a_problem_with_damaged_tests_is_counted_and_the_others_are_read(tmp_path):
    rows = [problem("a"), problem("b", private_test_cases="?"), problem("c", contest_date="soon"), problem("d")]
    rows.append(problem("e", public_test_cases="[]", private_test_cases="[]"))
    counts = PromptCounts()
    found = questions(benchmark(write(tmp_path, {"test.jsonl": rows}), "LiveCodeBench", "LiveCodeBench"), counts)
    assert [json.loads(question.data)["question_id"] for question in found] == ["a", "d"]
    assert counts.bad_rows == 3
    assert counts.bad["a contest_date that is no date in ISO 8601"] == 1
