"""The recipe's data sets: columns, sources and excluded subjects. ``api.published.repositories`` has their locations.

Source of the list: README of FuseChat-3.0 (SLIT-AI/FuseChat-3.0), "Data Construction" and the table "Datasets". Sources
of the schemas:

- UltraFeedback: README of OpenBMB/UltraFeedback (six JSON Lines files; ``source``, ``instruction``, ``models``,
  ``completions``, ``correct_answers``, ``incorrect_answers``).
- Magpie-Pro-DPO-100K-v0.1: the card of its Korean translation, which has the same columns
  (youjunhyeok/Magpie-Pro-DPO-100K-v0.1-ko); the labels "Coding & Debugging" and "Math" of ``task_category``: programs
  that read Magpie's data sets.
- HelpSteer2: its card (``prompt``, ``response``, five ratings; ``train.jsonl.gz``; two rows per prompt; each turn
  after the first in ``prompt`` begins with a line ``<extra_id_1>Assistant`` or ``<extra_id_1>User``, as in the prompts
  that NVIDIA's NeMo-Aligner builds).
- OpenMathInstruct-2: programs that read it (``problem``, ``generated_solution``, ``expected_answer``,
  ``problem_source``; splits ``train``, ``train_1M``, ``train_2M``, ``train_5M`` in one folder).
- alpaca_gpt4_zh: Alpaca's format (``instruction``, ``input``, ``output``), as LLaMA-Factory reads it.
- Magpie-Qwen2-Pro-200K-Chinese: the card of Magpie-Qwen2-Pro-300K-Filtered, by the same authors and pipeline, and
  programs that read it (``instruction``, ``conversations``, ``task_category``). Its card was not checked.
- leetcode (greengerong/leetcode): programs that read it (``id``, ``title``, ``difficulty``, ``content``, a solution per
  language: ``java``, ``c++``, ``python``, ``javascript``); no tests.
- LeetCodeDataset (newfacade/LeetCodeDataset): its files (``query``, ``prompt``: imports and the classes of lists and
  trees, ``completion``: a program that needs them, ``entry_point``, ``test``).
- self-oss-instruct-sc2-exec-filter-50k: bigcode-project/starcoder2-self-align, ``src/star_align/sanitize_data.py``
  (``instruction`` ends in the tests where they are short; ``response`` is the program that passed them).
"""

from dataclasses import dataclass
from math import ceil

from fusionrun.api.published.sizes import PUBLISHED
from fusionrun.api.spec.data import PROMPTS_MAX, Columns, Preset, Subject, Task, TestsFrom, Turns

FOUR_SOURCES = ("gemma-2-27b-it", "Mistral-Large-Instruct-2407", "Qwen2.5-72B-Instruct", "Llama-3.1-70B-Instruct")
"""Source: README, "Response Sampling"."""

CHINESE_SOURCES = ("Qwen2.5-72B-Instruct",)
"""Source: README, "Data Construction": only Qwen-2.5-72B-Instruct generates Chinese responses."""

MATHEMATICS_SOURCES = ("Qwen2.5-Math-72B-Instruct",)
"""Source: README, "Response Sampling": in addition to the responses in OpenMathInstruct-2."""

NEAR_DUPLICATES = 0.8
"""Project: the recipe has no such step. Source of 0.8: Lee et al. 2022 (arXiv 2107.06499), section 4.2."""

DROPPED_SHARE = {Task.INSTRUCTION: 0.2, Task.CODING: 0.2, Task.SFT_ONLY: 0.05}
"""Expected share of the prompts after ``maxPrompts`` that become neither a row nor a pair. Project.

- Instruction: prompts without a pair within the margin. UltraFeedback has about 64,000 prompts, of which 51,098 were
  kept: all filters of the authors together, including those for code and mathematics, dropped one in five.
- Coding: prompts without a correct response. 1,877 of leetcode's 2,360 prompts became an SFT row (docs/data.md).
- SftOnly: only failed and truncated responses are dropped.

Mathematics has no share: the number of problems in its only preset is known.
"""


KEPT_RESPONSES = 5
"""Kept responses per problem of OpenMathInstruct-2, which has about 23 (230,000 rows of 10,000 problems in a sample).
Project: the recipe does not say how many it keeps. 5 is the number of samples of the other sources: the best of more
responses has a higher score, so a source with more of them would win more problems. The kept responses all have the
reference answer, so more of them give no further pair, and each is scored."""


