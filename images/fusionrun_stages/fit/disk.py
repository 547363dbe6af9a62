"""Disk that a run needs on its claim. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.demand import Demand
from fusionrun_stages.fit.architecture import Architecture
from fusionrun_stages.fit.sizes import (
    CHECKPOINTS_AT_ONCE,
    MERGED_CHECKPOINTS,
    checkpoint_bytes,
    trained_parameters,
    weight_bytes,
)

GB = 10**9
RESPONSE_BYTES = 4096
"""Estimate of the bytes of a response in all artifacts: its text, 500 tokens of 4 characters, in compressed Parquet
files of ``generate``, its scores, and its share of the rows of ``construct``."""


@dataclass(frozen=True)
class Item:
    """A part of the disk that a run needs."""

    name: str
    bytes: int
    estimate: bool = True


def items(
    demand: Demand,
    downloads: Mapping[str, int],
    parameters: int | None,
    model: Architecture | None,
    complete: Collection[str],
) -> list[Item]:
    """Return what a run still writes to its claim.

    Parameters
    ----------
    downloads
        Bytes that are not on the claim yet, by the field of each model.
    parameters
        Parameters of the target; None if they are not known.
    model
        Its architecture; None if it is unknown. Adapters are then not counted.
    complete
        Stages whose artifact exists.
    """
    found = [Item(f"download of {field}", size, estimate=False) for field, size in downloads.items() if size]
    if demand.responses and StageKind.CONSTRUCT not in complete:
        found.append(Item(f"{demand.responses:,} responses with scores", demand.responses * RESPONSE_BYTES))
    training = demand.training
    if training is None or parameters is None or StageKind.PROMOTE in complete:
        return found
    weights = weight_bytes(training) * parameters
    checkpoint = checkpoint_bytes(training, trained_parameters(training.lora, parameters, model) or 0)
    models = [kind for kind in (StageKind.SFT, StageKind.DPO, StageKind.PROMOTE) if kind not in complete]
    # The checkpoints of SFT are removed before those of DPO are written.
    if {StageKind.SFT, StageKind.DPO} & {*models}:
        found.append(
            Item(f"{CHECKPOINTS_AT_ONCE} checkpoints of {checkpoint / GB:.1f} GB", CHECKPOINTS_AT_ONCE * checkpoint)
        )
    if training.lora and StageKind.DPO in models:
        found.append(Item(f"{MERGED_CHECKPOINTS} checkpoints with merged adapters", MERGED_CHECKPOINTS * weights))
    found.append(Item(f"models of {', '.join(models)}", len(models) * weights))
    if demand.published_copies and StageKind.PUBLISH not in complete:
        found.append(Item(f"{demand.published_copies} copies to publish", demand.published_copies * weights))
    return found


def table(found: list[Item]) -> str:
    """Return the items in GB, the largest first."""
    rows = sorted(found, key=lambda item: -item.bytes)
    return ", ".join(f"{row.name} {row.bytes / GB:.1f}" + (" (estimate)" if row.estimate else "") for row in rows)
