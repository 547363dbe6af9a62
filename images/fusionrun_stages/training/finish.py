"""The end of a training: save the model, remember what came of it, clean up, and leave together."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from fusionrun_stages.training.checkpoints import (
    candidates,
    keep_only,
    model_files,
    remove_unusable,
    settle,
    complete_checkpoints,
)
from fusionrun_stages.training.ranks import leave_process_group, rank, wait_for_all, world_size
from fusionrun_stages.training.rows import CACHE
from fusionrun_stages.volume.atomic import write_atomic
from fusionrun_stages.work import Made

CHECKPOINTS = "checkpoints"
MODEL = "model"
FINISHED = "finished.json"
"""Written when the model is saved: a pod that dies between this and the manifest trains nothing twice."""
LAST_SHARE = 10
"""One step's numbers are noise: the last loss and the reward accuracies are means over a tenth of the steps."""


def read_finished(output: Path) -> Made | None:
    """Return what a predecessor made, when it died after the model was saved."""
    try:
        found = json.loads((output / FINISHED).read_text())
        return Made(**{field.name: found[field.name] for field in dataclasses.fields(Made) if field.name in found})
    except (OSError, ValueError, TypeError):
        return None


def find_resume_point(checkpoints: Path) -> tuple[str | None, list[str]]:
    """Remove what cannot be resumed, on rank 0, and return the last whole checkpoint and the names removed."""
    removed = remove_unusable(checkpoints, world_size()) if rank() == 0 else []
    wait_for_all()
    whole = complete_checkpoints(checkpoints)
    return (str(list(whole.values())[-1]) if whole else None), removed


def stop_at_every_end_of_turn(model: Any, tokenizer: Any, end_of_turn: int) -> None:
    """Let the saved generation_config stop at every token that ends an answer.

    A generation_config that transformers would refuse to write is replaced by one of its own token ids.
    """
    from transformers import GenerationConfig

    config = model.generation_config
    known = config.eos_token_id
    ends = [*(known if isinstance(known, list) else [known]), tokenizer.eos_token_id, end_of_turn]
    unique = list(dict.fromkeys(token for token in ends if token is not None))
    try:
        config.validate(strict=True)
    except ValueError:
        config = GenerationConfig(bos_token_id=config.bos_token_id, pad_token_id=config.pad_token_id)
        model.generation_config = config
    config.eos_token_id = unique


def finish(trainer: Any, output: Path, details: dict[str, Any], counts: dict[str, int], save_steps: int | None) -> Made:
    """Save the model with all ranks; let rank 0 remember the numbers and clean up; return when all are done.

    Parameters
    ----------
    trainer
        After its last step.
    output
        The artifact's directory: gets ``model/``.
    details, counts
        What the stage knows already: rows, dropped_long, tokens.
    save_steps
        The last two checkpoints at its multiples are kept, without the optimizer's state; None keeps none.
    """
    trainer.save_model(str(output / MODEL))
    wait_for_all()
    if rank() == 0:
        # A pickle of the trainer's arguments: no business of those who load the model.
        (output / MODEL / "training_args.bin").unlink(missing_ok=True)
        settle(output / MODEL)
    losses = [entry for entry in trainer.state.log_history if "loss" in entry]
    last = losses[-max(1, len(losses) // LAST_SHARE) :]
    numbers = {"first_loss": losses[0]["loss"], "last_loss": _mean(last, "loss")}
    if "rewards/accuracies" in losses[0]:
        first = losses[: max(1, len(losses) // LAST_SHARE)]
        numbers["first_reward_accuracy"] = _mean(first, "rewards/accuracies")
        numbers["last_reward_accuracy"] = _mean(last, "rewards/accuracies")
    checkpoints = output / CHECKPOINTS
    kept = candidates(checkpoints, save_steps)
    names = [path.name for path in kept.values()]
    files = [f"{MODEL}/{path.name}" for path in model_files(output / MODEL)]
    made = Made(
        files=files,
        counts=counts | {"steps": trainer.state.global_step},
        numbers=numbers,
        details=details | {"checkpoints": names, "losses": [round(entry["loss"], 5) for entry in losses]},
    )
    if rank() == 0:
        write_atomic(output / FINISHED, json.dumps(dataclasses.asdict(made)).encode())
        clean_up(output, names)
    leave_process_group()
    return made


def clean_up(output: Path, kept: list[str]) -> None:
    """Remove what only an unfinished training needs: idempotent, so that a successor can complete it."""
    checkpoints = output / CHECKPOINTS
    if kept:
        whole = complete_checkpoints(checkpoints)
        keep_only(checkpoints, {step: path for step, path in whole.items() if path.name in kept})
    else:
        shutil.rmtree(checkpoints, ignore_errors=True)
    shutil.rmtree(output / CACHE, ignore_errors=True)


def _mean(entries: list[dict[str, float]], key: str) -> float:
    return sum(entry[key] for entry in entries) / len(entries)
