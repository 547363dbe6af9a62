"""The end of a training: save the model and the result, remove temporary files, destroy the process group."""

import json
import shutil
from pathlib import Path
from typing import Any

from fusionrun.api.artifacts import CHECKPOINTS, FINISHED_FILE, MODEL
from fusionrun.api.results.release_0_2 import FlatValues, flatten, unflatten
from fusionrun.api.results.values import Trained
from fusionrun.api.stage import StageKind
from fusionrun_stages.pod import checkpoint
from fusionrun_stages.training.adapters import merge
from fusionrun_stages.training.checkpoints import (
    PREFIX,
    candidates,
    complete_checkpoints,
    keep_only,
    model_files,
    remove_unusable,
    settle,
)
from fusionrun_stages.training.ranks import leave_process_group, of_rank_0, rank, wait_for_all, world_size
from fusionrun_stages.training.rows import CACHE
from fusionrun_stages.volume.atomic import write_atomic
from fusionrun_stages.work import Made

LAST_SHARE = 10
"""The last loss and the reward accuracies are means over a tenth of the steps: a single step is noise."""


def read_finished(output: Path, kind: StageKind) -> Made | None:
    """Return the result of a predecessor that died after it saved the model, or None."""
    try:
        content = json.loads((output / FINISHED_FILE).read_text())
        if "values" in content:
            values = Trained.model_validate(content["values"])
        else:
            flat = unflatten(kind, FlatValues.model_validate(content))
            values = flat if isinstance(flat, Trained) else Trained(kind=kind)
        return Made(values=values, files=content["files"], details=content["details"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_finished(output: Path, made: Made) -> None:
    """Write the result for a successor, with the fields of this release and of release 0.2."""
    content = {"files": made.files, "details": made.details, "values": made.values.model_dump(mode="json")}
    flat = flatten(made.values, None)[0].model_dump(mode="json")
    write_atomic(output / FINISHED_FILE, json.dumps(content | flat).encode())


def find_resume_point(checkpoints: Path) -> tuple[str | None, list[str]]:
    """Return the last complete checkpoint, and the names of the unusable ones, which are removed.

    Rank 0 decides for all: the nodes may list a shared volume differently, because NFS caches directories.
    """

    def find() -> tuple[int | None, list[str]]:
        removed = remove_unusable(checkpoints, world_size())
        return next(reversed(complete_checkpoints(checkpoints)), None), removed

    step, removed = of_rank_0(find)
    if step is None:
        return None, removed
    path = checkpoints / f"{PREFIX}{step}"
    checkpoint.record(step)
    return str(path), removed


def stop_at_every_end_of_turn(model: Any, tokenizer: Any, end_of_turn: int) -> None:
    """Add every end-of-turn token to the eos tokens of the model's generation_config.

    If transformers would not save the generation_config, replace it with one that has only its token ids.
    """
    from transformers import GenerationConfig

    config = model.generation_config
    eos = config.eos_token_id
    ends = [*(eos if isinstance(eos, list) else [eos]), tokenizer.eos_token_id, end_of_turn]
    unique = list(dict.fromkeys(token for token in ends if token is not None))
    try:
        config.validate(strict=True)
    except ValueError:
        config = GenerationConfig(bos_token_id=config.bos_token_id, pad_token_id=config.pad_token_id)
        model.generation_config = config
    config.eos_token_id = unique


def finish(
    trainer: Any, output: Path, details: dict[str, Any], trained: Trained, base: str, save_steps: int | None
) -> Made:
    """Save the model on all ranks; on rank 0 store the result and remove temporary files; wait for all ranks.

    ``trained`` has ``rows``, ``dropped_long`` and ``tokens``; adapters are merged into ``base``. Keep the last two
    checkpoints at multiples of ``save_steps``, without the optimizer state; None: keep no checkpoint.
    """
    trainer.save_model(str(output / MODEL))
    wait_for_all()
    if rank() == 0:
        # A pickle of the trainer's arguments that is not part of the model.
        (output / MODEL / "training_args.bin").unlink(missing_ok=True)
        trainer.model.generation_config.save_pretrained(output / MODEL)
        merge(base, output / MODEL, output / MODEL)
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
        clean_up(output, names, base)
    leave_process_group()
    return made


def clean_up(output: Path, kept: list[str], base: str) -> None:
    """Remove the files that only an unfinished training needs, and merge the adapters of the kept checkpoints.

    Idempotent: a successor may repeat it. The training cannot resume from a merged checkpoint, so its result must have
    been written.
    """
    checkpoints = output / CHECKPOINTS
    if kept:
        complete = complete_checkpoints(checkpoints)
        keep_only(checkpoints, {step: path for step, path in complete.items() if path.name in kept})
        for name in kept:
            merge(base, checkpoints / name, output / MODEL)
            settle(checkpoints / name)
    else:
        shutil.rmtree(checkpoints, ignore_errors=True)
    shutil.rmtree(output / CACHE, ignore_errors=True)


def _mean(entries: list[dict[str, float]], key: str) -> float:
    return sum(entry[key] for entry in entries) / len(entries)
