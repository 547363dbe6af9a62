"""The recipe's data sets: where they are, what their columns are called, who answers them and what is left out.

The list, and which repository each name means: README of FuseChat-3.0 (SLIT-AI/FuseChat-3.0), "Data Construction" and
the table "Datasets". Where each schema was found:

- UltraFeedback: README of OpenBMB/UltraFeedback (six JSON Lines files; ``source``, ``instruction``, ``models``,
  ``completions``, ``correct_answers``, ``incorrect_answers``).
- Magpie-Pro-DPO-100K-v0.1: the card of its Korean translation, which keeps the columns
  (youjunhyeok/Magpie-Pro-DPO-100K-v0.1-ko); the labels "Coding & Debugging" and "Math" of ``task_category`` as programs
  that read Magpie's sets compare it.
- HelpSteer2: its own card (``prompt``, ``response``, five ratings; ``train.jsonl.gz``; two rows per prompt; turns after
  the first follow ``<extra_id_1>`` markers within ``prompt``, which stays as it is: the recipe is silent).
- OpenMathInstruct-2: programs that read it (``problem``, ``generated_solution``, ``expected_answer``,
  ``problem_source``; splits ``train``, ``train_1M``, ``train_2M``, ``train_5M`` in one folder).
- alpaca_gpt4_zh: Alpaca's form (``instruction``, ``input``, ``output``), as LLaMA-Factory reads it.
- Magpie-Qwen2-Pro-200K-Chinese: the card of Magpie-Qwen2-Pro-300K-Filtered, of the same makers and pipeline, and
  programs that read it (``instruction``, ``conversations``, ``task_category``). Its own card was not at hand.
- leetcode (greengerong/leetcode): programs that read it (``id``, ``title``, ``difficulty``, ``content``, a solution per
  language: ``java``, ``c++``, ``python``, ``javascript``); no tests.
- self-oss-instruct-sc2-exec-filter-50k: programs that read it (``instruction``, ``response``); the tests by which
  bigcode-project/starcoder2-self-align filtered it are in no column known to us. Its own card was not at hand.
"""

from dataclasses import dataclass
from math import ceil

from fusionrun.api.data import PROMPTS_MAX, Columns, Preset, Subject, Task
from fusionrun.api.sizes import PUBLISHED
from fusionrun.plan.recipe import SAMPLES_PER_PROMPT

FOUR_SOURCES = (
    "gemma-2-27b-it",
    "Mistral-Large-Instruct-2407",
    "Qwen2.5-72B-Instruct",
    "Llama-3.1-70B-Instruct",
)
"""Source: README, "Response Sampling"."""

CHINESE_SOURCES = ("Qwen2.5-72B-Instruct",)
"""Source: README, "Data Construction": Chinese responses come from Qwen-2.5-72B-Instruct alone."""

MATHEMATICS_SOURCES = ("Qwen2.5-Math-72B-Instruct",)
"""Source: README, "Response Sampling": beside the responses that OpenMathInstruct-2 holds."""

NEAR_DUPLICATES = 0.8
"""Ours: the recipe is silent on near duplicates. Source of 0.8: Lee et al. 2022 (arXiv 2107.06499), section 4.2."""

DROPPED_SHARE = {Task.INSTRUCTION: 0.2, Task.CODING: 0.2, Task.SFT_ONLY: 0.05}
"""Share of the prompts asked that is expected to give neither a row nor a pair. Ours; ``prepare`` filters before it
applies ``maxPrompts``, so this is for what falls later.

- Instruction: prompts without a pair in the margin. UltraFeedback has about 64,000 prompts and 51,098 were kept: all of
  the authors' filters together, that for code and mathematics included, dropped one in five.
- Coding: prompts that no response solves. docs/data.md: of leetcode's 2,360 prompts 1,877 gave an SFT row.
- SftOnly: only failed and cut responses are dropped.

Mathematics has no share: the one preset names its number of problems.
"""

LEETCODE_TESTS = (
    "hf://newfacade/LeetCodeDataset has problems of the same site with tests: "
    "columns {prompt: query, tests: test, entryPoint: entry_point}"
)


