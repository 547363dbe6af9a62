"""Parquet files that users bring: types, encodings and sizes."""

import datetime
import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusionrun_stages.errors import UserError
from support.datasets import read_dataset as read

NOT_UTF_8 = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\2\0\0\0\5\0\0\0"), pa.py_buffer(b"\xff\xfeok?"))
TURN = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello"}
PARTS = pa.list_(pa.struct({"type": pa.string(), "text": pa.string(), "image": pa.binary()}))
LATE = 10**7
"""Days since 1970: a date after the year 9999, which Python cannot represent."""

PROMPTS = {
    "text": (pa.array(["a?", "b?"]), ["a?", "b?"], {}),
    "large text": (pa.array(["a?", "b?"], pa.large_string()), ["a?", "b?"], {}),
    "text views": (pa.array(["a?", "b?"], pa.string_view()), ["a?", "b?"], {}),
    "dictionary": (pa.array(["a?", "a?", "b?"]).dictionary_encode(), ["a?", "a?", "b?"], {}),
    "bytes": (pa.array([b"a?", "café?".encode()]), ["a?", "café?"], {}),
    "bytes that are not UTF-8": (
        pa.array([b"\xff\xfe", b"a?"]),
        ["a?"],
        {"a text that is not Unicode: invalid UTF-8, or a lone surrogate": 1},
    ),
    "bytes of a fixed size": (pa.array([b"a?", b"b?"], pa.binary(2)), ["a?", "b?"], {}),
    "text that is not UTF-8": (NOT_UTF_8, ["ok?"], {"a text that is not UTF-8": 1}),
    "null and blank": (pa.array(["a?", None, " "]), ["a?"], {"no prompt in column 'm'": 2}),
    "no type": (pa.nulls(2), [], {"no prompt in column 'm'": 2}),
    "a chat": (pa.array([list(TURN)]), ["Hi?"], {}),
    "a chat of parts": (
        pa.array(
            [[{"role": "user", "content": [{"type": "text", "text": "Hi?"}]}]],
            pa.list_(pa.struct({"role": pa.string(), "content": PARTS})),
        ),
        ["Hi?"],
        {},
    ),
    "a chat with an image": (
        pa.array(
            [[{"role": "user", "content": [{"type": "image", "image": b"x"}]}]],
            pa.list_(pa.struct({"role": pa.string(), "content": PARTS})),
        ),
        [],
        {"a chat with a part that is not a text": 1},
    ),
    "a struct of lists": (pa.array([{"role": ["user", "assistant"], "content": ["Hi?", "Yo"]}]), ["Hi?"], {}),
    "a map": (pa.array([[("q", "a?")]], pa.map_(pa.string(), pa.string())), [], {"no prompt in column 'm'": 1}),
    "a date": (pa.array([datetime.date(2024, 2, 29)]), ["2024-02-29"], {}),
    "a late date": (
        pa.array([LATE, 1], pa.date32()),
        ["1970-01-02"],
        {"a value that Python cannot represent": 1},
    ),
}


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("name", PROMPTS)
def test_a_column_of_prompts(tmp_path, name):
    column, prompts, bad = PROMPTS[name]
    rows, counts = read(parquet(tmp_path / "x.parquet", m=column), columns={"prompt": "m"})
    assert ([row.text for row in rows], dict(counts.bad)) == (prompts, bad)
    assert all(example.startswith("x.parquet:") for example in counts.bad_examples)


def test_a_value_that_cannot_be_read_costs_one_row_of_its_batch(tmp_path):
    texts = pa.array([str(n) for n in range(60)])
    dates = pa.array([1] * 29 + [LATE] + [1] * 30, pa.date32())
    path = parquet(tmp_path / "x.parquet", m=texts, t=dates)
    rows, counts = read(path, columns={"prompt": "m", "category": "t"})
    assert [row.text for row in rows] == [str(n) for n in range(60) if n != 29]
    assert counts.first_bad.startswith("x.parquet:30: a value that Python cannot represent: ")
    assert len(read(path, columns={"prompt": "m"})[0]) == 60


@pytest.mark.parametrize(
    ("column", "answers"),
    [
        (pa.array([3.0, 1e-05, float("nan"), None, 6.02e23]), ["3.0", "0.00001", "602000000000000000000000"]),
        (pa.array([0.1, 2.5], pa.float32()), ["0.1", "2.5"]),
        (pa.array([2**63 - 1, None]), [str(2**63 - 1)]),
        (pa.array([decimal.Decimal("1.50"), None]), ["1.50"]),
        (pa.array([decimal.Decimal("1E+5")], pa.decimal128(6, 0)), ["100000"]),
        (pa.array([True, False]), ["True", "False"]),
        (pa.array([["2"], []]), []),
    ],
)
def test_a_column_of_reference_answers(tmp_path, column, answers):
    path = parquet(tmp_path / "x.parquet", prompt=pa.array([str(n) for n in range(len(column))]), answer=column)
    rows, counts = read(path, task="Mathematics", columns={"prompt": "prompt", "answer": "answer"})
    assert [row.answer for row in rows] == answers
    assert counts.bad_rows == len(column) - len(answers)


def test_tests_and_responses_in_structs(tmp_path):
    path = parquet(
        tmp_path / "x.parquet",
        prompt=pa.array(["a?"]),
        tests=pa.array([[{"input": "1", "output": "2"}, {"input": "3", "output": None}]]),
        completions=pa.array([[{"model": "m1", "response": "done 1"}, {"model": "m2", "response": "done 2"}]]),
    )
    columns = {"prompt": "prompt", "tests": "tests"}
    (row,), counts = read(
        path, task="Coding", columns=columns, responses_columns={"s": "completions[1].response", "t": "completions[2]"}
    )
    assert row.tests == ['{"input": "1", "output": "2"}', '{"input": "3", "output": null}']
    assert (row.responses, dict(counts.no_response)) == (
        {"s": "done 2"},
        {"t: no response in column 'completions[2]'": 1},
    )


def test_a_column_that_only_a_later_file_has(tmp_path):
    parquet(tmp_path / "a.parquet", prompt=pa.array(["a?"]))
    parquet(tmp_path / "b.parquet", prompt=pa.array(["b?"]), input=pa.array(["c"]))
    rows, _ = read(tmp_path, columns={"prompt": "prompt", "context": "input"})
    assert [row.text for row in rows] == ["a?", "b?\nc"]
    with pytest.raises(UserError, match=r"column 'other': missing in a.parquet, which has: prompt$"):
        read(tmp_path, columns={"prompt": "prompt", "context": "other"})
