"""The recipe's numbers, repeated by hand from the published table; tests/objects/test_paper_run.py has the tasks."""

import re
from pathlib import Path

import pytest

from fusionrun.api.published.repositories import PRESET_URIS
from fusionrun.api.published.sizes import PUBLISHED
from fusionrun.api.spec.data import Preset, Subject, Task
from fusionrun.plan import recipe
from fusionrun.plan.presets import default_max_prompts, preset_data


def test_construction_and_evaluation_follow_the_published_rules():
    assert (recipe.REWARD_MARGIN.min, recipe.REWARD_MARGIN.max) == (0.01, 0.1)
    assert recipe.SFT_FRACTION == 0.4
    assert (recipe.EVALUATION_SAMPLING.temperature, recipe.EVALUATION_SAMPLING.max_tokens) == (0, 2048)


@pytest.mark.parametrize("preset", Preset, ids=str)
def test_a_preset_is_on_the_hub_and_has_the_columns_that_its_task_needs(preset):
    assert re.fullmatch(r"hf://[\w.-]+/[\w.-]+", PRESET_URIS[preset])
    assert preset_data(preset).columns.prompt
    known = preset_data(preset)
    assert (known.task is Task.MATHEMATICS) == bool(known.columns.answer)
    assert (known.task is Task.CODING) == bool(known.columns.tests or known.tests_from or known.instead)


@pytest.mark.parametrize(
    ("preset", "task", "samples", "sources", "general"),
    [
        (Preset.ULTRA_FEEDBACK, Task.INSTRUCTION, 5, 4, True),
        (Preset.MAGPIE_PRO_DPO, Task.INSTRUCTION, 5, 4, True),
        (Preset.HELP_STEER_2, Task.INSTRUCTION, 5, 4, True),
        (Preset.OPEN_MATH_INSTRUCT_2, Task.MATHEMATICS, 5, 1, False),
        (Preset.LEETCODE, Task.CODING, 8, 4, False),
        (Preset.LEETCODE_DATASET, Task.CODING, 8, 4, False),
        (Preset.SELF_OSS_INSTRUCT, Task.CODING, 8, 4, False),
        (Preset.ALPACA_GPT4_ZH, Task.SFT_ONLY, 1, 1, True),
        (Preset.MAGPIE_QWEN2_CHINESE, Task.SFT_ONLY, 1, 1, True),
    ],
)
def test_each_preset_is_that_of_the_table(preset, task, samples, sources, general):
    known = preset_data(preset)
    found = (known.task, recipe.SAMPLES_PER_PROMPT[known.task], len(known.sources))
    assert found == (task, samples, sources)
    assert (set(known.excluded) == set(Subject)) == general
    assert (known.near_duplicates is not None) == general


SIZES = re.findall(
    r"^\| ([\w.-]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$",
    (Path(__file__).parents[2] / "docs" / "data.md").read_text(),
    re.MULTILINE,
)


@pytest.mark.parametrize(("preset", "prompts", "kept", "sft", "pairs"), SIZES, ids=[row[0] for row in SIZES])
def test_each_preset_has_the_bounds_of_the_documented_table(preset, prompts, kept, sft, pairs):
    prompts, kept, sft, pairs = (int(cell.replace(",", "")) for cell in (prompts, kept, sft, pairs))
    published = PUBLISHED[Preset(preset)]
    assert (published.sft_rows, published.pairs, published.total) == (sft, pairs, kept)
    assert default_max_prompts(Preset(preset), kept) == prompts


def test_the_documented_table_has_every_preset_and_the_published_totals():
    """The totals are those of the README's last row. LeetCodeDataset takes the place of leetcode."""
    assert [row[0] for row in SIZES] == list(Preset)
    of_recipe = [size for preset, size in PUBLISHED.items() if preset is not Preset.LEETCODE_DATASET]
    assert PUBLISHED[Preset.LEETCODE_DATASET] == PUBLISHED[Preset.LEETCODE]
    assert sum(p.sft_rows for p in of_recipe) == 94_539
    assert sum(p.pairs for p in of_recipe) == 64_128


def test_every_constant_of_the_recipe_has_a_source():
    lines = Path(recipe.__file__).read_text().splitlines()
    block: list[str] = []
    for number, line in enumerate(lines):
        if re.match(r"[A-Z_0-9]+ = ", line):
            block.append(line.split(" = ")[0])
        if block and line.startswith('"""'):
            text = " ".join(lines[number : number + 4])
            assert "Source: " in text or "Project: " in text, block
            block.clear()
    assert not block
