"""The values that a succeeded pod reports: one class per kind of stage, as ``tasks/parameters.py`` has for tasks.

Every field has a default: a value that the status cannot contain is left out, and the rest of the result is kept.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator

from fusionrun.api.contract import Contract
from fusionrun.api.records import DropReason
from fusionrun.api.stage import StageKind
from fusionrun.api.storable import Count, Counts, Number, Numbers, OptionalCount


class Resolved(Contract):
    """The pins of the references, and the artifacts that exist."""

    kind: Literal[StageKind.RESOLVE] = StageKind.RESOLVE
    pins: list[str] = []
    """12 hexadecimal digits per reference, in the order of the task."""
    complete: list[int] = []
    """Indexes of the planned stages whose artifact is complete."""
    parameters: list[OptionalCount] = []
    """Number of parameters of each model, in the order of the task's references to models; None if it is unknown."""
    weights_bytes: list[Count] = []
    """Size of the weights of each model, in the same order; 0 if it is unknown."""
    licences: list[str | None] = []
    """Licence of each model that restricts training on its outputs, and its terms in short, in the same order."""
    memory_bytes: Counts = {}
    """Expected memory of one GPU, by the field of the spec."""
    disk_bytes: Count = 0
    """Bytes that the run is expected to write to its claim."""


class Fetched(Contract):
    """A downloaded model."""

    kind: Literal[StageKind.FETCH] = StageKind.FETCH
    files: Count = 0
    bytes: Count = 0


class Prepared(Contract):
    """Prompts that were kept, and those that were dropped before generation."""

    kind: Literal[StageKind.PREPARE] = StageKind.PREPARE
    prompts: Count = 0
    duplicates: Count = 0
    near_duplicates: Count = 0
    code: Count = 0
    mathematics: Count = 0
    contaminated: Count = 0
    over_limit: Count = 0
    bad_rows: Count = 0
    no_tests: Count = 0
    by_dataset: Counts = {}
    """Kept prompts by data set or benchmark; empty if the result would have been too long."""

    @property
    def drops(self) -> dict[DropReason, int]:
        """Dropped prompts by reason."""
        return {
            DropReason.DUPLICATE: self.duplicates,
            DropReason.NEAR_DUPLICATE: self.near_duplicates,
            DropReason.CODE: self.code,
            DropReason.MATHEMATICS: self.mathematics,
            DropReason.CONTAMINATED: self.contaminated,
            DropReason.OVER_LIMIT: self.over_limit,
            DropReason.BAD_ROW: self.bad_rows,
            DropReason.NO_TESTS: self.no_tests,
        }


class Preflighted(Contract):
    """What a preflight stage measured: of ``training`` all but ``pairs``, of ``reward`` only ``pairs``."""

    kind: Literal[StageKind.PREFLIGHT] = StageKind.PREFLIGHT
    sft_step_seconds: Number = None
    """Seconds of an optimizer step of SFT, every row at the maximum length."""
    dpo_step_seconds: Number = None
    """Seconds of an optimizer step of DPO, every row at the maximum length."""
    sft_tokens_per_second: Number = None
    """Tokens of all processes, including those without a loss."""
    dpo_tokens_per_second: Number = None
    """Tokens of chosen and rejected together, of all processes."""
    gpu_memory_bytes: OptionalCount = None
    """Peak of the memory that torch reserved on one GPU; None on CPUs."""
    gpu: str | None = None
    """Name of the GPU; None on CPUs."""
    bandwidth: Number = None
    """Bus bandwidth of an all-reduce over all processes, in bytes per second; None for one process."""
    pairs: OptionalCount = None
    """Calibration pairs that the reward model orders correctly."""


class Generated(Contract):
    """Responses of one source to one shard of prompts."""

    kind: Literal[StageKind.GENERATE] = StageKind.GENERATE
    requests: Count = 0
    """Samples that are stored, including failed ones."""
    responses: Count = 0
    truncated: Count = 0
    blank: Count = 0
    """Responses without a text, for example with reasoning only."""
    errors: Count = 0
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    cost_micro: OptionalCount = None
    """Cost in millionths; None if the endpoint has no prices."""
    tokens_per_second: Number = None


class Verified(Contract):
    """Verdicts on one shard of responses."""

    kind: Literal[StageKind.VERIFY] = StageKind.VERIFY
    right: Count = 0
    wrong: Count = 0
    unknown: Count = 0


class Scored(Contract):
    """Reward-model scores of one shard of responses."""

    kind: Literal[StageKind.SCORE] = StageKind.SCORE
    scored: Count = 0
    unscored: Count = 0


