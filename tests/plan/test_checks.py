"""Rules that the CRD cannot express: every error has the field, the value and the rule."""

import pytest

from fusionrun.api.models import ALLOWED_VLLM_ARGS
from fusionrun.api.spec import FusionRunSpec
from fusionrun.plan.checks import check_spec
from fusionrun.plan.defaults import fill
from support.runs import CLAIM, called_reward, make_spec


def errors(spec: dict) -> list[tuple[str, object, str]]:
    return [(e.field, e.value, e.rule) for e in check_spec(fill(FusionRunSpec.model_validate(spec)))]


def changed(path: str, value: object) -> dict:
    """Return the small spec with one value set, at a path of keys and indexes."""
    spec = make_spec(publish={"uri": f"pvc://{CLAIM}/out"})
    *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    node = spec
    for part in parents:
        node = node[part] if isinstance(part, int) else node.setdefault(part, {})
    node[last] = value
    return spec


def test_the_small_run_breaks_no_rule():
    assert errors(make_spec()) == []


URIS = {
    "target.model.uri": "target.model.uri",
    "rewardModel.model.uri": "rewardModel.model.uri",
    "sources.0.served.model.uri": "sources[ada].served.model.uri",
    "datasets.0.uri": "datasets[math].uri",
    "evaluation.benchmarks.0.uri": "evaluation.benchmarks[math-test].uri",
    "publish.uri": "publish.uri",
}


@pytest.mark.parametrize(("path", "field"), URIS.items())
def test_a_path_on_another_claim_is_refused(path, field):
    rule = f"the claim must be storage.claimName, {CLAIM!r}"
    assert errors(changed(path, "pvc://other/models/x")) == [(field, "pvc://other/models/x", rule)]


@pytest.mark.parametrize(("path", "field"), URIS.items())
def test_a_path_that_leaves_the_claim_is_refused(path, field):
    uri = f"pvc://{CLAIM}/models/../../x"
    assert errors(changed(path, uri)) == [(field, uri, "the path must not leave the claim ('..')")]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("sources.0.served.extraArgs", "sources[ada].served.extraArgs"),
        ("evaluation.server", "evaluation.server.extraArgs"),
    ],
)
@pytest.mark.parametrize("argument", ["--trust-remote-code", "--model=/etc", "--chat-template=/x", "-O3", "--port=1"])
def test_an_argument_of_vllm_that_is_not_on_the_list_is_refused(path, field, argument):
    given = [argument] if path.endswith("Args") else {"extraArgs": [argument]}
    assert errors(changed(path, given)) == [
        (field, argument, "is not allowed: docs/reference.md lists the allowed arguments"),
    ]


def test_allowed_arguments_are_accepted_with_their_values():
    given = ["--max-num-seqs", "8", "--quantization=fp8", *sorted(ALLOWED_VLLM_ARGS)]
    assert errors(changed("sources.0.served.extraArgs", given)) == []


GPUS = "sources.0.served", "evaluation.server"


def limits(gpus: object, **more: int) -> dict:
    return {"resources": {"limits": {"nvidia.com/gpu": gpus, "memory": "8Gi"}}, **more}


@pytest.mark.parametrize("path", GPUS)
def test_the_gpus_of_a_server_equal_its_parallelism(path):
    model = {"model": {"uri": f"pvc://{CLAIM}/m"}} if path == GPUS[0] else {}
    field = "sources[ada].served" if path == GPUS[0] else path
    spread = {"tensorParallelSize": 2, "pipelineParallelSize": 2}
    rule = "must be tensorParallelSize x pipelineParallelSize = 4, the GPUs per replica"
    for gpus, found in ((2, [(f"{field}.resources.limits[nvidia.com/gpu]", 2, rule)]), ("4", []), (0, [])):
        assert errors(changed(path, limits(gpus, **spread) | model)) == found
    assert errors(changed(path, spread | model)) == []


def test_training_has_one_gpu_per_process():
    rule = "must be processesPerNode = 2, one GPU per process"
    for gpus, found in ((8, [("training.resources.limits[nvidia.com/gpu]", 8, rule)]), (2, []), (0, [])):
        assert errors(changed("training", limits(gpus, processesPerNode=2))) == found


@pytest.mark.parametrize("part", ["rewardModel.resources", "dataStages.resources"])
@pytest.mark.parametrize("gpus", ["1.5", "500m", "1k", "1e1"])
def test_gpus_are_whole(part, gpus):
    field, rule = f"{part}.limits[nvidia.com/gpu]", "the number of GPUs must be a whole number, written in digits"
    assert errors(changed(part, limits(gpus)["resources"])) == [(field, gpus, rule)]


@pytest.mark.parametrize("name", ["nvidia.com/mig-1g.10gb", "nvidia.com/gpu.shared"])
@pytest.mark.parametrize("field", ["rewardModel.resources", "training.resources"])
def test_a_part_of_a_gpu_is_refused_where_it_would_not_be_used(field, name):
    resources = {"limits": {name: 1, "memory": "8Gi"}}
    rule = "is part of a GPU, which this stage cannot use: request whole GPUs by a resource that ends in /gpu"
    assert errors(changed(field, resources)) == [(f"{field}.limits[{name}]", 1, rule)]
    assert errors(changed(field, {"limits": {"rdma/hca": 1}})) == []
    assert errors(changed("sources.0.served.resources", resources)) == []


