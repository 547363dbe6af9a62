"""Omitted fields get their defaults, and fields that are set are kept."""

import json

import pytest

from fusionrun.api.spec.data import PROMPTS_MAX, Preset
from fusionrun.api.spec.models import Sampling
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.target import Family
from fusionrun.plan import recipe
from fusionrun.plan.build import build_plan
from fusionrun.plan.defaults import fill
from fusionrun.plan.presets import preset_data
from support.golden import GOLDEN
from support.plans import filled, read
from support.runs import CLAIM, KEPT, make_spec


def target(family: str) -> dict:
    return {"family": family, "model": {"uri": f"pvc://{CLAIM}/m"}}


@pytest.mark.parametrize("family", Family, ids=str)
def test_training_has_the_hyperparameters_of_the_family(family):
    training = filled(target=target(family), training={}).training
    assert training.sft == recipe.TRAINING[family].sft
    assert training.dpo == recipe.TRAINING[family].dpo


def test_fields_that_are_set_are_kept():
    given = {"sft": {"learningRate": 1e-3}, "dpo": {"beta": 0.5, "lengthNormalized": False, "epochs": 2}}
    training = filled(training=given).training
    assert training.sft.learning_rate == 1e-3
    assert (training.dpo.beta, training.dpo.length_normalized, training.dpo.epochs) == (0.5, False, 2)
    assert training.dpo.learning_rate == 8e-7


def test_sampling_that_is_set_in_part_is_completed_by_the_models_name():
    qwen = {"name": "qwen", "served": {"model": {"uri": "hf://Qwen/Qwen2.5-72B-Instruct"}}}
    spec = filled(sources=[{**qwen, "sampling": {"temperature": 0.1}}])
    wanted = Sampling(temperature=0.1, top_p=0.8, top_k=-1, repetition_penalty=1.05, max_tokens=4096)
    assert spec.sources[0].sampling == wanted


def test_the_sampling_of_an_endpoint_depends_on_its_models_name():
    sources = [{"name": "far", "type": "Endpoint", "endpoint": {"url": "http://far/v1", "model": "Qwen2.5-72B"}}]
    assert filled(sources=sources).sources[0].sampling == recipe.QWEN_SAMPLING


def test_sources_of_a_data_set_default_to_all_except_those_of_type_dataset():
    spec = filled(sources=[*make_spec()["sources"], KEPT])
    assert [d.sources for d in spec.datasets] == [["ada", "bob"], ["ada", "bob"]]
    assert [d.samples_per_prompt for d in spec.datasets] == [5, 8]
    assert spec.sources[2].sampling is None


def test_sft_only_has_one_response_of_the_first_source():
    zh = {"name": "zh", "uri": f"pvc://{CLAIM}/zh.jsonl", "task": "SftOnly"}
    dataset = filled(datasets=[zh]).datasets[0]
    assert (dataset.sources, dataset.samples_per_prompt) == (["ada"], 1)


def test_construction_and_evaluation_have_defaults():
    spec = filled(construction={}, evaluation={})
    assert spec.construction.reward_margin == recipe.REWARD_MARGIN
    assert spec.construction.sft_fraction == 0.4
    assert spec.evaluation.sampling == recipe.EVALUATION_SAMPLING
    assert spec.evaluation.server is not None


def test_armorm_has_a_built_in_calibration():
    armorm = {"model": {"uri": recipe.ARMORM_URI, "revision": "a" * 40, "trustRemoteCode": True}}
    calibration = filled(rewardModel=armorm).reward_model.calibration
    assert calibration == recipe.ARMORM_CALIBRATION
    assert calibration.score_range.min < 0
    assert 0.2 < calibration.score_range.max < 1
    given = make_spec()["rewardModel"]["calibration"]
    assert filled(rewardModel=armorm | {"calibration": given}).reward_model.calibration.score_range.max == 10
    assert filled(rewardModel={"model": {"uri": f"pvc://{CLAIM}/other"}}).reward_model.calibration is None


def test_filling_twice_changes_nothing():
    spec = filled(rewardModel={"model": {"uri": recipe.ARMORM_URI}})
    assert fill(spec) == spec
    spec = filled()
    assert fill(spec) == spec
    assert fill(FusionRunSpec.model_validate_json(spec.model_dump_json(exclude_none=True))) == spec


RECIPES = {
    "gemma": "google/gemma-2-27b-it",
    "qwen": "Qwen/Qwen2.5-72B-Instruct",
    "qwen-math": "Qwen/Qwen2.5-Math-72B-Instruct",
}
SOURCES = [
    *({"name": name, "served": {"model": {"uri": f"hf://{model}"}}} for name, model in RECIPES.items()),
    {"name": "own", "type": "Endpoint", "endpoint": {"url": "http://own/v1", "model": "own"}},
    KEPT,
]


