"""The process of lm-eval, when it ends without a result."""

import sys

import pytest

from fusionrun_stages.errors import InfrastructureError
from fusionrun_stages.harness import process


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os; os.kill(os.getpid(), 9)", r"status -9 \(killed: the memory limit of the pod may be too small\)"),
        ("import sys; sys.exit(3)", "status 3; its log says why"),
        ('import sys; sys.stdin.read(); print(\'{"progress": [1, 2, "x"], "numbers": {}}\')', "status 0"),
    ],
)
def test_a_process_that_ends_without_a_result(tmp_path, monkeypatch, program, message):
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\n{program}\n")
    script.chmod(0o755)
    monkeypatch.setattr(process.sys, "executable", str(script))
    reports = []
    with pytest.raises(InfrastructureError, match=message):
        process.call("load", {"x": "y" * 10**6}, tmp_path, offline=True, report=lambda *all_, **_: reports.append(all_))
    assert reports in ([], [(1, 2, "x")])
