"""What a run reads and how it becomes training data: data sets, construction, benchmarks."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.models import Name, Revision, Sampling, ServerSettings, Uri

ColumnName = Annotated[str, Field(min_length=1, max_length=128)]

PROMPTS_MAX = 100_000_000
"""Most prompts of one data set that a bound can name."""

SHARDS_MAX = 4096
"""Most shards, and so most pods, of one stage."""


class Task(StrEnum):
    """What kind of prompts a data set holds, and so how its responses are judged (recipe.md).

    Source: FuseChat-3.0 (arXiv 2503.04222), data construction; ``SftOnly`` is its Chinese subset.
    """

    INSTRUCTION = "Instruction"
    MATHEMATICS = "Mathematics"
    CODING = "Coding"
    SFT_ONLY = "SftOnly"


class Subject(StrEnum):
    """What a prompt may be about that a general data set is not meant to hold."""

    CODE = "Code"
    MATHEMATICS = "Mathematics"


class Columns(Contract):
    """Which column of the data set holds what.

    A column may be a path into a nested one: ``conversations[0].value``.
    """

    prompt: ColumnName = "prompt"
    context: ColumnName | None = None
    """Text that continues the prompt on a new line where it is not empty, such as Alpaca's ``input``."""
    answer: ColumnName | None = None
    """Gold answer (Mathematics) or reference (benchmarks graded by exact match)."""
    tests: ColumnName | None = None
    """Test program: a string, or a list of statements (Coding)."""
    entry_point: ColumnName | None = None
    """Name of the function under test, for tests that call ``check(candidate)``."""
    solution: ColumnName | None = None
    """Reference solution (Coding): a prompt whose own solution fails its tests is asked of nobody."""
    category: ColumnName | None = None
    """Label of what the prompt is about, by which ``excludedSubjects`` goes; without it the words decide."""

    def named(self) -> list[str]:
        """Return the columns that are named, in the order of the fields."""
        return [column for column in self.model_dump().values() if column]


class Preset(StrEnum):
    """The data sets of the recipe, with their columns and tasks known."""

    ULTRA_FEEDBACK = "UltraFeedback"
    MAGPIE_PRO_DPO = "Magpie-Pro-DPO-100K"
    HELP_STEER_2 = "HelpSteer2"
    OPEN_MATH_INSTRUCT_2 = "OpenMathInstruct-2"
    LEETCODE = "leetcode"
    SELF_OSS_INSTRUCT = "self-oss-instruct-sc2-exec-filter-50k"
    ALPACA_GPT4_ZH = "alpaca_gpt4_zh"
    MAGPIE_QWEN2_CHINESE = "Magpie-Qwen2-Pro-200K-Chinese"


class Dataset(Contract):
    """Prompts, and what is asked of whom."""

    name: Name
    preset: Preset | None = None
    uri: Uri | None = None
    revision: Revision | None = None
    split: Annotated[str, Field(max_length=64)] = "train"
    task: Task
    columns: Columns | None = None
    sources: Annotated[list[Name], Field(min_length=1, max_length=32)] | None = None
    """The sources that answer. Left out: all of them but those of type Dataset."""
    responses_columns: Annotated[dict[Name, ColumnName], Field(max_length=32)] | None = None
    """For sources of type Dataset: the column that holds their responses."""
    samples_per_prompt: Annotated[int, Field(ge=1, le=128)] | None = None
    """Responses per prompt and source. Left out: the recipe's (Instruction 5, Coding 8, Mathematics 5, SftOnly 1)."""
    max_prompts: Annotated[int, Field(ge=1, le=PROMPTS_MAX)] | None = None
    """Most prompts that are asked; of more, a seeded choice. Left out: for a preset enough for maxKept, else all."""
    max_kept: Annotated[int, Field(ge=1, le=PROMPTS_MAX)] | None = None
    """Most SFT rows plus pairs; of more, a seeded choice of prompts. Left out: for a preset the recipe's, else all."""
    excluded_subjects: Annotated[list[Subject], Field(max_length=2)] | None = None
    """Prompts about these are dropped and counted. Left out: what the recipe removes from a preset, else nothing."""
    near_duplicate_threshold: Annotated[float, Field(ge=0, le=0.95)] | None = None
    """Drop prompts whose word 3-grams are so like those of an earlier one of the same task and threshold (Jaccard).

    0 drops only the very same prompts. Left out: 0.8 for the presets of general prompts, else 0.
    """


class RewardMargin(Contract):
    """Window of the reward difference of a pair, both ends included."""

    min: Annotated[float, Field(ge=0)]
    max: Annotated[float, Field(gt=0)]


class Generation(Contract):
    """How responses are gathered."""

    shards: Annotated[int, Field(ge=1, le=SHARDS_MAX)] = 4
    """Parts that the prompts are split into; each is one pod of an Indexed Job."""
    parallelism: Annotated[int, Field(ge=1, le=256)] = 2
    """Shards worked on at once per source."""
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 64
    """Requests under way at once per shard, at first: a served model's queue is kept just full, an endpoint's limit is
    found out."""
    max_concurrency: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Most requests under way at once per shard. Left out: four times ``concurrency``; the same as ``concurrency``
    fixes their number."""
    stall_seconds: Annotated[int, Field(ge=10, le=86400)] = 600
    """No token accepted for so long means that the server is wedged."""


class Construction(Contract):
    """How judged responses become SFT rows and preference pairs."""

    reward_margin: RewardMargin | None = None
    """Left out: the recipe's 0.01 to 0.1, which is ArmoRM's scale and right for that model only."""
    sft_fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the Instruction prompts that go to SFT; the rest go to DPO. Left out: the recipe's 0.4."""
    held_out_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Share of the pairs that training never sees, by which ``promote`` chooses a checkpoint."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 42


class Grader(StrEnum):
    """How a benchmark's answers are graded."""

    MATHEMATICS = "Mathematics"
    CODING = "Coding"
    EXACT_MATCH = "ExactMatch"


class Benchmark(Contract):
    """Held-out prompts with a rule that grades the answers."""

    name: Name
    uri: Uri
    revision: Revision | None = None
    split: Annotated[str, Field(max_length=64)] = "test"
    grader: Grader
    columns: Columns | None = None
    max_prompts: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class GateBaseline(StrEnum):
    """Which model's score the final model is compared with."""

    BASE = "Base"
    SFT = "Sft"


class Gate(Contract):
    """A condition on the final model: its score on a benchmark against a baseline's."""

    benchmark: Name
    against: GateBaseline = GateBaseline.BASE
    min_delta: Annotated[float, Field(ge=-100, le=100)] = 0.0
    """Least difference, in percentage points."""


class Evaluation(Contract):
    """How base, SFT and final model are measured."""

    benchmarks: Annotated[list[Benchmark], Field(max_length=64)] = []
    sampling: Sampling | None = None
    """Left out: greedy, 2048 tokens, as the recipe evaluates mathematics."""
    server: ServerSettings | None = None
    gate: Annotated[list[Gate], Field(max_length=64)] = []
