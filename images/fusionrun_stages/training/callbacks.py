"""What happens at each step: progress goes out, a wrong loss ends the training, a checkpoint is marked whole."""

import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fusionrun_stages.errors import UserError
from fusionrun_stages.training.checkpoints import PREFIX, mark_complete
from fusionrun_stages.training.ranks import wait_for_all, world_size
from fusionrun_stages.work import Report

FIRST_DPO_LOSS = math.log(2)
"""-log sigmoid(0): before the first step the policy is the reference, whatever beta and the lengths are."""
FIRST_DPO_LOSS_TOLERANCE = 1e-3


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Report every step, and end a training whose loss is not a number.

    Parameters
    ----------
    report
        Takes progress; only rank 0 calls it.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._started = 0.0

    def on_train_begin(self, _: TrainingArguments, state: TrainerState, control: TrainerControl, **__: Any) -> None:
        """Start the clock of tokens per second."""
        del state, control
        self._started = time.monotonic()

    def on_log(
        self,
        _: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **__: Any,
    ) -> None:
        """Report a step's numbers.

        Raises
        ------
        UserError
            If the loss is not finite.
        """
        del control
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"the loss of step {state.global_step} is {logs['loss']}: lower the learning rate, and check the model"
            )
        if not state.is_world_process_zero:
            return
        numbers = {"loss": logs["loss"], "epoch": logs.get("epoch", 0.0), "learning_rate": logs["learning_rate"]}
        if "rewards/accuracies" in logs:
            numbers["reward_accuracy"] = logs["rewards/accuracies"]
        if "num_tokens" in logs:
            # TRL counts from the start of this process, as does the clock.
            numbers["tokens_per_second"] = logs["num_tokens"] / max(time.monotonic() - self._started, 1e-6)
        self._report(state.global_step, state.max_steps, "steps", **numbers)


class FirstLossCheck(TrainerCallback):  # type: ignore[misc]
    """Check that a fresh DPO starts at ln 2: anything else means that policy and reference differ."""

    def on_log(
        self,
        _: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **__: Any,
    ) -> None:
        """Look at the first step's loss.

        Raises
        ------
        UserError
            If it is not ln 2 within ``FIRST_DPO_LOSS_TOLERANCE``.
        """
        del control
        if state.global_step != 1 or not logs or "loss" not in logs:
            return
        if not abs(logs["loss"] - FIRST_DPO_LOSS) < FIRST_DPO_LOSS_TOLERANCE:
            raise UserError(
                f"the first DPO loss is {logs['loss']:.5f}, not ln 2 = {FIRST_DPO_LOSS:.5f}: policy and reference do "
                "not agree, so the model's forward pass is not repeatable or its weights were not read as written"
            )


class MarkComplete(TrainerCallback):  # type: ignore[misc]
    """Mark each checkpoint when every rank has written its part."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Wait for all, then let rank 0 write the marker."""
        del control
        wait_for_all()
        if state.is_world_process_zero:
            mark_complete(Path(str(args.output_dir)) / f"{PREFIX}{state.global_step}", world_size())
