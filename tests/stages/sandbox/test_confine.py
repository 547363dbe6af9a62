"""The system call filter of both architectures, run by an interpreter of its instructions, and the readable folders."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fusionrun_stages.sandbox.confine import ALLOWED_PRCTLS, build_filter
from fusionrun_stages.sandbox.system_calls import AUDIT_ARCHITECTURES, DENIED, DENIED_EVERYWHERE

ROOT = Path(__file__).parents[3]
ALLOWED, DENIED_CALL, ABSENT = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
METADATA = {
    "x86_64": "chmod fchmod fchmodat chown fchown lchown fchownat utime utimes futimesat utimensat setxattr lsetxattr "
    "fsetxattr removexattr lremovexattr fremovexattr",
    "aarch64": "fchmod fchmodat fchown fchownat utimensat setxattr lsetxattr fsetxattr removexattr lremovexattr "
    "fremovexattr",
}
ALLOWED_CALLS = {  # read, write, openat, mmap, brk, futex, close, getrandom, epoll_pwait2
    "x86_64": (0, 1, 257, 9, 12, 202, 3, 318, 441),
    "aarch64": (63, 64, 56, 222, 214, 98, 57, 278, 441),
}


def run(machine, number, *arguments, architecture=None):
    """Return the filter's action on a call. Source of the instructions: linux/filter.h."""
    given = {0: number, 4: architecture or AUDIT_ARCHITECTURES[machine]}
    given |= {16 + 8 * i: argument & 0xFFFFFFFF for i, argument in enumerate(arguments)}
    steps, at, loaded = build_filter(machine), 0, 0
    while True:
        code, true, false, value = steps[at]
        at += 1
        if code == 0x20:
            loaded = given.get(value, 0)
        elif code == 0x06:
            return value
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            at += true if holds else false


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_denies_calls_of_the_list_and_absent_ones(machine):
    listed = {*DENIED[machine].values(), *DENIED_EVERYWHERE.values()}
    assert {run(machine, number) for number in listed} == {DENIED_CALL}
    assert {DENIED[machine][name] for name in METADATA[machine].split()} <= listed
    assert [run(machine, number) for number in (435, 470, 511, 512, 0x3FFFFFFF)] == [ABSENT] * 5
    assert run(machine, 0x40000000 | 90) == DENIED_CALL
    assert {run(machine, number) for number in ALLOWED_CALLS[machine]} == {ALLOWED}
    assert run(machine, 1, architecture=0x40000003) == DENIED_CALL


@pytest.mark.parametrize(("machine", "clone", "prctl"), [("x86_64", 56, 157), ("aarch64", 220, 167)])
def test_threads_and_their_names_are_allowed(machine, clone, prctl):
    assert [run(machine, clone, flags) for flags in (0x3D0F00, 17)] == [ALLOWED, DENIED_CALL]
    assert {run(machine, prctl, option) for option in ALLOWED_PRCTLS} == {ALLOWED}
    assert {run(machine, prctl, option) for option in (1, 4, 22, 36, 38)} == {DENIED_CALL}


def test_the_working_directory_is_not_readable(tmp_path):
    """``python -m`` puts it on ``sys.path``."""
    program = "import sys, fusionrun_stages.sandbox.confine as c; print(sys.path[0], *c.readable_paths(), sep='\\n')"
    (tmp_path / "module.py").write_text(program)
    path = os.pathsep.join(str(ROOT / folder) for folder in ("operator", "images"))
    lines = subprocess.run(
        [sys.executable, "-m", "module"],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert lines[0] == str(tmp_path)
    assert not {"/", "/tmp", str(tmp_path)} & set(lines[1:])
