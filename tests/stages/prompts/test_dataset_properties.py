"""Whatever a data set contains, its rows are read or counted, or it is refused by name."""

import io
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given
from hypothesis import strategies as st

from fusionrun.api.records import Prompt
from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts import parquet_rows
from support.datasets import read_dataset
from support.properties import quick

COLUMNS = {"prompt": "prompt", "context": "c", "answer": "a", "tests": "t", "solution": "s[0].x", "category": "k"}
FIELDS = {"columns": COLUMNS, "responses_columns": {"big": "prompt", "small": "r.x"}}
ENDINGS = (".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ".csv.gz")

TEXT = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["\ud83d", "\0", '"', "user", "gpt", "[1]", "NaN", "1e400"]
)
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
TURN = st.fixed_dictionaries(
    {}, optional={"role": TEXT, "from": TEXT, "content": LEAF, "value": LEAF, "tool_calls": LEAF, "text": TEXT}
)
VALUE = st.recursive(
    LEAF | st.lists(TURN, max_size=3),
    lambda values: st.lists(values, max_size=3)
    | st.dictionaries(st.sampled_from(["role", "content", "x", "from", "value", "type", "text"]), values, max_size=3),
    max_leaves=8,
)
VALUES = VALUE | VALUE.map(json.dumps)
ROW = st.dictionaries(st.sampled_from(["prompt", "c", "a", "t", "s", "k", "r"]), VALUES, max_size=7)


def parquet(rows):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


STORED = parquet([{"prompt": "a?", "c": ["b", "c"], "r": {"x": n}} for n in range(3)])
"""A Parquet file that the tests damage."""


def check(content, ending, **fields):
    """Read a file; return its rows, or None if it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{ending}"
        path.write_bytes(content)
        try:
            rows, counts = read_dataset(path, **fields)
        except UserError as error:
            refused = str(error)
        else:
            refused = None
    if refused is not None:
        assert path.name in refused
        return None
    assert all(example.startswith(f"{path.name}:") for example in counts.bad_examples)
    assert json.dumps(counts.as_json(), ensure_ascii=False).encode()
    for row in rows:
        prompt = Prompt(
            prompt_id="p", dataset="d", task="t", prompt=row.text, answer=row.answer, tests=row.tests
        ).model_dump_json()
        assert Prompt.model_validate_json(prompt).prompt == row.text
        assert "\0".join([*row.responses.values(), row.solution or "", row.category or ""]).encode() is not None
    return rows, counts


@quick
@given(st.binary(max_size=80), st.sampled_from(ENDINGS))
@example(b"[", ".json")
@example(b"\xef\xbb\xbf", ".csv")
@example(b"prompt\n\0", ".csv")
@example(b'{"prompt": "a"}\n', ".jsonl")
def test_any_bytes(content, ending):
    check(content, ending)


@quick
@given(
    st.lists(st.text('{}[]:,"\\ \n\r\tap1\ufeff\ud800', max_size=30).map(lambda t: t.encode("utf-8", "surrogatepass")))
)
def test_any_text_in_the_characters_of_json_and_csv(parts):
    content = b'{"prompt": "p"}\n' + b"".join(parts)
    for ending in (".jsonl", ".json", ".csv"):
        check(content, ending)
    check(b"prompt,a\n" + b"".join(parts), ".csv")
    check(b"[" + content, ".json")


@quick
@given(st.integers(0, len(STORED) - 1), st.binary(min_size=1, max_size=4), st.integers(0, 8))
def test_a_damaged_parquet_file(position, junk, removed):
    check(STORED[:position] + junk + STORED[position + removed :], ".parquet")


@quick
@given(st.lists(ROW, min_size=1, max_size=4), st.sampled_from(["Instruction", "Mathematics", "Coding"]))
def test_any_rows_of_json_values(rows, task):
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    one = check(lines, ".jsonl", task=task, **FIELDS)
    two = check(json.dumps(rows).encode(), ".json", task=task, **FIELDS)
    if one is not None and two is not None:
        assert one[0] == two[0]
        assert one[1].bad == two[1].bad


@quick
@given(st.lists(st.text(max_size=5) | st.none(), min_size=1, max_size=20), st.integers(1, 7))
def test_rows_do_not_depend_on_the_batches(prompts, batch):
    content = parquet([{"prompt": text, "number": 1} for text in prompts])
    whole = check(content, ".parquet")
    before, parquet_rows.BATCH_ROWS = parquet_rows.BATCH_ROWS, batch
    try:
        assert check(content, ".parquet") == whole
    finally:
        parquet_rows.BATCH_ROWS = before
