"""The parts of the check: what each needs, runs and reports."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gpu.device import Device

BENCH = Path(__file__).parents[1] / "bench" / "generate"
STEPS = 4
"""Optimizer steps per training: the first is not counted."""


@dataclass
class Result:
    """The result of a part."""

    part: str
    state: str
    """``ok``, ``failed`` or ``skipped``."""
    figures: dict[str, float] = field(default_factory=dict)
    message: str = ""
    seconds: float = 0.0


class Failed(Exception):  # noqa: N818 - the state of a part
    """A part did not do what it must; the figures are what it measured."""

    def __init__(self, message: str, figures: dict[str, float] | None = None) -> None:
        super().__init__(message)
        self.figures = figures or {}


@dataclass(frozen=True)
class Check:
    """What all parts share."""

    device: Device
    cuda: bool
    tiny: bool
    folder: Path
    deadline: float
    """``time.monotonic()`` at which every part must have ended."""

    def call(self, *command: str) -> str:
        """Run a command with this Python; return its output, or raise Failed with its last lines."""
        environment = os.environ | {
            "FUSIONRUN_MOUNT": str(self.folder),
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(self.folder / "hf"),
        }
        try:
            done = subprocess.run(
                [sys.executable, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, check=False, timeout=max(1.0, self.deadline - time.monotonic()),
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise Failed("the time was over") from error
        if done.returncode:
            lines = "\n".join(done.stdout.strip().splitlines()[-15:])
            raise Failed(f"{' '.join(command)} exited with {done.returncode}:\n{lines}")
        return done.stdout


def train(check: Check, kind: str, zero_stage: int) -> dict[str, float]:
    """Train with the stage and with plain TRL."""
    from gpu.architecture import REAL, SMALL, texts, write_language_model, write_pairs, write_sft
    from gpu.training import CONTENDERS, Job, compare, flops_per_token, parameter_count, read

    sizes = SMALL if check.tiny else REAL
    folder = check.folder / f"{kind}-{zero_stage}"
    folder.mkdir()
    model = check.folder / "model"
    if not model.exists():
        write_language_model(model, sizes.language_model)
    rows = {"sft": write_sft, "dpo": write_pairs}[kind](folder / "rows.parquet", STEPS * sizes.batch, sizes)
    parameters = {
        "epochs": 1, "learningRate": 5e-6 if kind == "sft" else 8e-7, "globalBatchSize": sizes.batch,
        "microBatchSize": sizes.micro_batch, "maxLength": sizes.longest, "warmupRatio": 0.1, "saveSteps": 1000,
        "zeroStage": zero_stage, "precision": "bf16" if check.cuda else "fp32", "gradientCheckpointing": check.cuda,
        "seed": 42,
    }  # fmt: skip
    if kind == "dpo":
        parameters |= {"beta": 10.0, "lengthNormalized": True}
    job = Job(kind, str(model), str(rows), parameters, check.cuda, sizes.batch // sizes.micro_batch)
    (folder / "job.json").write_text(json.dumps(asdict(job)))
    for contender in CONTENDERS:
        check.call("-m", "gpu.training", contender, str(folder))
    stage, plain = (read(folder, contender) for contender in CONTENDERS)
    shutil.rmtree(folder)  # the stage's checkpoint: 12 or 16 bytes per parameter
    figures, problem = compare(stage, plain)
    # One token per byte; the template adds the same few tokens to every row.
    lengths = [len(prompt) + len(answer) for prompt, answer in texts(STEPS * sizes.batch, sizes)]
    step_tokens = sum(lengths) / STEPS
    if kind == "dpo":
        step_tokens += sum(len(p) + len(a) // 2 for p, a in texts(STEPS * sizes.batch, sizes)) / STEPS
    config = json.loads((model / "config.json").read_text())
    rate = step_tokens / stage.step_seconds()
    figures |= {
        "tokens_per_second": rate,
        "peak_gib": stage.peak_bytes / 2**30,
        "plain_peak_gib": plain.peak_bytes / 2**30,
    }
    if check.device.matmul_flops:
        flops = flops_per_token(
            kind,
            parameter_count(model),
            config["num_hidden_layers"],
            config["hidden_size"],
            sum(lengths) / len(lengths),
        )
        figures["mfu"] = rate * flops / check.device.matmul_flops
    figures["expected_gib"] = expected_bytes(kind, parameters, config, parameter_count(model)) / 2**30
    if problem:
        raise Failed(problem, figures)
    return figures


def expected_bytes(kind: str, parameters: dict[str, Any], config: dict[str, Any], count: int) -> int:
    """Return the memory that the checks before a run would expect for this training on one GPU."""
    from fusionrun.api.tasks.demand import TrainingDemand
    from fusionrun_stages.fit import memory
    from fusionrun_stages.fit.architecture import read_architecture

    batch, length = parameters["microBatchSize"], parameters["maxLength"]
    demand = TrainingDemand(
        reference=0, processes=1, zero_stage=parameters["zeroStage"], precision=parameters["precision"], on_gpus=True,
        gradient_checkpointing=parameters["gradientCheckpointing"], sft_micro_batch=batch, dpo_micro_batch=batch,
        sft_max_length=length, dpo_max_length=length,
    )  # fmt: skip
    return memory.training(demand, read_architecture(config), count, dpo=kind == "dpo").total


def score(check: Check) -> dict[str, float]:
    """Score responses with a random reward model."""
    folder = check.folder / "score"
    folder.mkdir()
    check.call("-m", "gpu.scoring", str(folder), "cuda" if check.cuda else "cpu", "tiny" if check.tiny else "real")
    result = json.loads((folder / "result.json").read_text())
    figures = result["figures"]
    if check.device.matmul_flops:
        figures["mfu"] = result["flops"] / check.device.matmul_flops
    if result["problem"]:
        raise Failed(result["problem"], figures)
    return dict(figures)


def serve(check: Check) -> dict[str, float]:
    """Compare the client of generate with ``vllm bench serve`` on one server (hack/bench/generate)."""
    from gpu.architecture import REAL, SMALL, write_language_model

    model = check.folder / "model"
    if not model.exists():
        write_language_model(model, (SMALL if check.tiny else REAL).language_model)
    count = 32 if check.tiny else 512
    output = check.call(
        str(BENCH), "--model", str(model), "--prompts", str(count), "--tokens", "128", "--concurrency", str(count // 4),
        "--rounds", "2", "--server-options", "--dtype bfloat16 --max-model-len 1024",
    )  # fmt: skip
    return read_bench(output)


def read_bench(output: str) -> dict[str, float]:
    """Read the figures that hack/bench/generate prints."""
    rates = dict(re.findall(r"^median of \d+, (\w+): ([\d.]+) tokens per second", output, re.MULTILINE))
    if rates.keys() != {"fusionrun", "seeded"}:
        raise Failed(f"hack/bench/generate printed no medians:\n{output[-500:]}")
    found = {name: float(rate) for name, rate in rates.items()}
    return {
        "tokens_per_second": found["fusionrun"],
        "vllm_bench_tokens_per_second": found["seeded"],
        "speed_of_vllm_bench": found["fusionrun"] / found["seeded"],
    }


@dataclass(frozen=True)
class Part:
    """A part of the check."""

    name: str
    packages: tuple[str, ...]
    """Python packages without which it is skipped."""
    run: Callable[[Check], dict[str, float]]


_STAGE = ("pydantic", "torch", "transformers", "pyarrow")
_TRAINING = (*_STAGE, "trl", "datasets", "accelerate")
PARTS = (
    Part("sft", _TRAINING, lambda check: train(check, "sft", 0)),
    Part("dpo", _TRAINING, lambda check: train(check, "dpo", 0)),
    Part("sft-zero3", (*_TRAINING, "deepspeed"), lambda check: train(check, "sft", 3)),
    Part("dpo-zero3", (*_TRAINING, "deepspeed"), lambda check: train(check, "dpo", 3)),
    Part("score", _STAGE, score),
    Part("vllm", (*_STAGE, "vllm", "httpx", "openai"), serve),
)


def run_part(part: Part, check: Check, has: Callable[[str], Any] = importlib.util.find_spec) -> Result:
    """Run a part, or skip it if a package is missing or no time is left."""
    missing = [package for package in part.packages if has(package) is None]
    if missing:
        return Result(part.name, "skipped", message=f"not installed: {', '.join(missing)}")
    if time.monotonic() >= check.deadline:
        return Result(part.name, "skipped", message="no time left: raise --seconds or select parts with --parts")
    started = time.monotonic()
    try:
        result = Result(part.name, "ok", part.run(check))
    except Failed as failure:
        result = Result(part.name, "failed", failure.figures, str(failure))
    result.seconds = round(time.monotonic() - started, 1)
    return result
