"""Fields of a FusionRun on data: data sets, generation and construction."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.spec.models import Name, Revision, Uri

ColumnName = Annotated[str, Field(min_length=1, max_length=128)]

PROMPTS_MAX = 100_000_000
"""Largest limit on the prompts of one data set."""

SHARDS_MAX = 4096
"""Maximum number of shards, and so of pods, of one stage."""


class Task(StrEnum):
    """Kind of prompts in a data set, which decides how its responses are judged (docs/data.md).

    Source: FuseChat-3.0 (arXiv 2503.04222), data construction. ``SftOnly`` is its Chinese subset.
    """

    INSTRUCTION = "Instruction"
    MATHEMATICS = "Mathematics"
    CODING = "Coding"
    SFT_ONLY = "SftOnly"


class Subject(StrEnum):
    """Subject of the prompts that a general data set should not contain."""

    CODE = "Code"
    MATHEMATICS = "Mathematics"


class Columns(Contract):
    """Names of the columns. A name may be a path into nested data: ``conversations[0].value``."""

    prompt: ColumnName = "prompt"
    """Column of the prompt: a text, or a chat whose first user message is the prompt."""
    context: ColumnName | None = None
    """Column of a text that is appended to the prompt on a new line, such as Alpaca's ``input``. If omitted, nothing is
    appended."""
    answer: ColumnName | None = None
    """Column of the reference answer. Required for task Mathematics and for graders Mathematics and ExactMatch. If
    omitted, no reference answer is read."""
    tests: ColumnName | None = None
    """Column of the tests: a program, or a list of statements. Required for task Coding, unless the tests are in the
    prompt (``testsFrom``), and for grader Coding. If omitted, no tests are read."""
    entry_point: ColumnName | None = None
    """Column of the name of the tested function, for tests that define ``check(candidate)``. If omitted, the tests run
    as they are."""
    preamble: ColumnName | None = None
    """Column of code that comes before each program and its tests, such as imports, ``class ListNode`` or helper
    functions of the tests. Models do not see it. For coding only. If omitted, programs run without it."""
    solution: ColumnName | None = None
    """Column of a reference solution, for task Coding. Prompts whose reference solution fails its own tests are dropped
    before generation. If omitted, reference solutions are not tested."""
    category: ColumnName | None = None
    """Column of the prompt's subject, for ``excludedSubjects``. If omitted, the subject is detected from the words of
    the prompt."""

    def named(self) -> list[str]:
        """Return the names that are set, in the order of the fields."""
        return [column for column in self.model_dump().values() if column]


class Preset(StrEnum):
    """Data sets of the recipe, with known location and columns."""

    ULTRA_FEEDBACK = "UltraFeedback"
    MAGPIE_PRO_DPO = "Magpie-Pro-DPO-100K"
    HELP_STEER_2 = "HelpSteer2"
    OPEN_MATH_INSTRUCT_2 = "OpenMathInstruct-2"
    LEETCODE = "leetcode"
    LEETCODE_DATASET = "LeetCodeDataset"
    SELF_OSS_INSTRUCT = "self-oss-instruct-sc2-exec-filter-50k"
    ALPACA_GPT4_ZH = "alpaca_gpt4_zh"
    MAGPIE_QWEN2_CHINESE = "Magpie-Qwen2-Pro-200K-Chinese"


class TestsFrom(StrEnum):
    """Where the tests of a data set of task Coding are."""

    COLUMN = "Column"
    PROMPT = "Prompt"


class Turns(StrEnum):
    """The turns of a conversation that are the prompt."""

    FIRST = "First"
    ALL = "All"


class Dataset(Contract):
    """A data set of prompts, and the sources that respond to them."""

    name: Name
    """Unique name of the data set."""
    preset: Preset | None = None
    """A data set of the recipe, with known location and columns. Exactly one of ``preset`` and ``uri`` is required."""
    uri: Uri | None = None
    """Location of the data set: ``hf://org/name`` on the hub, ``pvc://claim/path`` on the run's claim, or
    ``s3://bucket/key``. It is a file or folder of Parquet, JSON Lines, JSON or CSV. Exactly one of ``preset`` and
    ``uri`` is required."""
    revision: Revision | None = None
    """Commit, branch or tag, for ``hf://``. A branch or tag is pinned to its commit when the run starts. If omitted,
    the branch ``main`` is used."""
    split: Annotated[str, Field(max_length=64)] = "train"
    """Split of the data set, found by the names of files and folders."""
    task: Task
    """How responses are judged: Instruction (reward model only), Mathematics (final answer against the reference
    answer), Coding (tests in the sandbox) or SftOnly (not judged; one response per prompt, for SFT only)."""
    columns: Columns | None = None
    """Names of the columns. A name may be a path into nested data: ``conversations[0].value``. If set, it replaces all
    columns of a preset."""
    tests_from: TestsFrom | None = None
    """Where the tests of task Coding are: Column (``columns.tests``) or Prompt (a block of code at the end of the
    prompt, after the sentence "Your code should pass the following assertion:", or "assertions" or "test case"). The
    prompt keeps the block. Prompts without it are dropped."""
    turns: Turns | None = None
    """Turns of a conversation that are the prompt: First (the first user turn) or All (all turns up to the last user
    turn). A conversation is a chat, or a text whose turns begin with a line such as ``<extra_id_1>Assistant``, as in
    HelpSteer2."""
    sources: Annotated[list[Name], Field(min_length=1, max_length=32)] | None = None
    """Names of the sources that respond to the prompts. Exactly one for task SftOnly."""
    responses_columns: Annotated[dict[Name, ColumnName], Field(max_length=32)] | None = None
    """Column of the responses of each source of type Dataset, by the source's name."""
    samples_per_prompt: Annotated[int, Field(ge=1, le=128)] | None = None
    """Number of responses per prompt and source."""
    max_responses_per_prompt: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Maximum number of the data set's own responses (``responsesColumns``) per prompt and source. If there are more,
    a seeded sample of different responses is used."""
    max_prompts: Annotated[int, Field(ge=1, le=PROMPTS_MAX)] | None = None
    """Maximum number of prompts that sources respond to. If there are more, a seeded sample is used."""
    max_kept: Annotated[int, Field(ge=1, le=PROMPTS_MAX)] | None = None
    """Maximum number of SFT rows plus preference pairs. If there are more, a seeded sample of prompts is used."""
    excluded_subjects: Annotated[list[Subject], Field(max_length=2)] | None = None
    """Prompts about these subjects are dropped."""
    near_duplicate_threshold: Annotated[float, Field(ge=0, le=0.95)] | None = None
    """Jaccard similarity of word 3-grams from which a prompt counts as a near-duplicate of an earlier prompt and is
    dropped. Only prompts of the same task and threshold are compared. 0 drops exact duplicates only."""


class RewardMargin(Contract):
    """Bounds, inclusive, of the score difference between the chosen and the rejected response of a pair."""

    min: Annotated[float, Field(ge=0)]
    """Smallest score difference."""
    max: Annotated[float, Field(gt=0)]
    """Largest score difference."""


class Generation(Contract):
    """How sources generate responses."""

    shards: Annotated[int, Field(ge=1, le=SHARDS_MAX)] = 4
    """Number of parts that the prompts are split into. Each part is one pod of an Indexed Job."""
    parallelism: Annotated[int, Field(ge=1, le=256)] = 2
    """Maximum number of shards that run at the same time, per source."""
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 64
    """Initial number of in-flight requests per shard. It then adapts to vLLM's queue length. For other servers, it
    increases by one per round of responses, and is halved after status 429 or 503."""
    max_concurrency: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Maximum number of in-flight requests per shard. If equal to ``concurrency``, the number is fixed."""
    stall_seconds: Annotated[int, Field(ge=10, le=86400)] = 600
    """Seconds without a new token after which a server is considered stalled."""


class Construction(Contract):
    """How judged responses become SFT rows and preference pairs."""

    reward_margin: RewardMargin | None = None
    """Bounds, inclusive, of the score difference between the chosen and the rejected response of a pair. They depend on
    the scale of the reward model."""
    sft_fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the prompts of task Instruction that become SFT rows. The others become preference pairs."""
    held_out_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Share of the preference pairs that are not used for training. They select the better of the last two DPO
    checkpoints."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 42
    """Seed of every random choice in the data, and of sampling."""