@dataclass(frozen=True)
class PresetData:
    """What is known of a data set of the recipe."""

    uri: str
    task: Task
    columns: Columns
    sources: tuple[str, ...]
    """How the names of the models end that answer it."""
    responses: str | None = None
    """The column of the responses that the recipe keeps."""
    excluded: tuple[Subject, ...] = ()
    """What the recipe removes. Source: README, "Data Construction": "excluding code and math data"."""
    near_duplicates: float | None = None
    prompts: int | None = None
    """How many prompts the authors asked, where they say so."""
    lacks_tests: str = ""
    """Where its public form has no tests: what to do."""

    @property
    def samples(self) -> int:
        """Responses per prompt and source."""
        return SAMPLES_PER_PROMPT[self.task]


def _general(uri: str, task: Task, columns: Columns, sources: tuple[str, ...]) -> PresetData:
    """Describe general prompts, from which code and mathematics are removed."""
    return PresetData(uri, task, columns, sources, excluded=tuple(Subject), near_duplicates=NEAR_DUPLICATES)


_PRESETS: dict[Preset, PresetData] = {
    Preset.ULTRA_FEEDBACK: _general(
        "hf://openbmb/UltraFeedback", Task.INSTRUCTION, Columns(prompt="instruction"), FOUR_SOURCES
    ),
    Preset.MAGPIE_PRO_DPO: _general(
        "hf://Magpie-Align/Magpie-Pro-DPO-100K-v0.1",
        Task.INSTRUCTION,
        Columns(prompt="instruction", category="task_category"),
        FOUR_SOURCES,
    ),
    Preset.HELP_STEER_2: _general("hf://nvidia/HelpSteer2", Task.INSTRUCTION, Columns(prompt="prompt"), FOUR_SOURCES),
    # No near duplicates are dropped here: two problems that differ in one number are two problems.
    Preset.OPEN_MATH_INSTRUCT_2: PresetData(
        "hf://nvidia/OpenMathInstruct-2",
        Task.MATHEMATICS,
        Columns(prompt="problem", answer="expected_answer"),
        MATHEMATICS_SOURCES,
        responses="generated_solution",
        # Source: README of FuseChat-3.0 (December 2024): "nearly 60,000 unique samples".
        prompts=60_000,
    ),
    Preset.LEETCODE: PresetData(
        "hf://greengerong/leetcode",
        Task.CODING,
        Columns(prompt="content"),
        FOUR_SOURCES,
        lacks_tests=LEETCODE_TESTS,
    ),
    Preset.SELF_OSS_INSTRUCT: PresetData(
        "hf://bigcode/self-oss-instruct-sc2-exec-filter-50k",
        Task.CODING,
        Columns(prompt="instruction"),
        FOUR_SOURCES,
        lacks_tests="write tests for its prompts into a column of your own copy",
    ),
    Preset.ALPACA_GPT4_ZH: _general(
        "hf://llamafactory/alpaca_gpt4_zh",
        Task.SFT_ONLY,
        Columns(prompt="instruction", context="input"),
        CHINESE_SOURCES,
    ),
    Preset.MAGPIE_QWEN2_CHINESE: _general(
        "hf://Magpie-Align/Magpie-Qwen2-Pro-200K-Chinese",
        Task.SFT_ONLY,
        Columns(prompt="instruction", category="task_category"),
        CHINESE_SOURCES,
    ),
}


def preset_data(preset: Preset) -> PresetData:
    """Return what is known of a preset's data set."""
    return _PRESETS[preset]


def default_max_kept(preset: Preset) -> int:
    """Return the recipe's number of SFT rows plus pairs."""
    return PUBLISHED[preset].total


def default_max_prompts(preset: Preset, max_kept: int) -> int:
    """Return how many prompts to ask of a preset so that about ``max_kept`` rows and pairs come of it.

    Every useful prompt gives one row or one pair, but a Coding prompt, which always gives a row and may give a pair,
    too: there the published SFT rows are the useful prompts.
    """
    known, published = _PRESETS[preset], PUBLISHED[preset]
    useful = published.sft_rows if known.task is Task.CODING else published.total
    asked = known.prompts or ceil(useful / (1 - DROPPED_SHARE[known.task]))
    return min(-(-asked * max_kept // published.total), PROMPTS_MAX)


def preset_uri(preset: Preset) -> str:
    """Return where a preset's data set is."""
    return _PRESETS[preset].uri


def preset_columns(preset: Preset) -> Columns:
    """Return the columns of a preset's data set."""
    return _PRESETS[preset].columns