@dataclass(frozen=True)
class PresetData:
    """A data set of the recipe."""

    task: Task
    columns: Columns
    sources: tuple[str, ...] = FOUR_SOURCES
    """Ends of the names of the models that respond to its prompts."""
    turns: Turns | None = None
    responses: str | None = None
    """Column of the responses that the recipe keeps."""
    responses_model: str | None = None
    """Name of the model that wrote them."""
    max_responses: int | None = None
    """Number of them per prompt."""
    excluded: tuple[Subject, ...] = ()
    """Subjects that the recipe removes. Source: README, "Data Construction": "excluding code and math data"."""
    near_duplicates: float | None = None
    prompts: int | None = None
    """Number of prompts that the authors used, if published."""
    tests_from: TestsFrom | None = None
    """Where the tests are, unless they are in a column."""
    instead: Preset | None = None
    """If the public data set has no tests: a preset that has problems of the same kind with tests."""


def _general(
    columns: Columns,
    task: Task = Task.INSTRUCTION,
    sources: tuple[str, ...] = FOUR_SOURCES,
    turns: Turns | None = None,
) -> PresetData:
    """Return a data set of general prompts, from which code and mathematics are removed."""
    return PresetData(task, columns, sources, turns=turns, excluded=tuple(Subject), near_duplicates=NEAR_DUPLICATES)


_PRESETS: dict[Preset, PresetData] = {
    Preset.ULTRA_FEEDBACK: _general(Columns(prompt="instruction")),
    Preset.MAGPIE_PRO_DPO: _general(Columns(prompt="instruction", category="task_category")),
    Preset.HELP_STEER_2: _general(
        Columns(prompt="prompt"),
        # Project: the recipe does not mention the turns. The authors published prompts as lists of messages.
        turns=Turns.ALL,
    ),
    # Near-duplicates are kept: two problems that differ in one number are different problems.
    Preset.OPEN_MATH_INSTRUCT_2: PresetData(
        Task.MATHEMATICS,
        Columns(prompt="problem", answer="expected_answer"),
        MATHEMATICS_SOURCES,
        responses="generated_solution",
        # Source: README of FuseChat-3.0, "Response Sampling".
        responses_model="Llama-3.1-405B-Instruct",
        max_responses=KEPT_RESPONSES,
        # Source: README of FuseChat-3.0 (December 2024): "nearly 60,000 unique samples".
        prompts=60_000,
    ),
    Preset.LEETCODE: PresetData(Task.CODING, Columns(prompt="content"), instead=Preset.LEETCODE_DATASET),
    Preset.LEETCODE_DATASET: PresetData(
        Task.CODING,
        Columns(prompt="query", tests="test", entry_point="entry_point", preamble="prompt", solution="completion"),
    ),
    Preset.SELF_OSS_INSTRUCT: PresetData(
        Task.CODING,
        Columns(prompt="instruction", solution="response"),
        tests_from=TestsFrom.PROMPT,
        # Source: README of FuseChat-3.0 (December 2024), column "Total" of the table "Datasets".
        prompts=13_696,
    ),
    Preset.ALPACA_GPT4_ZH: _general(
        Columns(prompt="instruction", context="input"),
        Task.SFT_ONLY,
        CHINESE_SOURCES,
    ),
    Preset.MAGPIE_QWEN2_CHINESE: _general(
        Columns(prompt="instruction", category="task_category"),
        Task.SFT_ONLY,
        CHINESE_SOURCES,
    ),
}


def preset_data(preset: Preset) -> PresetData:
    """Return the data set of a preset."""
    return _PRESETS[preset]


def default_max_prompts(preset: Preset, max_kept: int) -> int:
    """Return the number of prompts of a preset that give about ``max_kept`` rows and pairs.

    A prompt becomes one row or one pair. Only a Coding prompt can become both: for those presets, the published number
    of SFT rows is the number of prompts.
    """
    known, published = _PRESETS[preset], PUBLISHED[preset]
    useful = published.sft_rows if known.task is Task.CODING else published.total
    prompts = known.prompts or ceil(useful / (1 - DROPPED_SHARE[known.task]))
    return min(-(-prompts * max_kept // published.total), PROMPTS_MAX)
