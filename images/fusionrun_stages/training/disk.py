"""Disk that the checkpoints of a training need, checked before the first step."""

import json
import math
import shutil
from pathlib import Path

from fusionrun.api.artifacts import CHECKPOINTS
from fusionrun.api.parameters import TrainParameters
from fusionrun_stages.errors import UserError
from fusionrun_stages.models.files import weight_files
from fusionrun_stages.training.arguments import KEPT_CHECKPOINTS
from fusionrun_stages.training.checkpoints import complete_checkpoints

GB = 10**9


def require_space(parameters: TrainParameters, output: Path) -> None:
    """Raise UserError if the volume has no space for the checkpoints and the model still to be written.

    Without this check, training ends after hours with ENOSPC, and is retried in vain.
    """
    count = parameter_count(Path(parameters.model_path))
    each = checkpoint_bytes(count, parameters)
    existing = len(complete_checkpoints(output / CHECKPOINTS))
    left = max(0, checkpoints_at_once(parameters, row_count(parameters.data_path)) - existing)
    model = weights_bytes(count, parameters)
    needed, free = left * each + model, shutil.disk_usage(output).free
    if needed > free:
        raise UserError(
            f"storage.claimName: training needs {needed / GB:.1f} GB, for {left} checkpoints of "
            f"{each / GB:.1f} GB and the model of {model / GB:.1f} GB, and the volume has {free / GB:.1f} GB free: "
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


def checkpoint_bytes(count: int, parameters: TrainParameters) -> int:
    """Return the size of a checkpoint of a model with ``count`` parameters, over all ranks.

    With ZeRO, the optimizer state has 12 bytes per parameter (float32 weights and both moments), beside the model in
    safetensors. Stages 1 and 2 have the weights once more in DeepSpeed's own file; in stage 3 that file has none.
    Without ZeRO, the weights are float32 once, beside both moments. With LoRA a checkpoint is small, but those that are
    kept become whole models. Sources: DeepSpeed, ``engine.py`` (``save_checkpoint``); transformers, ``Trainer``;
    measured, DeepSpeed 0.19.8.
    """
    weights = weights_bytes(count, parameters)
    if parameters.lora is not None:
        return weights
    if parameters.zero_stage == 0:
        return 12 * count
    copies = 1 if parameters.zero_stage == 3 else 2  # noqa: PLR2004 - the ZeRO stage
    return 12 * count + copies * weights


def weights_bytes(count: int, parameters: TrainParameters) -> int:
    """Return the size of a saved model with ``count`` parameters."""
    return (4 if parameters.precision == "fp32" else 2) * count


def checkpoints_at_once(parameters: TrainParameters, rows: int) -> int:
    """Return how many checkpoints are on the volume at the same time: the kept ones, and the one being written."""
    steps = math.ceil(math.ceil(rows / parameters.global_batch_size) * parameters.epochs)
    written = math.ceil(parameters.epochs) if parameters.save_steps is None else steps // parameters.save_steps
    return min(KEPT_CHECKPOINTS + 1, written + 1)  # one more for the last step


def row_count(data_path: str) -> int:
    """Return the number of rows of a Parquet file."""
    from pyarrow import parquet

    return int(parquet.read_metadata(data_path).num_rows)