@pytest.mark.parametrize(
    ("preset", "task", "sources", "responses"),
    [
        ("UltraFeedback", "Instruction", ["gemma", "qwen"], {}),
        ("OpenMathInstruct-2", "Mathematics", ["qwen-math", "kept"], {"kept": "generated_solution"}),
        ("alpaca_gpt4_zh", "SftOnly", ["qwen"], {}),
    ],
)
def test_sources_of_a_preset_default_to_the_recipes_if_the_run_has_them(preset, task, sources, responses):
    (dataset,) = filled(sources=SOURCES, datasets=[{"name": "d", "preset": preset, "task": task}]).datasets
    assert (dataset.sources, dataset.responses_columns) == (sources, responses)
    (dataset,) = filled(datasets=[{"name": "d", "preset": preset, "task": task}]).datasets
    assert dataset.sources == (["ada"] if task == "SftOnly" else ["ada", "bob"])
    named = {"name": "d", "preset": preset, "task": task, "sources": ["own"]}
    (dataset,) = filled(sources=SOURCES, datasets=[named]).datasets
    assert (dataset.sources, dataset.responses_columns) == (["own"], {})


MATH = make_spec()["datasets"][0]


def general(**fields) -> dict:
    return {"name": "d", "preset": "HelpSteer2", "task": "Instruction", **fields}


@pytest.mark.parametrize(
    ("dataset", "subjects", "threshold"),
    [
        (general(), ["Code", "Mathematics"], 0.8),
        (general(excludedSubjects=[], nearDuplicateThreshold=0), [], 0),
        (make_spec()["datasets"][0], None, None),
    ],
    ids=["preset", "off", "own data"],
)
def test_only_general_presets_drop_subjects_and_near_duplicates(dataset, subjects, threshold):
    (found,) = filled(datasets=[dataset]).datasets
    assert (found.excluded_subjects, found.near_duplicate_threshold) == (subjects, threshold)


def test_help_steer_has_its_conversations_unless_the_user_wants_the_first_turns():
    found = [filled(datasets=[data]).datasets[0].turns for data in (general(), general(turns="First"), MATH)]
    assert found == ["All", "First", None]


def test_kept_responses_of_the_recipe_are_as_many_as_samples():
    preset = {"name": "d", "preset": "OpenMathInstruct-2", "task": "Mathematics"}
    (dataset,) = filled(sources=SOURCES, datasets=[preset]).datasets
    assert dataset.max_responses_per_prompt == recipe.SAMPLES_PER_PROMPT["Mathematics"] == 5
    for given, limit in (({"maxResponsesPerPrompt": 9}, 9), ({"responsesColumns": {}}, None)):
        (dataset,) = filled(sources=SOURCES, datasets=[preset | given]).datasets
        assert dataset.max_responses_per_prompt == limit
    assert filled(datasets=[preset]).datasets[0].max_responses_per_prompt is None


@pytest.mark.parametrize(
    ("given", "prompts", "kept"),
    [
        (general(), 11_794, 9_435),
        (general(maxPrompts=400), 400, 9_435),
        (general(maxKept=943), 1_179, 943),
        (general(maxKept=20_000), 25_001, 20_000),
        (general(maxPrompts=50, maxKept=100), 50, 100),
        ({**make_spec()["datasets"][0]}, None, None),
        ({**make_spec()["datasets"][0], "maxKept": 7}, None, 7),
    ],
    ids=["preset", "fewer prompts", "fewer kept", "more kept", "both", "own data", "own data, bounded"],
)
def test_a_preset_has_the_recipes_size_by_default(given, prompts, kept):
    (dataset,) = filled(datasets=[given]).datasets
    assert (dataset.max_prompts, dataset.max_kept) == (prompts, kept)


def test_the_full_sample_has_the_papers_sizes():
    sample = json.loads((GOLDEN / "llama-3-1-8b" / "run.json").read_text())
    spec = read(sample["spec"])
    assert {d.name: (d.max_prompts, d.max_kept) for d in spec.datasets} == {
        "ultrafeedback": (63_873, 51_098),
        "magpie": (25_468, 20_374),
        "helpsteer": (11_794, 9_435),
        "openmath": (60_000, 51_803),
        "leetcode": (2_347, 3_113),
        "self-oss": (13_696, 12_892),
        "alpaca-zh": (2_602, 2_471),
        "magpie-zh": (7_875, 7_481),
    }
    bounds = build_plan(spec)["construct"].parameters["maxKept"]
    assert sum(bounds.values()) == 158_667


@pytest.mark.parametrize("preset", list(Preset))
def test_a_spec_with_the_largest_bound_can_be_read_again(preset):
    dataset = {"name": "set", "preset": preset, "task": preset_data(preset).task, "maxKept": PROMPTS_MAX}
    spec = filled(datasets=[dataset])
    assert FusionRunSpec.model_validate_json(spec.model_dump_json(exclude_none=True)) == spec
