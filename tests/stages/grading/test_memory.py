"""Memory of the grader processes."""

import pytest

from fusionrun_stages.grading import mathematics
from fusionrun_stages.grading.mathematics import pool, problem

GIB, MIB = 2**30, 2**20


@pytest.mark.parametrize("have", [1 * GIB, 2 * GIB, 4 * GIB, 64 * GIB, 1024 * GIB])
@pytest.mark.parametrize("cpus", [1, 2, 64])
def test_mathematics_stays_within_the_memory_of_its_container(have, cpus):
    inherited = 150 * MIB
    processes, each = mathematics.share_memory(have, inherited, cpus)
    assert 1 <= processes <= cpus
    assert each >= mathematics.MEMORY_MIN_BYTES
    if have > 2 * GIB:
        assert mathematics.PARENT_BYTES + (processes + 1) * (inherited + each) <= have


def test_the_default_pod_uses_both_cpus():
    assert mathematics.share_memory(4 * GIB, 200 * MIB, 2)[0] == 2


def test_a_large_pod_uses_all_cpus():
    assert mathematics.share_memory(256 * GIB, 200 * MIB, 64) == (64, mathematics.MEMORY_BYTES)


def test_a_process_out_of_memory_affects_only_its_response(monkeypatch):
    monkeypatch.setattr(pool, "memory_bytes", lambda: GIB)
    seen = []
    real = pool.map_in_processes
    monkeypatch.setattr(pool, "map_in_processes", lambda m, i, n: seen.append(n) or real(m, i, n))
    find = problem.find_final
    monkeypatch.setattr(problem, "find_final", lambda text: bytes(2 * GIB) if "large" in text else find(text))
    problems = [mathematics.Problem("4", [r"\boxed{4}", "a large one"])] * 2
    grades = dict(mathematics.grade_all(problems, processes=64))
    assert [[g.verdict.value for g in found] for found in grades.values()] == [["right", "unknown"]] * 2
    assert set(seen) == {1}
