"""Sorting in bounded memory: the ranges and spills do not change the result."""

import random
from contextlib import ExitStack

import pyarrow.parquet as pq
import pytest

from fusionrun.api.records import Response
from fusionrun_stages.volume import sorting
from fusionrun_stages.volume.parquet import read_rows
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.volume.sorting import Pool, open_sorted

BY = ["prompt_id", "sample_index"]


def response(prompt: int, index: int, text: str = "t") -> Response:
    return Response(
        prompt_id=f"{prompt:016x}", dataset="d", source="s", sample_index=index, text=text, finish_reason="stop"
    )


def write(path, rows, pool=None):
    with open_sorted(path, Response, BY, pool or Pool()) as writer:
        for row in rows:
            writer.append(row)


def key(row):
    return row.prompt_id, row.sample_index


@pytest.mark.parametrize(("range_bytes", "pool_rows"), [(2**26, 10**6), (2000, 7), (1, 1), (50_000, 100)])
def test_rows_are_sorted_by_prompt_then_sample(tmp_path, monkeypatch, range_bytes, pool_rows):
    monkeypatch.setattr(sorting, "RANGE_BYTES", range_bytes)
    rows = [response(prompt, index, f"{prompt} {index}") for prompt in range(40) for index in range(5)]
    path = shard_path(tmp_path, 0, 1)
    write(path, random.Random(3).sample(rows, len(rows)), Pool(pool_rows))
    assert list(read_rows(path, Response)) == rows
    assert [p.name for p in tmp_path.iterdir()] == ["00000-of-00001.parquet"]


def test_at_most_a_range_is_sorted_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "RANGE_BYTES", 20_000)
    write(tmp_path / "x.parquet", [response(n, 0, "x" * 100) for n in range(2000)], Pool(50))
    with pq.ParquetFile(tmp_path / "x.parquet") as file:
        sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert len(sizes) > 10
    assert max(sizes) < 250


def test_the_writers_of_a_pool_hold_a_bounded_number_of_rows(tmp_path):
    pool, held = Pool(20), []
    paths = [tmp_path / f"{n}.parquet" for n in range(6)]
    with ExitStack() as stack:
        writers = [stack.enter_context(open_sorted(path, Response, BY, pool)) for path in paths]
        for n in range(400):
            writers[n % 6 if n % 2 else 0].append(response(n, 0))
            held.append(sum(writer.held for writer in writers))
    assert max(held) < 20
    assert sum(len(list(read_rows(path, Response))) for path in paths) == 400


def test_without_rows_the_file_is_empty(tmp_path):
    write(tmp_path / "x.parquet", [])
    assert list(read_rows(tmp_path / "x.parquet", Response)) == []
