"""The results in the status of a FusionRun: scores, training data and where the artifacts are."""

from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract


class BenchmarkResult(Contract):
    """Scores on a benchmark, in percent."""

    benchmark: Annotated[str, Field(max_length=64)]
    """Name of the benchmark."""
    base: float | None = None
    """Score of the target before training, in percent."""
    sft: float | None = None
    """Score after SFT, in percent."""
    final: float | None = None
    """Score of the final model, in percent."""
    delta: float | None = None
    """Difference between final and base, in percentage points."""


class SourceRows(Contract):
    """Training data from a source."""

    source: Annotated[str, Field(max_length=64)]
    """Name of the source."""
    sft_rows: int
    """Number of SFT rows."""
    pairs: int
    """Number of preference pairs for training."""
    win_rate: float | None = None
    """Share of the contested prompts, 0 to 1, on which the source has the best response (docs/data.md)."""


class DatasetRows(Contract):
    """Training data from a data set, and the numbers that the recipe's authors published."""

    name: Annotated[str, Field(max_length=64)]
    """Name of the data set."""
    sft_rows: int
    """Number of SFT rows."""
    pairs: int
    """Number of preference pairs, including held-out pairs."""
    recipe_sft_rows: int | None = None
    """Published number of SFT rows, for a preset."""
    recipe_pairs: int | None = None
    """Published number of preference pairs, for a preset."""
    warning: Annotated[str, Field(max_length=256)] | None = None
    """How the numbers differ from the published ones, if one of them differs by more than 20 %."""


class DatasetSummary(Contract):
    """The training data of the run."""

    sft_rows: int
    """Number of SFT rows."""
    pairs: int
    """Number of preference pairs for training."""
    held_out_pairs: int = 0
    """Number of preference pairs that are not used for training, but to select a checkpoint."""
    truncated_share: float | None = None
    """Share of the responses, 0 to 1, that were truncated at their token limit."""
    mean_margin: float | None = None
    """Mean score difference of the preference pairs that ``construction.rewardMargin`` applies to."""
    by_source: Annotated[list[SourceRows], Field(max_length=32)] = []
    """Training data from each source."""
    by_dataset: Annotated[list[DatasetRows], Field(max_length=64)] = []
    """Training data from each data set, in the order of the spec. Empty if it exceeds the size of the pod's result; the
    data card always has it."""
    drops: Annotated[dict[str, int], Field(max_length=32)] = {}
    """Number of dropped prompts, by reason (docs/data.md)."""


class Artifacts(Contract):
    """Locations of the results: paths on the run's claim, mounted at /data."""

    model: Annotated[str, Field(max_length=256)] | None = None
    """Path of the final model."""
    sft_model: Annotated[str, Field(max_length=256)] | None = None
    """Path of the model after SFT."""
    dataset: Annotated[str, Field(max_length=256)] | None = None
    """Path of the training data and its card."""
    published: Annotated[str, Field(max_length=512)] | None = None
    """URI that the model was published to."""
