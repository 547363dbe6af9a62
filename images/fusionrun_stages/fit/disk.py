"""Disk that a run needs on its claim. Pure.

The files of a training are those of transformers and DeepSpeed; their sizes follow from the number of parameters.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fusionrun.api.demand import Demand, TrainingDemand
from fusionrun.api.stage import StageKind
from fusionrun.api.training import Precision

GB = 10**9
CHECKPOINTS = 4
"""Checkpoints of a training at the same time: ``training.arguments.KEPT_CHECKPOINTS`` and the one being written."""
RESPONSE_BYTES = 4096
"""Estimate of the bytes of a response in all artifacts: its text, 500 tokens of 4 characters, in compressed Parquet
files of ``generate``, its scores, and its share of the rows of ``construct``."""


@dataclass(frozen=True)
class Item:
    """A part of the disk that a run needs."""

    name: str
    bytes: int
    estimate: bool = True


def checkpoint_bytes(demand: TrainingDemand, parameters: int) -> int:
    """Return the size of one checkpoint of a training.

    With ZeRO and P parameters in bfloat16: 12P of optimizer state (float32 weights, momentum and variance), 2P of
    weights in DeepSpeed's own files and 2P in safetensors. In float32 12P, 4P and 4P. Without ZeRO the optimizer is 8P
    and the weights are 4P. A LoRA adapter has only its own.
    """
    if demand.trained_parameters is not None:
        return 16 * demand.trained_parameters
    if demand.zero_stage == 0:
        return 12 * parameters
    return (20 if demand.precision is Precision.FP32 else 16) * parameters


def items(
    demand: Demand,
    downloads: Mapping[str, int],
    parameters: int | None,
    complete: Collection[str],
) -> list[Item]:
    """Return what a run still writes to its claim.

    Parameters
    ----------
    downloads
        Bytes that are not on the claim yet, by the field of each model.
    parameters
        Parameters of the target; None if they are not known.
    complete
        Stages whose artifact exists.
    """
    found = [Item(f"download of {field}", size, estimate=False) for field, size in downloads.items() if size]
    if demand.responses and StageKind.CONSTRUCT not in complete:
        found.append(Item(f"{demand.responses:,} responses with scores", demand.responses * RESPONSE_BYTES))
    if parameters is None or StageKind.PROMOTE in complete:
        return found
    weights = (4 if demand.training.precision is Precision.FP32 else 2) * parameters
    checkpoint = checkpoint_bytes(demand.training, parameters)
    models = [kind for kind in (StageKind.SFT, StageKind.DPO, StageKind.PROMOTE) if kind not in complete]
    # The checkpoints of SFT are removed before those of DPO are written.
    if {StageKind.SFT, StageKind.DPO} & {*models}:
        found.append(Item(f"{CHECKPOINTS} checkpoints of {checkpoint / GB:.1f} GB", CHECKPOINTS * checkpoint))
    found.append(Item(f"models of {', '.join(models)}", len(models) * weights))
    if demand.published_copies and StageKind.PUBLISH not in complete:
        found.append(Item(f"{demand.published_copies} copies to publish", demand.published_copies * weights))
    return found


def table(found: list[Item]) -> str:
    """Return the items in GB, the largest first."""
    rows = sorted(found, key=lambda item: -item.bytes)
    return ", ".join(f"{row.name} {row.bytes / GB:.1f}" + (" (estimate)" if row.estimate else "") for row in rows)