class DatasetCounts(Contract):
    """Training data from one data set."""

    sft_rows: Count = 0
    pairs: Count = 0
    """Including held-out pairs."""


class SourceCounts(Contract):
    """Training data from one source."""

    sft_rows: Count = 0
    pairs: Count = 0
    """Without held-out pairs."""
    win_rate: Number = None
    """Share of the contested prompts whose best response is this source's."""


class Constructed(Contract):
    """The SFT rows and preference pairs of a run."""

    kind: Literal[StageKind.CONSTRUCT] = StageKind.CONSTRUCT
    sft_rows: Count = 0
    pairs: Count = 0
    held_out_pairs: Count = 0
    truncated_share: Number = None
    mean_margin: Number = None
    by_source: dict[str, SourceCounts] = {}
    """A missing source has no rows and no pairs."""
    by_dataset: dict[str, DatasetCounts] | None = None
    """None if the result would have been too long."""
    drops: Counts = {}
    """Dropped prompts by ``records.DropReason``, including those that ``prepare`` dropped."""


class Trained(Contract):
    """A trained model. The last loss and the accuracies are means over a tenth of the steps."""

    kind: Literal[StageKind.SFT, StageKind.DPO]
    rows: Count = 0
    dropped_long: Count = 0
    tokens: Count = 0
    steps: Count = 0
    first_loss: Number = None
    last_loss: Number = None
    first_reward_accuracy: Number = None
    """``dpo`` only."""
    last_reward_accuracy: Number = None
    """``dpo`` only."""


class Promoted(Contract):
    """The DPO checkpoint that becomes the final model."""

    kind: Literal[StageKind.PROMOTE] = StageKind.PROMOTE
    step: Count = 0
    candidates: Count = 0
    held_out_pairs: Count = 0
    held_out_accuracy: Number = None
    held_out_loss: Number = None
    """Mean DPO loss of the selected checkpoint on the held-out pairs."""
    held_out_loss_difference: Number = None
    """Mean difference of the losses per pair: later less earlier candidate. None with one candidate."""
    held_out_loss_standard_error: Number = None
    """Standard error of this difference; None with one candidate or fewer than two pairs."""


class Judged(Contract):
    """Judgements on one shard of responses."""

    kind: Literal[StageKind.JUDGE] = StageKind.JUDGE
    judgements: Count = 0
    """Stored replies, including failed requests."""
    unparsed: Count = 0
    """Replies without a usable verdict, after all attempts."""
    errors: Count = 0
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    cost_micro: OptionalCount = None
    """Cost in millionths; None if the endpoint has no prices."""


class Evaluated(Contract):
    """Scores of one model."""

    kind: Literal[StageKind.EVALUATE] = StageKind.EVALUATE
    scores: Numbers = {}
    """By benchmark, in its unit."""
    graded: Counts = {}
    """Prompts by benchmark."""
    lower: Numbers = {}
    """Lower bound of the 95 % interval, by benchmark."""
    upper: Numbers = {}
    """Upper bound of the 95 % interval, by benchmark."""
    unscored: dict[str, str] = {}
    """Why a benchmark has no score, by benchmark."""


class Difference(Contract):
    """The difference of two models on a benchmark, in its unit."""

    delta: Number = None
    lower: Number = None
    upper: Number = None
    """95 % interval of the difference."""
    p_value: Number = None
    """Of a paired test of no difference, corrected for the number of benchmarks."""
    prompts_needed: OptionalCount = None
    """Prompts with which a difference of this size is significant in 4 of 5 evaluations; None if it is 0."""

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return dict(zip(cls.model_fields, value, strict=False)) if isinstance(value, list) else value

    @model_serializer
    def _to_list(self) -> list[float | None]:
        """Return the values in their order: the names of the fields would take most of a termination message."""
        values: list[float | None] = [getattr(self, name) for name in type(self).model_fields]
        while values and values[-1] is None:
            values.pop()
        return values


class Compared(Contract):
    """Differences of models."""

    kind: Literal[StageKind.COMPARE] = StageKind.COMPARE
    differences: dict[str, dict[str, Difference]] = {}
    """By pair of models, such as ``final-base``, then by benchmark."""


class Published(Contract):
    """A published model and data set."""

    kind: Literal[StageKind.PUBLISH] = StageKind.PUBLISH


Values = Annotated[
    Resolved
    | Fetched
    | Prepared
    | Preflighted
    | Generated
    | Verified
    | Scored
    | Constructed
    | Trained
    | Promoted
    | Judged
    | Evaluated
    | Compared
    | Published,
    Field(discriminator="kind"),
]
