"""Check the stages that use a GPU, with random weights: training against plain TRL, scoring, generation.

Prints a table and writes report.json. Exit codes: 0 no part failed, 1 a part failed, 2 wrong arguments, 3 no GPU.
"""

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from gpu.device import Device, cpu, find_gpu
from gpu.parts import PARTS, Check, Result, run_part

NO_GPU = 3
SECONDS = 480
SHOWN = ("torch", "transformers", "trl", "deepspeed", "accelerate", "vllm", "triton", "flash-attn")


def main() -> int:
    """Run the parts, and return the exit code."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="hack/gpu/check", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"for all parts together (default: {SECONDS})")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of report.json (default: this one)")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu only tests the check itself")
    parser.add_argument("--tiny", action="store_true", help="models of 100,000 parameters, to test the check itself")
    arguments = parser.parse_args()
    device, reason = (cpu(), "") if arguments.device == "cpu" else find_gpu()
    if device is None:
        print(f"no GPU: {reason}. Nothing was checked.")
        return NO_GPU
    folder = Path(tempfile.mkdtemp(prefix="gpu-check-"))
    print(f"{device.name}, {device.memory_bytes / 2**30:.1f} GiB, PyTorch {device.torch}", flush=True)
    check = Check(device, arguments.device == "cuda", arguments.tiny, folder, time.monotonic() + arguments.seconds)
    results = []
    try:
        for part in PARTS:
            if part.name in arguments.parts:
                results.append(run_part(part, check))
                print(f"{part.name}: {results[-1].state} after {results[-1].seconds:g} s", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "report.json"
    path.write_text(json.dumps(report(device, results), indent=2) + "\n")
    print(table(results))
    print(f"written to {path}")
    return int(any(result.state == "failed" for result in results))


def report(device: Device, results: list[Result]) -> dict[str, object]:
    """Return the report as JSON values."""
    return {
        "device": asdict(device),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in SHOWN},
        "results": [asdict(result) for result in results],
    }


def version(package: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def table(results: list[Result]) -> str:
    """Return the results as a Markdown table, one row per figure, for docs/gpu.md."""
    rows = ["| part | state | seconds | figure | value |", "| --- | --- | ---: | --- | ---: |"]
    for result in results:
        figures = result.figures or {"": float("nan")}
        for number, (name, value) in enumerate(figures.items()):
            head = f"{result.part} | {result.state} | {result.seconds:g}" if number == 0 else " | | "
            rows.append(f"| {head} | {name.replace('_', ' ')} | {f'{value:.4g}' if name else ''} |")
    notes = [f"{result.part}: {result.message}" for result in results if result.message]
    return "\n".join([*rows, "", *notes])


if __name__ == "__main__":
    sys.exit(main())
