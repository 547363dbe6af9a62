"""The sample of the paper's run, from its spec to the tasks that the pods get, for each target of the paper.

Every number is repeated by hand from the README and the paper of FuseChat-3.0 (docs/data.md marks which).
"""

import json
from pathlib import Path

import pytest

from fusionrun.api.tasks.task import StageTask, decode_task
from fusionrun.objects.render import render
from support.golden import SETTINGS
from support.plans import pinned_of

SAMPLE = json.loads((Path(__file__).parents[1] / "golden" / "llama-3-1-8b" / "run.json").read_text())
"""The sample ``manifests/samples/llama-3-1-8b.yaml``, as tests/crd/test_broken.py checks."""

TARGETS = {
    # model: family, learning rate of SFT, of DPO, beta, length-normalised
    "meta-llama/Llama-3.1-8B-Instruct": ("Llama3", 5e-6, 8e-7, 10, True),
    "Qwen/Qwen2.5-7B-Instruct": ("Qwen2.5", 2e-6, 3e-7, 0.01, False),
    "google/gemma-2-9b-it": ("Gemma2", 2e-6, 5e-7, 0.01, False),
    "meta-llama/Llama-3.2-3B-Instruct": ("Llama3Small", 5e-6, 1e-6, 10, True),
    "meta-llama/Llama-3.2-1B-Instruct": ("Llama3Small", 5e-6, 1e-6, 10, True),
}
FOUR = {"gemma", "mistral", "qwen", "llama"}
DATASETS = {
    # data set: task, samples per prompt and source, sources that are sampled, SFT rows plus pairs
    "ultrafeedback": ("Instruction", 5, FOUR, 51_098),
    "magpie": ("Instruction", 5, FOUR, 20_374),
    "helpsteer": ("Instruction", 5, FOUR, 9_435),
    "openmath": ("Mathematics", 5, {"qwen-math"}, 51_803),
    "leetcode": ("Coding", 8, FOUR, 3_113),
    "self-oss": ("Coding", 8, FOUR, 12_892),
    "alpaca-zh": ("SftOnly", 1, {"qwen"}, 2_471),
    "magpie-zh": ("SftOnly", 1, {"qwen"}, 7_481),
}
SAMPLING = {
    # source: temperature, top-p, repetition penalty
    "gemma": (0.8, 0.95, 1.0),
    "mistral": (0.8, 0.95, 1.0),
    "qwen": (0.7, 0.8, 1.05),
    "llama": (0.8, 0.95, 1.0),
    "qwen-math": (0.7, 0.8, 1.05),
}
BENCHMARKS = {
    # benchmark: tokens of a response, judge of the protocol
    "alpaca-eval-2": (4096, "gpt-4-1106-preview"),
    "arena-hard": (4096, "gpt-4-1106-preview"),
    "mt-bench": (1024, "gpt-4-0125-preview"),
    "align-bench": (4096, "gpt-4"),
    "live-bench": (4096, None),
    "mmlu-pro": (2048, None),
    "mmlu-redux": (2048, None),
    "gpqa-diamond": (2048, None),
    "gsm8k": (2048, None),
    "math": (2048, None),
    "amc-23": (2048, None),
    "human-eval": (2048, None),
    "mbpp": (2048, None),
    "live-code-bench": (2000, None),
}
PROGRAMS = {"live-bench", "human-eval", "mbpp", "live-code-bench"}
SAMPLED = {
    # family: temperature, top-p, top-k of AlpacaEval 2; the benchmarks with a system message
    "Llama3": ((0.6, 0.9, -1), {"gsm8k", "math", "amc-23", "live-code-bench"}),
    "Llama3Small": ((0.6, 0.9, -1), {"gsm8k", "math", "amc-23", "live-code-bench"}),
    "Qwen2.5": (
        (0.7, 0.8, 20),
        {"gsm8k", "math", "amc-23", "live-code-bench", "human-eval", "mbpp", "alpaca-eval-2", "arena-hard"},
    ),
    "Gemma2": ((0.5, 1.0, -1), set()),
}
ANSWERS = {"base": "eval-base", "sft": "eval-sft", "final": "eval-final"}


def tasks_of(model: str, family: str) -> dict[str, StageTask]:
    """Return the task in the ConfigMap of each stage, by stage."""
    spec = json.loads(json.dumps(SAMPLE["spec"])) | {"target": {"family": family, "model": {"uri": f"hf://{model}"}}}
    pinned = pinned_of("paper", spec)
    objects = [m for stage in pinned.plan.stages for m in render(pinned, stage, 0, SETTINGS)]
    tasks = [decode_task(m["data"]["task.json"]) for m in objects if m["kind"] == "ConfigMap"]
    return {task.stage: task for task in tasks}


@pytest.fixture(scope="module")
def tasks() -> dict[str, StageTask]:
    model, (family, *_) = next(iter(TARGETS.items()))
    return tasks_of(model, family)


