"""Trainer callbacks: report progress, stop on a wrong loss, mark complete checkpoints."""

import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerState, TrainingArguments

from fusionrun_stages.errors import UserError
from fusionrun_stages.pod import checkpoint
from fusionrun_stages.training.checkpoints import PREFIX, mark_complete
from fusionrun_stages.training.ranks import wait_for_all, world_size
from fusionrun_stages.work import Report

FIRST_DPO_LOSS = math.log(2)
"""-log sigmoid(0): before the first step the policy equals the reference model. It depends on neither beta nor
lengths."""
FIRST_DPO_LOSS_TOLERANCE = 1e-3


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Report every step on every rank, and stop the training if the loss is not finite."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._started = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock of tokens per second."""
        self._started = time.monotonic()

    def on_log(self, _: Any, state: TrainerState, *__: Any, logs: dict[str, float] | None = None, **___: Any) -> None:
        """Report a step; raise UserError if the loss is not finite."""
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"the loss of step {state.global_step} is {logs['loss']}: lower the learning rate, and check the model"
            )
        numbers = {"loss": logs["loss"], "epoch": logs.get("epoch", 0.0), "learning_rate": logs["learning_rate"]}
        if "rewards/accuracies" in logs:
            numbers["reward_accuracy"] = logs["rewards/accuracies"]
        if "num_tokens" in logs:
            # TRL counts from the start of this process, as does the clock.
            numbers["tokens_per_second"] = logs["num_tokens"] / max(time.monotonic() - self._started, 1e-6)
        self._report(state.global_step, state.max_steps, "steps", **numbers)


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
