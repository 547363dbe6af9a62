"""What the graders' processes may take of their container."""

import os

import pytest

from fusionrun_stages.grading import mathematics
from fusionrun_stages.pod import cgroup

GIB, MIB = 2**30, 2**20
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
def test_a_container_has_the_memory_of_its_limit(tmp_path, files, expected):
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
def test_a_container_has_the_processors_of_its_limit(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    write(tmp_path, **files)
    assert cgroup.count_cpus(tmp_path) == expected


@pytest.mark.parametrize("have", [1 * GIB, 2 * GIB, 4 * GIB, 64 * GIB, 1024 * GIB])
@pytest.mark.parametrize("cpus", [1, 2, 64])
def test_mathematics_takes_no_more_memory_than_its_container_has(have, cpus):
    inherited = 150 * MIB
    processes, each = mathematics.share_memory(have, inherited, cpus)
    assert 1 <= processes <= cpus
    assert each >= mathematics.MEMORY_MIN_BYTES
    if have > 2 * GIB:
        assert mathematics.OWN_BYTES + (processes + 1) * (inherited + each) <= have


def test_two_processors_of_the_default_pod_are_both_used():
    assert mathematics.share_memory(4 * GIB, 200 * MIB, 2)[0] == 2


def test_a_large_pod_uses_all_its_processors():
    assert mathematics.share_memory(256 * GIB, 200 * MIB, 64) == (64, mathematics.MEMORY_BYTES)


def test_a_process_that_takes_too_much_costs_its_own_answer_alone(monkeypatch):
    pytest.importorskip("math_verify")
    monkeypatch.setattr(mathematics, "memory_bytes", lambda: GIB)
    seen = []
    real = mathematics.map_in_processes
    monkeypatch.setattr(mathematics, "map_in_processes", lambda m, i, n: seen.append(n) or real(m, i, n))
    asked = [mathematics.Problem("4", [r"\boxed{4}", r"\boxed{9^{9^{9^{9}}}}"])] * 2
    grades = dict(mathematics.grade_all(asked, processes=64))
    assert [[g.verdict.value for g in found] for found in grades.values()] == [["right", "unknown"]] * 2
    assert set(seen) == {1}
