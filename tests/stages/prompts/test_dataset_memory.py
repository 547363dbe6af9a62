"""Memory depends on the largest row, not on the size of a file or on what it expands to."""

import gzip
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts import csv_rows, json_rows, parquet_rows, values
from support.datasets import read_dataset

MEASURE = """
import sys
rows, peak = 0, lambda: int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) // 1024
from fusionrun.api.tasks.parameters import DatasetParameters
from fusionrun_stages.prompts.counts import PromptCounts
from fusionrun_stages.prompts.dataset_rows import DatasetReader, open_dataset
import pyarrow.parquet
dataset = DatasetParameters(name="a", task="Instruction", columns={}, uri=sys.argv[1])
before, counts = peak(), PromptCounts()
for row in DatasetReader({"a": open_dataset(dataset, "datasets")}).rows(dataset, counts):
    rows += 1
print(rows, counts.bad_rows, peak() - before)
"""


def measure(path):
    """Return the usable rows, the bad rows, and the additional MiB that reading them took."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    return [int(number) for number in done.stdout.split()]


def test_a_dictionary_that_expands_to_100_mib(tmp_path):
    table = pa.table({"prompt": pa.array(["x" * 100_000] * 1024).dictionary_encode()})
    pq.write_table(table, tmp_path / "x.parquet", compression="zstd")
    assert (tmp_path / "x.parquet").stat().st_size < 2000
    rows, bad, mib = measure(tmp_path / "x.parquet")
    assert (rows, bad) == (1024, 0)
    assert mib < 40


def gzipped(path: Path, parts) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for part in parts:
            file.write(part)
    return path


@pytest.mark.parametrize("form", ["one line", "an array"])
def test_many_rows_in_a_small_gzip_file(tmp_path, form):
    row = b'{"prompt": "%s"}' % (b"y " * 50_000)
    between = b"\n" if form == "one line" else b","
    parts = [row, *[between + row] * 1000]
    parts = parts if form == "one line" else [b"[", *parts, b"]"]
    rows, bad, mib = measure(gzipped(tmp_path / "x.json.gz", parts))
    assert (rows, bad) == (1001, 0)
    assert mib < 40


def test_a_line_of_200_mb_is_counted_and_skipped(tmp_path):
    line = [b'{"prompt": "', *[b"z" * 2**20] * 200, b'"}\n']
    path = gzipped(tmp_path / "x.jsonl.gz", [b'{"prompt": "a"}\n', *line, b'{"prompt": "b"}\n'])
    rows, bad, mib = measure(path)
    assert (rows, bad) == (2, 1)
    assert mib < 150


def test_a_json_row_of_many_values_is_counted_or_refused(tmp_path):
    rows = ['{"prompt": "a"}', '{"prompt": [' + "[]," * 5_000_000 + "[]]}", '{"prompt": "b"}']
    (tmp_path / "x.jsonl").write_text("\n".join(rows))
    rows_read, bad, mib = measure(tmp_path / "x.jsonl")
    assert (rows_read, bad) == (2, 1)
    assert mib < 100
    (tmp_path / "x.json").write_text("[" + ",".join(rows) + "]")
    with pytest.raises(UserError, match=r"x.json:2: more than 2000000 values, the limit for a row"):
        read_dataset(tmp_path / "x.json")


def test_a_prompt_of_30_mb_is_read(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"prompt": "%s"}' % ("x y " * 7_500_000))
    rows, _ = read_dataset(tmp_path / "x.jsonl")
    assert [len(row.text) for row in rows] == [30_000_000]


@pytest.fixture
def small(monkeypatch):
    """A limit of 1,000 bytes for a row."""
    for module in (csv_rows, json_rows, parquet_rows, values):
        monkeypatch.setattr(module, "ROW_MAX_BYTES", 1000)
    monkeypatch.setattr(json_rows, "CHUNK_CHARACTERS", 100)


LONG = "z" * 1200


def test_a_row_over_the_limit_is_counted_or_refused(tmp_path, small):
    (tmp_path / "x.jsonl").write_text(f'{{"prompt": "a"}}\n{{"prompt": "{LONG}"}}\n{{"prompt": "b"}}')
    pq.write_table(pa.table({"prompt": ["a", LONG, "b"]}), tmp_path / "x.parquet")
    for name in ("x.jsonl", "x.parquet"):
        rows, counts = read_dataset(tmp_path / name)
        assert [row.text for row in rows] == ["a", "b"]
        assert counts.first_bad == f"{name}:2: longer than 32 MiB, the limit for a row"
    (tmp_path / "x.json").write_text(f'[{{"prompt": "a"}}, {{"prompt": "{LONG * 3}"}}]')
    (tmp_path / "x.csv").write_text(f'prompt\na\n"{LONG}"\n')
    (tmp_path / "y.csv").write_text("prompt\na\n" + '"z\nz' * 400)
    for name, message in (
        ("x.json", "x.json:2: not JSON, or longer than 32 MiB, the limit for a row"),
        ("x.csv", "x.csv:3: a line longer than 32 MiB, the limit for a row"),
        ("y.csv", "y.csv:3, up to line .*: not CSV: "),
    ):
        with pytest.raises(UserError, match=message):
            read_dataset(tmp_path / name)


def test_the_rows_of_an_array_do_not_depend_on_the_chunks(tmp_path, monkeypatch):
    (tmp_path / "x.json").write_text('[{"prompt": "a, b] }"},\n {"prompt": "\\u00e9\\\\"}, {"prompt": {"x": [1, 2]}}]')
    for characters in range(1, 80):
        monkeypatch.setattr(json_rows, "CHUNK_CHARACTERS", characters)
        rows, counts = read_dataset(tmp_path / "x.json")
        assert ([row.text for row in rows], counts.bad_rows) == (["a, b] }", "é\\"], 1)
