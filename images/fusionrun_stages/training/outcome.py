"""The end of a training: save the model, remember what came of it, clean up, and leave together."""

import json
import shutil
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import CHECKPOINTS, FINISHED_FILE, MODEL
from fusionrun.api.release_0_2 import FlatValues, flatten, unflatten
from fusionrun.api.stage import StageKind
from fusionrun.api.values import Trained
from fusionrun_stages.training.checkpoints import (
    candidates,
    keep_only,
    model_files,
    remove_unusable,
    settle,
    whole_checkpoints,
)
from fusionrun_stages.training.ranks import leave, rank, wait_for_all, world_size
from fusionrun_stages.training.rows import CACHE
from fusionrun_stages.volume.atomic import write_atomic
from fusionrun_stages.work import Made

LAST_SHARE = 10
"""One step's numbers are noise: the last loss and the reward accuracies are means over a tenth of the steps."""


def read_finished(output: Path, kind: StageKind) -> Made | None:
    """Return what an earlier pod made that ended after it had saved the model."""
    try:
        found = json.loads((output / FINISHED_FILE).read_text())
        if "values" in found:
            values = Trained.model_validate(found["values"])
        else:
            flat = unflatten(kind, FlatValues.model_validate(found))
            values = flat if isinstance(flat, Trained) else Trained(kind=kind)
        return Made(values=values, files=found["files"], details=found["details"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_finished(output: Path, made: Made) -> None:
    """Write what this pod made, in the forms of this release and of release 0.2."""
    found = {"files": made.files, "details": made.details, "values": made.values.model_dump(mode="json")}
    flat = flatten(made.values, None)[0].model_dump(mode="json")
    write_atomic(output / FINISHED_FILE, json.dumps(found | flat).encode())


def find_resume_point(checkpoints: Path) -> tuple[str | None, list[str]]:
    """Remove what cannot be resumed, on rank 0, and return the last whole checkpoint and the names removed."""
    removed = remove_unusable(checkpoints, world_size()) if rank() == 0 else []
    wait_for_all()
    whole = whole_checkpoints(checkpoints)
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


def finish(trainer: Any, output: Path, details: dict[str, Any], trained: Trained, save_steps: int | None) -> Made:
    """Save the model with all ranks; let rank 0 remember the numbers and clean up; return when all are done.

    Parameters
    ----------
    trainer
        After its last step.
    output
        The artifact's directory: gets ``model/``.
    details
        For the manifest.
    trained
        What the stage knows already: ``rows``, ``dropped_long`` and ``tokens``.
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
        values=Trained(
            **trained.model_dump(by_alias=False, exclude_unset=True), **numbers, steps=trainer.state.global_step
        ),
        files=files,
        details=details | {"checkpoints": names, "losses": [round(entry["loss"], 5) for entry in losses]},
    )
    if rank() == 0:
        write_finished(output, made)
        clean_up(output, names)
    leave()
    return made


def clean_up(output: Path, kept: list[str]) -> None:
    """Remove what only an unfinished training needs: idempotent, so that a successor can complete it."""
    checkpoints = output / CHECKPOINTS
    if kept:
        whole = whole_checkpoints(checkpoints)
        keep_only(checkpoints, {step: path for step, path in whole.items() if path.name in kept})
    else:
        shutil.rmtree(checkpoints, ignore_errors=True)
    shutil.rmtree(output / CACHE, ignore_errors=True)


def _mean(entries: list[dict[str, float]], key: str) -> float:
    return sum(entry[key] for entry in entries) / len(entries)
