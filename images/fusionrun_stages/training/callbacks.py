"""Trainer callbacks: report progress, stop on a wrong loss, mark complete checkpoints."""

import math
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerState, TrainingArguments

from fusionrun.api.published.gpu_models import gpu_model
from fusionrun_stages.errors import UserError
from fusionrun_stages.pod import checkpoint
from fusionrun_stages.training.checkpoints import PREFIX, mark_complete
from fusionrun_stages.training.flops import flops_per_token
from fusionrun_stages.training.ranks import wait_for_all, world_size
from fusionrun_stages.training.trackers import Trackers
from fusionrun_stages.work import Report

FIRST_DPO_LOSS = math.log(2)
"""-log sigmoid(0): before the first step the policy equals the reference model. It depends on neither beta nor
lengths."""
FIRST_DPO_LOSS_TOLERANCE = 1e-3


PROGRESS_NUMBERS = {
    "learning_rate": "learning_rate",
    "grad_norm": "gradient_norm",
    "rewards/accuracies": "reward_accuracy",
    "rewards/margins": "reward_margin",
}
"""Names of the numbers of a progress report, by the names in the trainer's log."""


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Report every step on every rank and to the trackers, and stop the training if the loss is not finite.

    ``with_reference`` says that each token also passes through a reference model, for the MFU.
    """

    def __init__(self, report: Report, trackers: Trackers, *, with_reference: bool) -> None:
        self._report = report
        self._trackers = trackers
        self._with_reference = with_reference
        self._started = 0.0
        self._flops_per_token = 0.0
        self._peak: float | None = None

    def on_train_begin(self, args: TrainingArguments, *_: Any, model: Any = None, **__: Any) -> None:
        """Start the clock of tokens per second, and count the model's FLOPs."""
        self._started = time.monotonic()
        if model is not None:
            self._flops_per_token = flops_per_token(model.parameters(), with_reference=self._with_reference)
        if args.bf16 and torch.cuda.is_available():
            model_of_gpu = gpu_model(torch.cuda.get_device_name())
            self._peak = model_of_gpu.flops if model_of_gpu else None

    def on_log(self, _: Any, state: TrainerState, *__: Any, logs: dict[str, float] | None = None, **___: Any) -> None:
        """Report a step; raise UserError if the loss is not finite."""
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"the loss of step {state.global_step} is {logs['loss']}: lower the learning rate, and check the model"
            )
        numbers = {"loss": logs["loss"], "epoch": logs.get("epoch", 0.0)}
        numbers |= {name: float(logs[logged]) for logged, name in PROGRESS_NUMBERS.items() if logged in logs}
        if "num_tokens" in logs:
            # TRL counts from the start of this process, as does the clock.
            rate = logs["num_tokens"] / max(time.monotonic() - self._started, 1e-6)
            numbers["tokens_per_second"] = rate
            if self._peak is not None:
                numbers["mfu"] = rate * self._flops_per_token / (self._peak * world_size())
        self._report(state.global_step, state.max_steps, "steps", **numbers)
        self._trackers.log(state.global_step, numbers)


class FirstLossCheck(TrainerCallback):  # type: ignore[misc]
    """Check that the loss of the first DPO step is ln 2: otherwise policy and reference model differ."""

    def on_log(self, _: Any, state: TrainerState, *__: Any, logs: dict[str, float] | None = None, **___: Any) -> None:
        """Raise UserError if the first loss is not ln 2."""
        if state.global_step != 1 or not logs or "loss" not in logs:
            return
        if not abs(logs["loss"] - FIRST_DPO_LOSS) < FIRST_DPO_LOSS_TOLERANCE:
            raise UserError(
                f"the first DPO loss is {logs['loss']:.5f}, not ln 2 = {FIRST_DPO_LOSS:.5f}: policy and reference "
                "model differ, so the model's forward pass is not deterministic, or its weights were not read correctly"
            )


class MarkComplete(TrainerCallback):  # type: ignore[misc]
    """Mark each checkpoint after every rank has written its part."""

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Wait for all ranks, then write the marker on rank 0, and record the step for the result of a failure."""
        wait_for_all()
        if state.is_world_process_zero:
            mark_complete(Path(str(args.output_dir)) / f"{PREFIX}{state.global_step}", world_size())
        checkpoint.record(state.global_step)
