"""Disk that the checkpoints of a training need, checked before the first step."""

import json
import math
import shutil
from pathlib import Path

from fusionrun.api.artifacts import CHECKPOINTS
from fusionrun.api.tasks.training import TrainParameters
from fusionrun_stages.errors import UserError
from fusionrun_stages.fit.architecture import read_architecture
from fusionrun_stages.fit.sizes import (
    CHECKPOINTS_AT_ONCE,
    MERGED_CHECKPOINTS,
    checkpoint_bytes,
    trained_parameters,
    weight_bytes,
)
from fusionrun_stages.models.files import weight_files
from fusionrun_stages.training.checkpoints import complete_checkpoints
from fusionrun_stages.volume.atomic import read_json

GB = 10**9


def require_space(parameters: TrainParameters, output: Path) -> None:
    """Raise UserError if the volume has no space for the checkpoints and the model still to be written.

    Without this check, training ends after hours with ENOSPC, and is retried in vain.
    """
    if parameters.trial_steps:
        return  # it writes nothing
    folder = Path(parameters.model_path)
    count, architecture = parameter_count(folder), read_architecture(read_json(folder / "config.json"))
    each = checkpoint_bytes(parameters, trained_parameters(parameters.lora, count, architecture) or 0)
    existing = len(complete_checkpoints(output / CHECKPOINTS))
    left = max(0, checkpoints_at_once(parameters, row_count(parameters.data_path)) - existing)
    merged = MERGED_CHECKPOINTS if parameters.lora and parameters.save_steps else 0
    model = weight_bytes(parameters) * count * (1 + merged)
    needed, free = left * each + model, shutil.disk_usage(output).free
    if needed > free:
        raise UserError(
            f"storage.claimName: training needs {needed / GB:.1f} GB, for {left} checkpoints of "
            f"{each / GB:.1f} GB and {model / GB:.1f} GB for the model, and the volume has {free / GB:.1f} GB free: "
            "enlarge the claim, or delete artifacts"
        )


def parameter_count(model: Path) -> int:
    """Return the number of parameters in the weights files of a model, from their headers.

    Source: github.com/huggingface/safetensors, README, "Format".
    """
    count = 0
    for path in weight_files(model, str(model)):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        count += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return count


def checkpoints_at_once(parameters: TrainParameters, rows: int) -> int:
    """Return how many checkpoints are on the volume at the same time: the kept ones, and the one being written."""
    steps = math.ceil(math.ceil(rows / parameters.global_batch_size) * parameters.epochs)
    written = math.ceil(parameters.epochs) if parameters.save_steps is None else steps // parameters.save_steps
    return min(CHECKPOINTS_AT_ONCE, written + 1)  # one more for the last step


def row_count(data_path: str) -> int:
    """Return the number of rows of a Parquet file."""
    from pyarrow import parquet

    return int(parquet.read_metadata(data_path).num_rows)
