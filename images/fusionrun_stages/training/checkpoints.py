"""Complete checkpoints, and the files of a model in them.

The newest checkpoint may be incomplete: a rank may have died while it wrote its shard. So rank 0 writes a marker after
all ranks have saved their shards. A checkpoint without the marker is not used.
"""

import json
import shutil
from pathlib import Path

from fusionrun_stages.volume.atomic import sync, write_atomic

MARKER = "whole.json"
PREFIX = "checkpoint-"

_TRAINING_STATE = ("global_step", "latest", "optimizer", "scheduler", "rng_state", "training_args", "zero_to_")
_NOT_THE_MODEL = (*_TRAINING_STATE, MARKER, "trainer_state", "README")


def settle(folder: Path) -> None:
    """Flush every file of a folder to disk and make it readable for others (safetensors writes mode 0600)."""
    for path in (p for p in folder.rglob("*") if p.is_file()):
        path.chmod(0o644)
        sync(path)


def mark_complete(checkpoint: Path, world_size: int) -> None:
    """Flush a checkpoint that every rank has written, then write its marker."""
    settle(checkpoint)
    write_atomic(checkpoint / MARKER, json.dumps({"world_size": world_size}).encode())


def complete_checkpoints(directory: Path) -> dict[int, Path]:
    """Return the complete checkpoints by step, in ascending order."""
    complete = {
        int(path.name.removeprefix(PREFIX)): path
        for path in directory.glob(f"{PREFIX}*")
        if path.name.removeprefix(PREFIX).isdecimal() and (path / MARKER).is_file()
    }
    return dict(sorted(complete.items()))


def remove_unusable(directory: Path, world_size: int) -> list[str]:
    """Remove incomplete checkpoints and those of another world size, which ZeRO cannot load; return their names."""
    complete = complete_checkpoints(directory).values()
    keep = {path for path in complete if json.loads((path / MARKER).read_text())["world_size"] == world_size}
    removed = sorted(path for path in directory.glob(f"{PREFIX}*") if path not in keep)
    for path in removed:
        shutil.rmtree(path)
    return [path.name for path in removed]


def candidates(directory: Path, save_steps: int | None) -> dict[int, Path]:
    """Return the last two complete checkpoints at a multiple of ``save_steps``, or fewer.

    Source: FuseChat-3.0: with 501 steps and a checkpoint every 100, the last two are 400 and 500, not 501.
    """
    if save_steps is None:
        return {}
    multiples = [(step, path) for step, path in complete_checkpoints(directory).items() if step % save_steps == 0]
    return dict(multiples[-2:])


def keep_only(directory: Path, kept: dict[int, Path]) -> None:
    """Remove every other checkpoint, and the training state from those that are kept."""
    for path in directory.glob(f"{PREFIX}*"):
        if path not in kept.values():
            shutil.rmtree(path)
            continue
        for entry in path.iterdir():
            if not entry.name.startswith(_TRAINING_STATE):
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def model_files(directory: Path) -> list[Path]:
    """Return the files of the model in a checkpoint: weights, configuration and tokenizer."""
    return sorted(p for p in directory.iterdir() if p.is_file() and not p.name.startswith((*_NOT_THE_MODEL, ".")))
