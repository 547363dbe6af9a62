"""The results in the status of a FusionRun: scores, training data and where the artifacts are."""

from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract

SCORE_MESSAGE_CHARACTERS = 256


class ModelScore(Contract):
    """The score of a model on a benchmark."""

    model: Annotated[str, Field(max_length=64)]
    """Name of the model: ``base``, ``sft``, ``final``, or that of a model of ``evaluateOnly``."""
    score: float | None = None
    """Score in the unit of the benchmark; none if no response could be graded."""
    lower: float | None = None
    """Lower bound of the 95 % interval of the score."""
    upper: float | None = None
    """Upper bound of the 95 % interval of the score."""
    prompts: int | None = None
    """Number of graded prompts."""
    message: Annotated[str, Field(max_length=SCORE_MESSAGE_CHARACTERS)] | None = None
    """Why the model has no score."""


class ModelDifference(Contract):
    """The difference of two models on the prompts that both answered."""

    model: Annotated[str, Field(max_length=64)]
    """Name of the first model."""
    against: Annotated[str, Field(max_length=64)]
    """Name of the second model."""
    delta: float
    """Score of the first model less that of the second, in the unit of the benchmark."""
    lower: float | None = None
    """Lower bound of the 95 % interval of the difference."""
    upper: float | None = None
    """Upper bound of the 95 % interval of the difference."""
    p_value: float | None = None
    """Of a paired test of no difference, corrected for the number of benchmarks."""
    prompts_needed: int | None = None
    """Number of prompts with which a difference of this size is significant in 4 of 5 evaluations."""


class BenchmarkResult(Contract):
    """Scores on a benchmark, in its unit."""

    benchmark: Annotated[str, Field(max_length=64)]
    """Name of the benchmark."""
    base: float | None = None
    """Score of the target before training, in the unit of the benchmark."""
    sft: float | None = None
    """Score after SFT, in the unit of the benchmark."""
    final: float | None = None
    """Score of the final model, in the unit of the benchmark."""
    delta: float | None = None
    """Difference between final and base, in the unit of the benchmark."""
    unit: Annotated[str, Field(max_length=16)] | None = None
    """Unit of the scores: Percent, or Rating from 1 to 10."""
    protocol: Annotated[str, Field(max_length=128)] | None = None
    """Protocol of the benchmark and its version, such as ``FuseEval/ArenaHard 1``. Scores by different protocols are
    not comparable."""
    modified: bool | None = None
    """Whether the spec overrides a part of the protocol. The scores are then not comparable with published ones."""
    judge: Annotated[str, Field(max_length=256)] | None = None
    """The model that judged the responses. Scores by different judges are not comparable."""
    scores: Annotated[list[ModelScore], Field(max_length=16)] = []
    """Score of each model, with its interval."""
    differences: Annotated[list[ModelDifference], Field(max_length=16)] = []
    """Differences of the models, question by question."""


class GroupResult(Contract):
    """Average scores over a group of the benchmarks of the paper, beside those that its authors published.

    The averages are over the benchmarks of the group that the run has, on both sides.
    """

    group: Annotated[str, Field(max_length=32)]
    """Name of the group: InstructionFollowing, General, Mathematics, Coding or All."""
    benchmarks: int
    """Number of benchmarks in the average."""
    modified: int | None = None
    """Number of these benchmarks whose protocol the spec overrides in part."""
    base: float | None = None
    """Average of the target before training."""
    sft: float | None = None
    """Average after SFT."""
    final: float | None = None
    """Average of the final model."""
    published_target: Annotated[str, Field(max_length=64)] | None = None
    """The target whose published scores are shown."""
    published_base: float | None = None
    """Published average of the target before training."""
    published_sft: float | None = None
    """Published average after SFT."""
    published_final: float | None = None
    """Published average of the final model."""


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
