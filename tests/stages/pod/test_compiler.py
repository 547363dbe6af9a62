"""Images in which Triton cannot compile: the check at build time, and the error of a stage."""

import os
import stat
import subprocess
import sys

import pytest

from fusionrun_stages.errors import InfrastructureError, UserError, classify

GCC = "['/usr/bin/gcc', '/tmp/t/cuda_utils.c', '-O3', '-shared', '-o', '/tmp/t/cuda_utils.so']"


class InductorError(Exception):
    """Like PyTorch's: the message contains the cause, the exception chain does not."""


def caused(cause: Exception) -> Exception:
    error = RuntimeError("the step failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("Failed to find C compiler. Please specify via CC environment variable"), UserError),
        (subprocess.CalledProcessError(1, ["/usr/bin/gcc", "x.c"]), UserError),
        (subprocess.CalledProcessError(1, "x86_64-linux-gnu-gcc-12 x.c"), UserError),
        (InductorError(f"CalledProcessError: Command '{GCC}' returned non-zero exit status 1."), UserError),
        (InductorError("InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config"), UserError),
        (InductorError("x.c:9:10: fatal error: Python.h: No such file or directory"), UserError),
        (caused(RuntimeError("Failed to find C compiler.")), UserError),
        (subprocess.CalledProcessError(-9, ["/usr/bin/gcc", "x.c"]), InfrastructureError),
        (subprocess.CalledProcessError(1, ["/bin/rsync", "gcc"]), InfrastructureError),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), InfrastructureError),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, Exception) else value.__name__,
)
def test_an_image_without_a_compiler_is_a_user_error(error, kind):
    found = classify(error)
    assert type(found) is kind
    assert ("images/README.md" in str(found)) == (kind is UserError)


def check_image(path: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("CC", None)
    command = [sys.executable, "-m", "fusionrun_stages.pod.compiler"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_check_fails_without_a_compiler(tmp_path):
    done = check_image(str(tmp_path))
    assert done.returncode == 1
    assert "images/README.md" in done.stderr
    assert "Failed to find C compiler" in done.stderr


def test_the_check_fails_if_the_compiler_fails(tmp_path):
    gcc = tmp_path / "gcc"
    gcc.write_text("#!/bin/sh\necho 'fatal error: Python.h: No such file or directory' >&2\nexit 1\n")
    gcc.chmod(gcc.stat().st_mode | stat.S_IXUSR)
    done = check_image(str(tmp_path))
    assert done.returncode == 1
    assert "Python.h: No such file" in done.stderr
    assert "images/README.md" in done.stderr