@pytest.mark.parametrize("model", TARGETS)
def test_training_has_the_numbers_of_the_target(model):
    family, sft_rate, dpo_rate, beta, normalised = TARGETS[model]
    found = tasks_of(model, family)
    sft, dpo = (found[stage].parameters for stage in ("sft", "dpo"))
    assert (sft.learning_rate, dpo.learning_rate) == (sft_rate, dpo_rate)
    assert (dpo.beta, dpo.length_normalized) == (beta, normalised)
    assert (sft.epochs, dpo.epochs) == (3, 1)
    for part in (sft, dpo):
        assert (part.global_batch_size, part.max_length, part.warmup_ratio) == (128, 2048, 0.1)
    assert (sft.save_steps, dpo.save_steps) == (None, 100)
    promote = found["promote"].parameters
    assert (promote.save_steps, promote.beta, promote.length_normalized) == (100, beta, normalised)


@pytest.mark.parametrize("source", SAMPLING)
def test_each_source_answers_its_data_sets_as_published(tasks, source):
    parameters = tasks[f"generate/{source}"].parameters
    sampling = parameters.sampling
    assert (sampling.temperature, sampling.top_p, sampling.repetition_penalty) == SAMPLING[source]
    assert sampling.top_k == -1
    wanted = {name: samples for name, (_, samples, sources, _) in DATASETS.items() if source in sources}
    assert parameters.samples_per_prompt == wanted


def test_construction_has_the_margins_the_split_and_the_sizes(tasks):
    construct = tasks["construct"].parameters
    assert construct.tasks == {name: task for name, (task, *_) in DATASETS.items()}
    assert construct.max_kept == {name: total for name, (*_, total) in DATASETS.items()}
    assert (construct.reward_margin.min, construct.reward_margin.max) == (0.01, 0.1)
    assert construct.sft_fraction == 0.4
    assert {source.source for source in construct.sources} == {*SAMPLING, "llama-405b"}


def test_the_responses_of_llama_405b_come_from_the_data_set(tasks):
    datasets = {dataset.name: dataset for dataset in tasks["prepare/prompts"].parameters.datasets}
    assert datasets["openmath"].responses_columns == {"llama-405b": "generated_solution"}
    assert "generate/llama-405b" not in tasks
    general = {name for name, dataset in datasets.items() if set(dataset.excluded_subjects) == {"Code", "Mathematics"}}
    assert general == {"ultrafeedback", "magpie", "helpsteer", "alpaca-zh", "magpie-zh"}


def test_responses_fit_the_context_of_their_server(tasks):
    """Qwen2.5-Math has a context of 4,096 tokens, for prompt and response together."""
    longest = {source: tasks[f"generate/{source}"].parameters.sampling.max_tokens for source in SAMPLING}
    assert longest == dict.fromkeys(SAMPLING, 4096) | {"qwen-math": 2048}


@pytest.mark.parametrize("model", TARGETS)
def test_the_14_benchmarks_are_measured_as_published(model):
    family = TARGETS[model][0]
    found = tasks_of(model, family)
    alpaca, with_system = SAMPLED[family]
    datasets = {dataset.name: dataset for dataset in found["prepare/benchmarks"].parameters.datasets}
    protocols = {name: dataset.protocol for name, dataset in datasets.items()}
    assert [*protocols] == [*BENCHMARKS]
    assert not any(protocol.modified for protocol in protocols.values())
    assert {name for name, protocol in protocols.items() if protocol.form.system} == with_system
    assert {name: dataset.uri for name, dataset in datasets.items()} == {
        name: f"pvc://fusion-data/benchmarks/{name}" for name in BENCHMARKS
    }
    judges = {name: judge for name, (_, judge) in BENCHMARKS.items() if judge}
    for evaluated, answers in ANSWERS.items():
        generate = found[f"generate/{answers}"].parameters
        sampling = {name: generate.sampling_by_dataset.get(name, generate.sampling) for name in BENCHMARKS}
        assert {n: s.max_tokens for n, s in sampling.items()} == {n: tokens for n, (tokens, _) in BENCHMARKS.items()}
        parts = sampling["alpaca-eval-2"]
        assert (parts.temperature, parts.top_p, parts.top_k) == alpaca
        assert (sampling["live-code-bench"].temperature, sampling["live-code-bench"].stop) == (0.2, ["###"])
        assert sampling["mmlu-pro"].stop == ["Question:"]
        assert generate.samples_per_prompt == dict.fromkeys(BENCHMARKS, 1) | {"live-code-bench": 10}
        assert set(found[f"verify/{answers}.coding"].parameters.datasets) == PROGRAMS
        judge = found[f"judge/{evaluated}"].parameters
        assert {b.name: b.protocol.judge.model for b in judge.benchmarks} == judges
        assert judge.external
        evaluate = found[f"evaluate/{evaluated}"].parameters
        assert [b.name for b in evaluate.benchmarks] == [*BENCHMARKS]
        assert evaluate.judge == judge.model == "gpt-4-1106-preview"
    assert {*found["compare"].parameters.scores} == {*ANSWERS}
