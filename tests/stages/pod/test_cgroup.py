"""CPU and memory limits of a container."""

import os

import pytest

from fusionrun_stages.pod import cgroup

MIB = 2**20
MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "104857600\n"}, 100 * MIB),
        ({"memory.max": "max\n"}, MACHINE),
        ({"memory__memory.limit_in_bytes": "104857600\n"}, 100 * MIB),
        ({"memory__memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE),
        ({}, MACHINE),
    ],
)
def test_the_memory_of_a_container_is_its_limit(tmp_path, files, expected):
    write(tmp_path, **files)
    assert cgroup.memory_bytes(tmp_path) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu__cpu.cfs_quota_us": "300000\n", "cpu__cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu__cpu.cfs_quota_us": "-1\n", "cpu__cpu.cfs_period_us": "100000\n"}, 64),
        ({}, 64),
    ],
)
def test_the_cpus_of_a_container_are_its_limit(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    write(tmp_path, **files)
    assert cgroup.count_cpus(tmp_path) == expected
