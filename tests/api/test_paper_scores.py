"""The published scores, and averages as in the paper's table."""

import pytest

from fusionrun.api.published.paper_scores import (
    GROUPS,
    PUBLISHED,
    BenchmarkGroup,
    averaged,
    group_means,
    preset_of,
    row_of,
)
from fusionrun.api.spec.evaluation import BenchmarkPreset
from fusionrun.api.spec.models import Sampling
from fusionrun.api.stage import EvaluatedModel
from fusionrun.api.tasks.protocol import Protocol


@pytest.mark.parametrize("row", PUBLISHED.values(), ids=lambda row: row.target)
def test_the_published_scores_have_the_published_averages(row):
    """The authors averaged numbers with more digits than they show."""
    means = [group_means(row.of(model), row)[BenchmarkGroup.ALL] for model in EvaluatedModel]
    assert means == pytest.approx(row.average, abs=0.06)


def test_every_benchmark_is_in_one_group():
    groups = [members for group, members in GROUPS.items() if group is not BenchmarkGroup.ALL]
    assert sum(map(len, groups)) == len(BenchmarkPreset)
    assert frozenset().union(*groups) == GROUPS[BenchmarkGroup.ALL]
    assert [len(row.scores) for row in PUBLISHED.values()] == [14, 14, 14, 14, 13]


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("hf://meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct"),
        ("hf://Qwen/Qwen2.5-7B-Instruct", "Qwen-2.5-7B-Instruct"),
        ("pvc://claim/models/gemma-2-9b-it/", "Gemma-2-9B-It"),
        ("hf://meta-llama/Llama-3.2-3B-Instruct", "Llama-3.2-3B-Instruct"),
        ("hf://meta-llama/Llama-3.2-1B-Instruct", "Llama-3.2-1B-Instruct"),
        ("pvc://claim/llama-3.1-8b/other", None),
        ("hf://HuggingFaceTB/SmolLM2-135M-Instruct", None),
    ],
)
def test_the_published_row_is_found_by_the_name_of_the_model(uri, target):
    row = row_of(uri)
    assert (row and row.target) == target


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("FuseEval/ArenaHard", BenchmarkPreset.ARENA_HARD),
        ("FuseEval/LiveBench-0831", BenchmarkPreset.LIVE_BENCH),
        ("FusionRun/MATH", None),
        ("FuseEval/Other", None),
    ],
)
def test_the_benchmark_of_the_paper_is_found_by_the_protocol(name, preset):
    assert preset_of(Protocol(name=name, version=1, sampling=Sampling(), grader="Choice")) is preset


def test_mmlu_and_mmlu_redux_are_one_column():
    both = frozenset({BenchmarkPreset.MMLU, BenchmarkPreset.MMLU_REDUX})
    assert averaged(both) == {BenchmarkPreset.MMLU_REDUX}
    assert averaged(both, PUBLISHED["llama3.21b"]) == {BenchmarkPreset.MMLU}
    assert averaged(frozenset({BenchmarkPreset.MMLU})) == {BenchmarkPreset.MMLU}
