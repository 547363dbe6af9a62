"""Check that Triton can compile in this image: ``python -m fusionrun_stages.pod.compiler``.

Triton compiles its CUDA driver, a Python extension in C, when a process launches its first kernel, and TRL launches one
for every loss on a GPU. That needs a C compiler on the PATH, libc's headers and the ``Python.h`` of this interpreter.
The check builds and loads the same source with the same code. It needs no GPU: a stub replaces ``libcuda.so.1``, the
library of NVIDIA's driver.
"""

import ctypes
import os
import re
import sys
import tempfile
from pathlib import Path

from fusionrun_stages.errors import classify

LIBCUDA = "libcuda.so.1"


def build_triton_driver() -> None:
    """Build and load Triton's CUDA driver without its cache.

    Raise RuntimeError without a C compiler, and subprocess.CalledProcessError if the compiler fails.

    Source: Triton 3.7.1, ``runtime/build.py`` (the command line) and ``backends/nvidia/driver.py`` (``CudaUtils``).
    """
    from triton.backends.nvidia import driver
    from triton.runtime.build import _build

    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRITON_CACHE_DIR"] = str(Path(folder, "cache"))
        os.environ["TRITON_LIBCUDA_PATH"] = folder
        called = sorted(set(re.findall(r"\bcu[A-Z]\w+(?=\()", Path(driver.dirname, "driver.c").read_text())))
        stub = Path(folder, "stub.c")
        stub.write_text("".join(f"int {function}(void) {{ return 1; }}\n" for function in called))
        library = Path(_build("stub", str(stub), folder, [], [], [], [f"-Wl,-soname,{LIBCUDA}"]))
        # The linker finds the stub by its file name, the loader by its soname: it is already loaded.
        ctypes.CDLL(str(library.rename(library.with_name(LIBCUDA))), ctypes.RTLD_GLOBAL)
        driver.CudaUtils()


def main() -> int:
    """Run the check; return the exit code."""
    try:
        build_triton_driver()
    except Exception as error:  # noqa: BLE001 - after any error the image cannot be used
        sys.stderr.write(f"{classify(error)}\n")
        return 1
    sys.stdout.write("Triton's CUDA driver was compiled and loaded\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
