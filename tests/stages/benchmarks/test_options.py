"""Options and answers of multiple-choice tables, in the notations that users' files have."""

import pytest

from fusionrun_stages.benchmarks.options import letter_of, listed, read_options
from fusionrun_stages.prompts.bad_rows import BadRowError
from fusionrun_stages.prompts.counts import PromptCounts
from support.benchmarks import benchmark, questions, write

COLUMNS = {"prompt": "q", "answer": "a", "options": "o"}


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (["x", "y", "N/A"], ["x", "y"]),
        ([1, 2.5], ["1", "2.5"]),
        ('["x", "y"]', ["x", "y"]),
        ("['x', \"it's\"]", ["x", "it's"]),
        (["x"], None),
        (["x", None], None),
        (["x", ["y"]], None),
        ("x, y", None),
        ("['x' 'y']", None),
        ("[__import__('os')]", None),
        ("[" * 5000, None),
        ([str(n) for n in range(27)], None),
        (None, None),
    ],
)
def test_options_of_a_column(value, options):
    if options is None:
        with pytest.raises(BadRowError, match="options"):
            read_options(value)
    else:
        assert read_options(value) == options


@pytest.mark.parametrize(
    ("answer", "options", "letter"),
    [
        ("y", ["x", "y"], "B"),
        (" y ", ["x", "y"], "B"),
        ("B", ["x", "y"], "B"),
        ("(b)", ["x", "y"], "B"),
        ("B.", ["x", "y"], "B"),
        (1, ["x", "y"], "B"),
        (1.0, ["x", "y"], "B"),
        ("1", ["x", "y"], "B"),
        ("2", ["1", "2", "3"], "B"),  # the text of an option comes before an index
        (7, ["5", "7", "9"], "B"),
        (2, ["1", "2", "3"], None),  # the second option, or the one with index 2?
        ("C", ["x", "y"], None),
        (2, ["x", "y"], None),
        (-1, ["x", "y"], None),
        ("x", ["x", "x"], None),
        (True, ["x", "y"], None),
        ("", ["x", "y"], None),
        (None, ["x", "y"], None),
    ],
)
def test_letter_of_an_answer(answer, options, letter):
    if letter is None:
        with pytest.raises(BadRowError, match="answer"):
            letter_of(answer, options)
    else:
        assert letter_of(answer, options) == letter


def test_every_option_is_a_line():
    assert listed(["x", "y\nz"]) == "A. x\nB. y\nz"


@pytest.mark.parametrize("name", ["own.jsonl", "own.csv"])
def test_a_users_own_benchmark(tmp_path, name):
    rows = [{"q": "Which?", "a": "Paris", "o": ["Lyon", "Paris"]}, {"q": "Which?", "a": "B", "o": ["x", "y"]}]
    csv = "q,a,o\nWhich?,Paris,\"['Lyon', 'Paris']\"\nWhich?,B,\"['x', 'y']\"\n"
    write(tmp_path, {name: csv if name.endswith("csv") else [*rows, rows[0], rows[0] | {"a": "Rome"}]})
    counts = PromptCounts()
    form = {"template": "{prompt} {options}"}
    found = questions(benchmark(tmp_path, "Table", "Choice", columns=COLUMNS, form=form), counts)
    assert [(q.prompt, q.answer) for q in found] == [("Which? A. Lyon\nB. Paris", "B"), ("Which? A. x\nB. y", "B")]
    assert len({q.prompt_id for q in found}) == 2, "the same question with other options is another one"
    if name == "own.jsonl":
        assert (counts.duplicates, counts.bad) == (1, {"an answer that is not the index of an option": 1})