def held(**dataset) -> dict:
    sources = [*make_spec()["sources"], {"name": "kept", "type": "Dataset"}]
    datasets = make_spec()["datasets"]
    datasets[0] |= dataset
    return make_spec(sources=sources, datasets=datasets)


def test_responses_in_a_data_set_are_accepted():
    assert errors(held(sources=["ada", "bob", "kept"], responsesColumns={"kept": "solution"})) == []


def test_a_source_of_type_dataset_needs_a_column():
    rule = "responsesColumns must have a column for a source of type Dataset"
    assert errors(held(sources=["ada", "bob", "kept"])) == [("datasets[math].sources", "kept", rule)]


def test_a_responses_column_is_for_a_source_of_type_dataset():
    found = errors(held(sources=["ada", "kept"], responsesColumns={"kept": "a", "ada": "b"}))
    assert found == [("datasets[math].responsesColumns", "ada", "must be the name of a source of type Dataset")]


def test_an_unused_source_is_refused():
    rule = "no data set uses this source: remove it, or add it to datasets[].sources"
    assert errors(held()) == [("sources", "kept", rule)]


def test_an_unknown_source_is_refused_without_admission():
    datasets = make_spec()["datasets"]
    datasets[0]["sources"] = ["ada", "bob", "zed"]
    rule = "must be the name of a source in spec.sources"
    assert errors(make_spec(datasets=datasets)) == [("datasets[math].sources", "zed", rule)]


def test_a_data_set_without_a_source_is_refused():
    math, code = make_spec()["datasets"]
    math |= {"sources": ["kept"], "responsesColumns": {"kept": "solution"}}
    spec = make_spec(sources=[{"name": "kept", "type": "Dataset"}], datasets=[math, code])
    assert errors(spec) == [("datasets[code].sources", [], "the data set has no source: add one")]


def test_sft_only_has_one_sample():
    datasets = [*make_spec()["datasets"], {"name": "zh", "uri": f"pvc://{CLAIM}/z", "task": "SftOnly",
                                           "samplesPerPrompt": 2}]  # fmt: skip
    assert errors(make_spec(datasets=datasets)) == [("datasets[zh].samplesPerPrompt", 2, "must be 1 for task SftOnly")]


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_batch_that_is_no_multiple_of_the_processes_is_refused(stage):
    training = {"nodes": 2, "processesPerNode": 3, stage: {"globalBatchSize": 128, "microBatchSize": 2},
                "dpo" if stage == "sft" else "sft": {"globalBatchSize": 12}}  # fmt: skip
    rule = "must be a multiple of microBatchSize x nodes x processesPerNode = 12"
    assert errors(make_spec(training=training)) == [(f"training.{stage}.globalBatchSize", 128, rule)]


@pytest.mark.parametrize("name", ["target", "reward", "eval-base", "eval-x"])
def test_reserved_names_are_refused(name):
    sources = make_spec()["sources"]
    sources[0]["name"] = name
    rule = "'target', 'reward' and names that start with 'eval-' are reserved"
    assert errors(make_spec(sources=sources)) == [("sources[].name", name, rule)]


def test_all_errors_are_reported_together():
    spec = changed("target.model.uri", "pvc://other/x")
    spec["training"] = {"sft": {"globalBatchSize": 7, "microBatchSize": 2}}
    assert [field for field, _, _ in errors(spec)] == ["target.model.uri", "training.sft.globalBatchSize"]


@pytest.mark.parametrize("preset", ["leetcode", "self-oss-instruct-sc2-exec-filter-50k"])
def test_a_preset_without_tests_is_refused_with_what_to_do(preset):
    (found,) = errors(make_spec(datasets=[{"name": "d", "preset": preset, "task": "Coding"}]))
    assert found[:2] == ("datasets[d].preset", preset)
    assert "the public data set has no tests" in found[2]
    assert "columns.tests" in found[2]


def test_a_preset_has_one_task():
    (found,) = errors(make_spec(datasets=[{"name": "d", "preset": "HelpSteer2", "task": "Mathematics"}]))
    assert found == ("datasets[d].task", "Mathematics", "must be Instruction for preset HelpSteer2")


def test_a_reward_model_has_exactly_one_of_model_and_endpoint():
    """Repeats the rule of admission that scoring depends on."""
    rule = "exactly one of model and endpoint is required"
    assert errors(make_spec(rewardModel=called_reward())) == []
    neither = {k: v for k, v in called_reward().items() if k != "endpoint"}
    for reward in (neither, called_reward() | make_spec()["rewardModel"]):
        assert [(field, said) for field, _, said in errors(make_spec(rewardModel=reward))] == [("rewardModel", rule)]
