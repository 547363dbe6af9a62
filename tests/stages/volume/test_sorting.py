"""Sorting in bounded memory: the ranges and spills do not change the result."""

import random
import resource
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fusionrun.api.records import Response
from fusionrun_stages.volume import sorting
from fusionrun_stages.volume.parquet import read_rows
from fusionrun_stages.volume.paths import shard_path
from fusionrun_stages.volume.sorting import Pool, open_shards

BY = ["prompt_id", "sample_index"]


def response(prompt: int, index: int, text: str = "t") -> Response:
    return Response(
        prompt_id=f"{prompt:016x}", dataset="d", source="s", sample_index=index, text=text, finish_reason="stop"
    )


def write(folder, shards, rows, pool=None):
    with open_shards(folder, shards, Response, BY, pool or Pool()) as writer:
        for row in rows:
            writer.append(int(row.prompt_id, 16) % shards, row)


def read(folder, shards):
    return [list(read_rows(shard_path(folder, shard, shards), Response)) for shard in range(shards)]


@pytest.mark.parametrize("shards", [1, 2, 3, 50])
@pytest.mark.parametrize("fan_out", [2, 100])
@pytest.mark.parametrize(("range_bytes", "pool_rows"), [(2**26, 10**6), (2000, 7), (1, 1), (50_000, 100)])
def test_rows_are_sorted_by_prompt_then_sample(tmp_path, monkeypatch, shards, fan_out, range_bytes, pool_rows):
    monkeypatch.setattr(sorting, "RANGE_BYTES", range_bytes)
    monkeypatch.setattr(sorting, "FAN_OUT", fan_out)
    rows = [response(prompt, index, f"{prompt} {index}") for prompt in range(40) for index in range(5)]
    write(tmp_path, shards, random.Random(3).sample(rows, len(rows)), Pool(pool_rows))
    assert read(tmp_path, shards) == [[r for r in rows if int(r.prompt_id, 16) % shards == n] for n in range(shards)]
    assert sorted(tmp_path.iterdir()) == [shard_path(tmp_path, shard, shards) for shard in range(shards)]


def test_at_most_a_range_is_sorted_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "RANGE_BYTES", 20_000)
    write(tmp_path, 1, [response(n, 0, "x" * 100) for n in range(2000)], Pool(50))
    with pq.ParquetFile(shard_path(tmp_path, 0, 1)) as file:
        sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert len(sizes) > 10
    assert max(sizes) < 250


@pytest.mark.parametrize(("pool", "text"), [(Pool(20), "t"), (Pool(10**6, 20_000), "x" * 900)])
def test_the_writers_of_a_pool_hold_a_bounded_number_of_rows(tmp_path, pool, text):
    held = []
    folders = [tmp_path / str(n) for n in range(6)]
    with ExitStack() as stack:
        writers = [stack.enter_context(open_shards(folder, 2, Response, BY, pool)) for folder in folders]
        for n in range(400):
            writers[n % 6 if n % 2 else 0].append(n % 2, response(n, 0, text))
            held.append(sum(writer.held for writer in writers))
    assert 10 < max(held) < 21
    assert sum(len(rows) for folder in folders for rows in read(folder, 2)) == 400


def test_open_files_do_not_depend_on_the_number_of_shards(tmp_path, monkeypatch):
    """4,096 shards of 32 folders, at containerd's 1,024 open files, in small: 200 shards of 8 folders with 40 more."""
    monkeypatch.setattr(sorting, "RANGE_BYTES", 5000)
    monkeypatch.setattr(sorting, "FAN_OUT", 8)
    shards, folders = 200, [tmp_path / str(n) for n in range(8)]
    rows = [response(n, 0) for n in range(400)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_files = len(list(Path("/proc/self/fd").iterdir()))  # those of the tests before
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files + 40, limits[1]))
    try:
        with ExitStack() as stack:
            pool = Pool(100)
            for folder in folders:
                writer = stack.enter_context(open_shards(folder, shards, Response, BY, pool))
                for row in rows:
                    writer.append(int(row.prompt_id, 16) % shards, row)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert read(folders[7], shards) == [[rows[n], rows[n + shards]] for n in range(shards)]


def test_what_a_killed_pod_spilled_is_removed(tmp_path):
    for name in ("spilled.killed", "spilled.killed.part.3", "00000-of-00001.parquet.killed"):
        (tmp_path / f".{name}.part").write_bytes(b"x")
    write(tmp_path, 1, [response(1, 0)])
    assert list(tmp_path.iterdir()) == [shard_path(tmp_path, 0, 1)]


def test_without_rows_the_files_are_empty(tmp_path):
    write(tmp_path, 3, [])
    assert read(tmp_path, 3) == [[], [], []]
