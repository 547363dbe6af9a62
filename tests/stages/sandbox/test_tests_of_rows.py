"""From the tests in a row of a data set to verdicts: prepare, then verify."""

import json
import sys

import pytest

from fusionrun.api.artifacts import SOLUTIONS
from fusionrun.api.records import Prompt, Response, Verdict
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.tasks.responses import VerifyParameters
from fusionrun_stages import prepare, verify
from fusionrun_stages.volume.parquet import read_rows
from support.stage import make_work, read_shards

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox requires Linux")

PAIR = {"input": "2\n3 4\n", "output": "7\n"}
SUMS = "n = int(input())\nprint(sum(map(int, input().split())))"
FIRST = "input()\nprint(input().split()[0])"
TOTAL = "class Solution:\n    def total(self, items):\n        return sum(items)"
COUNT = TOTAL.replace("sum", "len")
CALL = {"fn_name": "total", "inputs": [[[1, 2]], [[5]]], "outputs": [3, 5]}
ROWS = [
    ("a list of pairs", [PAIR, {"input": "1\n5\n", "output": "5\n"}], SUMS, FIRST),
    ("one pair", PAIR, SUMS, FIRST),
    ("lists of inputs and outputs", {"inputs": ["2\n3 4\n", "1\n9\n"], "outputs": ["7\n", "9\n"]}, SUMS, FIRST),
    ("lists in a JSON text", json.dumps({"inputs": ["2\n3 4\n"], "outputs": ["7\n"]}), SUMS, FIRST),
    ("pairs in a JSON text", json.dumps([PAIR]), SUMS, FIRST),
    ("calls", CALL, TOTAL, COUNT),
    ("calls in a JSON text", json.dumps(CALL), TOTAL, COUNT),
    ("calls in a list", [CALL], TOTAL, COUNT),
    ("statements", ["assert total([1, 2]) == 3"], "def total(items):\n    return sum(items)", "def total(items): 1"),
]


def test_the_tests_of_a_row_decide_the_verdicts(volume, runner):
    lines = [
        {"q": name, "tests": tests, "good": f"```python\n{good}\n```", "bad": f"Here:\n```python\n{bad}\n```"}
        for name, tests, good, bad in ROWS
    ]
    columns, responses = {"prompt": "q", "tests": "tests"}, {"good": "good", "bad": "bad"}
    datasets = []
    for number, line in enumerate(lines):  # one file each: a column has one type in a file
        (volume / f"{number}.jsonl").write_text(json.dumps(line) + "\n")
        fields = {"name": f"d{number}", "task": "Coding", "columns": columns, "responses_columns": responses}
        datasets.append(fields | {"uri": f"pvc://claim/{number}.jsonl"})
    parameters = {"kind": "prepare", "datasets": datasets, "benchmarks": [], "shards": 1, "seed": 1}
    prepare.run(make_work(volume / "p", parameters, "prepare/prompts"))
    names = {prompt.prompt_id: prompt.prompt for prompt in read_shards(volume / "p/prompts", Prompt)}
    assert set(names.values()) == {name for name, *_ in ROWS}
    for source, expected in (("good", "right"), ("bad", "wrong")):
        assert len(read_shards(volume / "p/responses" / source, Response)) == len(ROWS)
        checked = VerifyParameters(
            grader=Grader.CODING,
            datasets=[dataset["name"] for dataset in datasets],
            source=source,
            shards=1,
            prompts_dir=str(volume / "p/prompts"),
            responses_dir=str(volume / "p/responses" / source),
        )
        made = verify.run(make_work(volume / source, checked, f"verify/{source}", shard=0))
        found = {names[row.prompt_id]: row for row in read_rows(volume / source / made.files[0], Verdict)}
        assert {row.verdict.value for row in found.values()} == {expected}, found
        assert len(found) == len(ROWS)


NODES = "class Node:\n    def __init__(self, val, next=None):\n        self.val, self.next = val, next\n"
PROMPT = "Add one.\n\nYour code should pass the following assertion:\n```python\nassert add(1) == 2\n```"


@pytest.mark.parametrize(
    ("fields", "row"),
    [
        (
            {"columns": {"prompt": "q", "tests": "t", "entry_point": "e", "preamble": "p", "solution": "s"}},
            {
                "q": "Return the node after the first.",
                "t": "def check(candidate):\n    assert candidate(Node(1, Node(2))).val == 2",
                "e": "Solution().second",
                "p": NODES,
                "s": "class Solution:\n    def second(self, head: Node):\n        return head.next",
            },
        ),
        (
            {"columns": {"prompt": "q", "solution": "s"}, "tests_from": "Prompt"},
            {"q": PROMPT, "s": "It adds:\n\n```python\ndef add(n):\n    return n + 1\n```\n"},
        ),
    ],
    ids=["with a preamble", "with its tests in the prompt"],
)
def test_a_reference_solution_is_run_as_a_response_is(volume, runner, fields, row):
    (volume / "d.jsonl").write_text(json.dumps(row) + "\n")
    dataset = {"name": "d", "task": "Coding", "uri": "pvc://claim/d.jsonl"} | fields
    parameters = {"kind": "prepare", "datasets": [dataset], "benchmarks": [], "shards": 1, "seed": 1}
    prepare.run(make_work(volume / "p", parameters, "prepare/prompts"))
    (prompt,) = read_shards(volume / "p/prompts", Prompt)
    assert (prompt.prompt, prompt.preamble) == (row["q"], row.get("p"))
    checked = VerifyParameters(
        grader=Grader.CODING,
        datasets=["d"],
        source=SOLUTIONS,
        shards=1,
        prompts_dir=str(volume / "p/prompts"),
        responses_dir=str(volume / "p" / SOLUTIONS),
    )
    values = verify.run(make_work(volume / "v", checked, "verify/solutions", shard=0)).values
    assert (values.right, values.wrong, values.unknown) == (1, 0, 0)
