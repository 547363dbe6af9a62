"""Run a program and its tests in one plain Python process: the reference for the judge."""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fusionrun_stages.sandbox.prelude import PRELUDE

CPU_SECONDS = 3
"""More than the judge gives in the tests, since both processes of the judge share its limit."""
MEMORY_BYTES = 2**30

IMPORTABLE = "import sys\nsys.modules['solution'] = sys.modules['__main__']"
"""Tests may import the program as a module of this name."""


def passes(program: str, tests: str, seed: int = 0) -> bool:
    """Return whether the tests, appended to the program, run without an exception."""
    with tempfile.TemporaryDirectory() as folder:
        path, passed = Path(folder) / "program.py", Path(folder) / "passed"
        # The last line proves that nothing has ended the process before.
        parts = [PRELUDE, program, IMPORTABLE, tests, f"open({str(passed)!r}, 'x').close()\n"]
        path.write_text("\n".join(parts), encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, "-B", "-S", str(path)],
                cwd=folder,
                env={"PYTHONHASHSEED": str(seed), "HOME": folder},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=10 * CPU_SECONDS,
                preexec_fn=_limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0 and passed.exists()


def pass_all(cases: Sequence[tuple[str, str]]) -> list[bool]:
    """Return for each program and its tests whether it passes; two run at once."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda case: passes(*case), cases))


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
