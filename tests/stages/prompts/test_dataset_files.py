import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.dataset_files import check_columns, find_files, read_raw_rows, select_split
from fusionrun_stages.prompts.values import get_value

ROWS = [{"prompt": "1 + 1", "answer": "2"}, {"prompt": "a\nb", "answer": "é"}]


def write(path, rows=ROWS):
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        case ".csv":
            path.write_text("prompt,answer\n" + "".join(f'"{r["prompt"]}",{r["answer"]}\n' for r in rows))
        case ".json":
            path.write_text(json.dumps(rows))
        case _:
            path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet", ".csv"])
def test_every_format_gives_the_same_rows(tmp_path, ending):
    files = find_files(write(tmp_path / f"x{ending}"), "train")
    assert [row for _, row in read_raw_rows(files)] == ROWS
    check_columns(files, ["prompt", "answer"])
    assert next(read_raw_rows(files))[0].startswith(f"x{ending}:")


@pytest.mark.parametrize("ending", [".jsonl", ".parquet", ".csv"])
def test_a_missing_column_is_reported_with_the_existing_columns(tmp_path, ending):
    files = find_files(write(tmp_path / f"x{ending}"), "train")
    with pytest.raises(UserError, match=r"column 'gold': missing in x.*, which has: prompt, answer"):
        check_columns(files, ["prompt", "gold"])


def parquet(column):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"prompt": column}), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", b""),
        ("x.jsonl", b"\n \n"),
        ("x.csv", b"prompt\n"),
        ("x.csv", b""),
        ("x.parquet", parquet(pa.array([], pa.string()))),
    ],
)
def test_an_empty_data_set_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="the data set is empty"):
        check_columns(find_files(tmp_path / name, "train"), ["prompt"])


GZIPPED = gzip.compress(b"".join(b'{"prompt": "%d"}\n' % n for n in range(5000)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b'{"prompt": "a"}\n{"prompt"\n', r"x.jsonl:2: not JSON"),
        ("x.jsonl", b'{"prompt": "a"}\n[1]\n', r"x.jsonl:2: a row must be a JSON object"),
        ("x.parquet", b"PAR1 no", r"x.parquet: not a complete Parquet file"),
        ("x.xlsx", b"", r"unknown format '.xlsx'"),
        ("x.jsonl.gz", GZIPPED[:-12], r"x.jsonl.gz: not a complete gzip file"),
        ("x.jsonl.gz", b"no gzip", r"x.jsonl.gz: not a complete gzip file"),
        ("x.jsonl.gz", GZIPPED[:20] + b"xxxx" * 9, r"x.jsonl.gz: not a complete gzip file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_an_invalid_file_is_reported_with_its_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(read_raw_rows(find_files(tmp_path / name, "train")))


def test_a_folder_is_read_by_split(tmp_path):
    names = [f"data/{name}.jsonl" for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")]
    for name in reversed(names):
        write(tmp_path / name)
    assert [f.name for f in find_files(tmp_path, "train")] == names[:2]
    assert len(list(read_raw_rows(find_files(tmp_path, "test")))) == 2
    with pytest.raises(UserError, match="no file of split 'validation'"):
        find_files(tmp_path, "validation")


def test_all_files_are_read_if_no_name_contains_a_split():
    assert select_split(["b.jsonl", "a.parquet", "README.md", ".x.jsonl"], "train") == ["a.parquet", "b.jsonl"]


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv"])
def test_gzipped_text_files_are_decompressed(tmp_path, ending):
    plain = write(tmp_path / f"plain{ending}")
    packed = tmp_path / f"x{ending}.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    files = find_files(packed, "train")
    assert [row for _, row in read_raw_rows(files)] == ROWS
    check_columns(files, ["prompt"])


def test_the_split_of_a_numbered_file_is_its_name_before_the_number():
    names = [f"data/{split}-{n:05d}-of-00002.parquet" for split in ("train", "train_1M", "train_5M") for n in range(2)]
    assert select_split(names, "train") == names[:2]
    assert select_split(names, "train_1M") == names[2:4]
    assert select_split(names, "test") == []
    assert select_split(["a-00000-of-00001.parquet"], "train") == ["a-00000-of-00001.parquet"]
    assert select_split(["train/a-00000-of-00001.parquet", "test/a-00000-of-00001.parquet"], "test") == [
        "test/a-00000-of-00001.parquet"
    ]


CHAT = {"a.b": "dotted", "conversations": [{"from": "human", "value": "hello"}], "meta": {"tests": ["t"]}}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("conversations[0].value", "hello"),
        ("meta.tests", ["t"]),
        ("meta.tests[0]", "t"),
        ("a.b", "dotted"),
        ("conversations[1].value", None),
        ("meta.other", None),
        ("meta[0]", None),
    ],
)
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_path_selects_a_nested_value(tmp_path, ending, column, value):
    files = find_files(write(tmp_path / f"x{ending}", [CHAT]), "train")
    check_columns(files, [column])
    ((_, row),) = read_raw_rows(files, [column])
    assert get_value(row, column) == value


def test_a_path_into_a_missing_column_is_refused(tmp_path):
    files = find_files(write(tmp_path / "x.jsonl", [CHAT]), "train")
    with pytest.raises(UserError, match=r"column 'messages\[0\].content': missing"):
        check_columns(files, ["messages[0].content"])
