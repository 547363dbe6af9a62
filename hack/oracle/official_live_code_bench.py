"""Run LiveCodeBench's runner in its own Python: ``python official_live_code_bench.py FOLDER < REQUESTS``.

FOLDER is that of a package: ``lcb_runner`` in FuseEval, or ``livecodebench`` of nvidia-livecodebench 26.3. It reads one
JSON object per line and writes one JSON value for each: ``{"extract": text}`` gives the program in a response, and
``{"run": [program, inputs, outputs, function]}`` whether the program passes all tests.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import types
import warnings
from pathlib import Path
from typing import Any

PROCESS_SECONDS = 60


def main() -> None:
    """Answer every request."""
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(folder.parent))
    sys.modules["pyext"] = _stand_in()
    sys.modules[f"{folder.name}.evaluation"] = package = types.ModuleType(f"{folder.name}.evaluation")
    package.__path__ = [str(folder / "evaluation")]  # its own imports need the clients of several companies
    testing = importlib.import_module(f"{folder.name}.evaluation.testing_util")
    extraction = importlib.import_module(f"{folder.name}.utils.extraction_utils")
    for line in sys.stdin:
        request = json.loads(line)
        if "extract" in request:
            answer = extraction.extract_code(request["extract"], None)
        else:
            answer = _run_in_process(testing, *request["run"])
        print(json.dumps(answer), flush=True)


def _stand_in() -> types.ModuleType:
    """Return the part of ``pyext`` that the runner uses: the package does not support this Python."""

    class RuntimeModule:
        @staticmethod
        def from_string(name: str, doc: str, code: str) -> types.ModuleType:
            module = types.ModuleType(name, doc)
            exec(code, module.__dict__)
            return module

    pyext: Any = types.ModuleType("pyext")
    pyext.RuntimeModule = RuntimeModule
    return pyext


def _run_in_process(testing: Any, program: str, inputs: list[str], outputs: list[str], function: str | None) -> bool:
    """Run in a process of its own: the runner removes functions of ``os``."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        passed = False
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        signal.alarm(PROCESS_SECONDS)
        sample = {"input_output": json.dumps({"inputs": inputs, "outputs": outputs, "fn_name": function})}
        with contextlib.suppress(BaseException):
            results, _ = testing.run_test(sample, test=program, timeout=6)
            passed = bool(results) and all(bool(result > 0) for result in results)
        os.write(writing, b"1" if passed else b"0")
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        passed = pipe.read() == b"1"
    os.waitpid(child, 0)
    return passed


if __name__ == "__main__":
    main()
