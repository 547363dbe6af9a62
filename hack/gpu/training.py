"""SFT and DPO: the project's stage, and a plain TRL script with the same model, rows and arguments, in turns.

Each contender is a process of its own: ``python -m gpu.training CONTENDER FOLDER`` reads FOLDER/job.json and writes
FOLDER/CONTENDER.json: the moment of each step, the losses, the peak of memory. The first step compiles and allocates,
so it is not counted.
"""

import importlib
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fusionrun.api.tasks.task import StageTask
from fusionrun_stages.pod.gpus import require_gpus
from fusionrun_stages.training import ranks
from fusionrun_stages.work import Work

CONTENDERS = ("stage", "plain")


@dataclass(frozen=True)
class Job:
    """What both contenders train."""

    kind: str
    model: str
    rows: str
    parameters: dict[str, Any]
    """Parameters of the stage."""
    cuda: bool
    accumulation: int


@dataclass
class Trained:
    """What a contender did."""

    moments: list[float]
    losses: list[float]
    peak_bytes: int

    def step_seconds(self) -> float:
        """Return the mean duration of the steps after the first."""
        return (self.moments[-1] - self.moments[0]) / (len(self.moments) - 1)


def run_stage(job: Job, folder: Path) -> Trained:
    """Run the stage's own code; every step reports its loss."""
    moments: list[float] = []
    losses: list[float] = []

    def report(done: int, _total: int, unit: str = "", **numbers: float) -> None:
        if unit == "steps" and done > len(moments):
            moments.append(time.monotonic())
            losses.append(numbers["loss"])

    output = folder / "artifact"
    output.mkdir()
    parameters = {"kind": job.kind, "modelPath": job.model, "dataPath": job.rows, **job.parameters}
    task = StageTask(
        run="check", namespace="check", stage=job.kind, digest="d", output_dir=str(output), gpus=int(job.cuda),
        parameters=parameters,
    )  # fmt: skip
    require_gpus(task.gpus)
    stage = importlib.import_module(f"fusionrun_stages.{job.kind}")
    stage.run(Work(task=task, output=output, shard=None, pod_uid="check", report=report))
    return Trained(moments, losses, peak(job.cuda))


def run_plain(job: Job, folder: Path) -> Trained:
    """Run TRL with the arguments that its documentation suggests for these hyperparameters."""
    stage = job.parameters["zeroStage"]
    ranks.join_process_group(stage, cuda=job.cuda)
    import trl
    from datasets import load_dataset
    from transformers import AutoTokenizer, TrainerCallback

    moments: list[float] = []
    losses: list[float] = []

    class Clock(TrainerCallback):
        def on_log(self, _args: Any, _state: Any, _control: Any, logs: dict[str, float], **_: Any) -> None:
            if "loss" in logs:
                moments.append(time.monotonic())
                losses.append(logs["loss"])

    zero = {
        "train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto", "bf16": {"enabled": "auto"}, "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": stage},
    }  # fmt: skip
    bf16 = job.parameters["precision"] == "bf16"
    special: dict[str, Any] = {"completion_only_loss": True}
    if job.kind == "dpo":
        special = {"beta": job.parameters["beta"], "loss_type": ["sigmoid_norm"]}
    config = {"sft": trl.SFTConfig, "dpo": trl.DPOConfig}[job.kind](
        output_dir=str(folder / "plain"), num_train_epochs=1, learning_rate=job.parameters["learningRate"],
        lr_scheduler_type="cosine", warmup_steps=job.parameters["warmupRatio"],
        per_device_train_batch_size=job.parameters["microBatchSize"], gradient_accumulation_steps=job.accumulation,
        max_length=job.parameters["maxLength"], bf16=bf16, use_cpu=not job.cuda, save_strategy="no", logging_steps=1,
        gradient_checkpointing=job.parameters["gradientCheckpointing"], report_to="none", disable_tqdm=True,
        seed=job.parameters["seed"], data_seed=job.parameters["seed"], dataloader_pin_memory=job.cuda,
        model_init_kwargs={"dtype": "float32"}, deepspeed=zero if stage else None, **special,
    )  # fmt: skip
    rows = load_dataset("parquet", data_files=job.rows, split="train", cache_dir=str(folder / "cache"))
    if job.kind == "sft":
        rows = rows.map(
            lambda r: {"prompt": r["messages"][:-1], "completion": r["messages"][-1:]}, remove_columns=["messages"]
        )
    trainer = {"sft": trl.SFTTrainer, "dpo": trl.DPOTrainer}[job.kind](
        model=job.model,
        args=config,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(job.model),
        callbacks=[Clock()],
    )
    trainer.train()
    trained = Trained(moments, losses, peak(job.cuda))
    ranks.leave_process_group()
    return trained


def peak(cuda: bool) -> int:
    """Return the peak memory of this process: allocated by PyTorch on the GPU, else resident."""
    if cuda:
        import torch

        return int(torch.cuda.max_memory_allocated())
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def parameter_count(model: Path) -> int:
    """Return the number of parameters of a model, from the header of its weights."""
    from safetensors import safe_open

    with safe_open(model / "model.safetensors", "pt") as weights:
        count = 0
        for name in weights.keys():  # noqa: SIM118 - not a dict
            size = 1
            for dimension in weights.get_slice(name).get_shape():
                size *= dimension
            count += size
    return count


def flops_per_token(kind: str, parameters: int, layers: int, width: int, length: float) -> float:
    """Return the model FLOPs per token of ``sft``, ``dpo`` or ``score``, without those of recomputed activations.

    Forward and backward: 6 per parameter, and 12 x layers x width x length for attention. DPO also runs the forward
    pass of the reference model, a third of that; scores need a forward pass alone. Source: PaLM (arXiv 2204.02311),
    appendix B.
    """
    both = 6 * parameters + 12 * layers * width * length
    return both * {"sft": 1, "dpo": 4 / 3, "score": 1 / 3}[kind]


def compare(stage: Trained, plain: Trained) -> tuple[dict[str, float], str]:
    """Return the figures of both, and what is wrong: losses that are not finite, or differ by more than 1 %."""
    if len(stage.losses) != len(plain.losses):
        return {}, f"the stage made {len(stage.losses)} steps, TRL {len(plain.losses)}"
    difference = max(abs(a - b) for a, b in zip(stage.losses, plain.losses, strict=True))
    figures = {
        "stage_step_seconds": stage.step_seconds(),
        "plain_step_seconds": plain.step_seconds(),
        "speed_of_plain": plain.step_seconds() / stage.step_seconds(),
        "first_loss": stage.losses[0],
        "largest_loss_difference": difference,
    }
    if not all(map(math.isfinite, stage.losses + plain.losses)):
        return figures, f"the losses are not finite: stage {stage.losses}, TRL {plain.losses}"
    if difference > 0.01 * abs(stage.losses[0]):
        return figures, f"the losses differ: stage {stage.losses}, TRL {plain.losses}"
    return figures, ""


def read(folder: Path, contender: str) -> Trained:
    """Read what a contender wrote."""
    return Trained(**json.loads((folder / f"{contender}.json").read_text()))


def main() -> None:
    """Run one contender."""
    contender, folder = sys.argv[1], Path(sys.argv[2])
    job = Job(**json.loads((folder / "job.json").read_text()))
    trained = {"stage": run_stage, "plain": run_plain}[contender](job, folder)
    (folder / f"{contender}.json").write_text(json.dumps(asdict(trained)))


if __name__ == "__main__":
    main()
