"""Rules that the CRD cannot express: every error has the field, the value and the rule."""

import pytest

from fusionrun.api.spec.servers import ALLOWED_VLLM_ARGS
from fusionrun.plan.checks import check_spec
from support.plans import read
from support.runs import CLAIM, KEPT, called_reward, changed, make_spec

SPEC = make_spec(publish={"uri": f"pvc://{CLAIM}/out"})


def errors(spec: dict) -> list[tuple[str, object, str]]:
    return [(e.field, e.value, e.rule) for e in check_spec(read(spec))]


def errors_with(path: str, value: object) -> list[tuple[str, object, str]]:
    return errors(changed(SPEC, path, value))


def test_the_small_run_breaks_no_rule():
    assert errors(make_spec()) == []


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("target.model.uri", "target.model.uri"),
        ("rewardModel.model.uri", "rewardModel.model.uri"),
        ("sources.0.served.model.uri", "sources[ada].served.model.uri"),
        ("datasets.0.uri", "datasets[math].uri"),
        ("evaluation.benchmarks.0.uri", "evaluation.benchmarks[math-test].uri"),
        ("publish.uri", "publish.uri"),
    ],
)
@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        ("pvc://other/models/x", f"the claim must be storage.claimName, {CLAIM!r}"),
        (f"pvc://{CLAIM}/models/../../x", "the path must not leave the claim ('..')"),
    ],
    ids=["another claim", "outside of the claim"],
)
def test_a_path_is_inside_the_claim(path, field, uri, rule):
    assert errors_with(path, uri) == [(field, uri, rule)]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("sources.0.served.extraArgs", "sources[ada].served.extraArgs"),
        ("evaluation.server.extraArgs", "evaluation.server.extraArgs"),
    ],
)
@pytest.mark.parametrize("argument", ["--trust-remote-code", "--model=/etc", "--chat-template=/x", "-O3", "--port=1"])
def test_an_argument_of_vllm_that_is_not_on_the_list_is_refused(path, field, argument):
    rule = "is not allowed: docs/reference.md lists the allowed arguments"
    assert errors_with(path, [argument]) == [(field, argument, rule)]


def test_allowed_arguments_are_accepted_with_their_values():
    given = ["--max-num-seqs", "8", "--quantization=fp8", *sorted(ALLOWED_VLLM_ARGS)]
    assert errors_with("sources.0.served.extraArgs", given) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--load-format", "safetensors"],
        ["--load-format=runai_streamer", "--tokenizer-mode", "mistral"],
        ["--limit-mm-per-prompt", '{"image": 2, "video": 0}'],
        ["--limit-mm-per-prompt", "image=2,video=0"],
        ["--gpu-memory-utilization=0.85", "--max-num-batched-tokens", "8k", "--block-size=16"],
        ["--gpu-memory-utilization", ".9", "--cpu-offload-gb=4."],
        ["--attention-backend", "FLASH_ATTN", "--kv-cache-dtype=fp8_e4m3", "--enforce-eager"],
    ],
    ids=lambda a: a[0],
)
def test_a_usual_value_of_an_argument_is_accepted(arguments):
    assert errors_with("sources.0.served.extraArgs", arguments) == []


@pytest.mark.parametrize(
    ("arguments", "refused", "rule"),
    [
        (["--load-format", "pt"], "pt", "as the value of --load-format"),
        (["--load-format=npcache"], "--load-format=npcache", "as the value of --load-format"),
        (["--load-format", "tensorizer"], "tensorizer", "as the value of --load-format"),
        (["--load-format="], "--load-format=", "as the value of --load-format"),
        (["--tokenizer-mode", "custom"], "custom", "as the value of --tokenizer-mode"),
        (["--quantization", "@/data/args"], "@/data/args", "as the value of --quantization"),
        (["--kv-cache-dtype=../../x"], "--kv-cache-dtype=../../x", "as the value of --kv-cache-dtype"),
        (["--max-num-seqs", "8\n"], "8\n", "as the value of --max-num-seqs"),
        (["@/data/arguments"], "@/data/arguments", "it is not the value of an argument"),
        (["/data/other/model"], "/data/other/model", "it is not the value of an argument"),
        (["--enforce-eager", "/data/other/model"], "/data/other/model", "it is not the value of an argument"),
        (["--max-num-seqs=8", "9"], "9", "it is not the value of an argument"),
        (["--max-num-seqs", "8", "9"], "9", "it is not the value of an argument"),
        (["--enforce-eager=yes"], "--enforce-eager=yes", "--enforce-eager takes no value"),
        ([""], "", "it is not the value of an argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_value_that_may_run_code_or_name_a_file_is_refused(arguments, refused, rule):
    ((field, value, found),) = errors_with("sources.0.served.extraArgs", arguments)
    assert (field, value) == ("sources[ada].served.extraArgs", refused)
    assert rule in found


@pytest.mark.parametrize("character", ["\0", "\x7f", "\u2028", "\u202e", "\u2066", "\u200b", "\ufeff"])
@pytest.mark.parametrize("path", ["target.model.uri", "datasets.0.uri", "publish.uri"])
def test_a_uri_has_no_character_that_is_not_shown(path, character):
    uri = f"pvc://{CLAIM}/models/a{character}b"
    ((_, value, rule),) = errors_with(path, uri)
    assert (value, rule) == (uri, "must not contain control characters, line breaks or marks of direction")


@pytest.mark.parametrize("revision", [None, "main", "a" * 39, "g" * 40])
def test_code_of_a_model_is_pinned(revision):
    model = {"uri": "hf://org/odd", "trustRemoteCode": True, **({"revision": revision} if revision else {})}
    rule = "must be a 40-digit commit if trustRemoteCode is true"
    for path, field in (
        ("sources.0.served.model", "sources[ada].served.model"),
        ("rewardModel.model", "rewardModel.model"),
    ):
        assert errors_with(path, model) == [(f"{field}.revision", revision or "", rule)]
        assert errors_with(path, model | {"revision": "a" * 40}) == []
    assert errors_with("target.model", model)[0][0] == "target.model.trustRemoteCode"


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
        assert errors_with(path, limits(gpus, **spread) | model) == found
    assert errors_with(path, spread | model) == []


def test_training_has_one_gpu_per_process():
    rule = "must be processesPerNode = 2, one GPU per process"
    for gpus, found in ((8, [("training.resources.limits[nvidia.com/gpu]", 8, rule)]), (2, []), (0, [])):
        assert errors_with("training", limits(gpus, processesPerNode=2)) == found


@pytest.mark.parametrize("part", ["rewardModel.resources", "dataStages.resources"])
@pytest.mark.parametrize("gpus", ["1.5", "500m", "1k", "1e1"])
def test_gpus_are_whole(part, gpus):
    field, rule = f"{part}.limits[nvidia.com/gpu]", "the number of GPUs must be a whole number, written in digits"
    assert errors_with(part, limits(gpus)["resources"]) == [(field, gpus, rule)]


@pytest.mark.parametrize("name", ["nvidia.com/mig-1g.10gb", "nvidia.com/gpu.shared"])
@pytest.mark.parametrize("field", ["rewardModel.resources", "training.resources"])
def test_a_part_of_a_gpu_is_refused_where_it_would_not_be_used(field, name):
    resources = {"limits": {name: 1, "memory": "8Gi"}}
    rule = "is part of a GPU, which this stage cannot use: request whole GPUs by a resource that ends in /gpu"
    assert errors_with(field, resources) == [(f"{field}.limits[{name}]", 1, rule)]
    assert errors_with(field, {"limits": {"rdma/hca": 1}}) == []
    assert errors_with("sources.0.served.resources", resources) == []


def with_kept(**dataset) -> dict:
    """Return a spec with a source of type Dataset."""
    math, code = make_spec()["datasets"]
    return make_spec(sources=[*make_spec()["sources"], KEPT], datasets=[math | dataset, code])


COLUMN_MISSING = "responsesColumns must have a column for a source of type Dataset"
ALL = ["ada", "bob", "kept"]


@pytest.mark.parametrize(
    ("dataset", "found"),
    [
        ({"sources": ALL, "responsesColumns": {"kept": "solution"}}, []),
        ({"sources": ALL}, [("datasets[math].sources", "kept", COLUMN_MISSING)]),
        (
            {"sources": ALL, "responsesColumns": {"kept": "a", "ada": "b"}},
            [("datasets[math].responsesColumns", "ada", "must be the name of a source of type Dataset")],
        ),
        ({}, [("sources", "kept", "no data set uses this source: remove it, or add it to datasets[].sources")]),
        (
            {"sources": [*ALL, "zed"], "responsesColumns": {"kept": "a"}},
            [("datasets[math].sources", "zed", "must be the name of a source in spec.sources")],
        ),
    ],
    ids=["valid", "no column", "column of a served source", "unused source", "unknown source"],
)
def test_data_sets_and_sources_refer_to_each_other(dataset, found):
    assert errors(with_kept(**dataset)) == found


def test_a_data_set_without_a_source_is_refused():
    math, code = make_spec()["datasets"]
    math |= {"sources": ["kept"], "responsesColumns": {"kept": "solution"}}
    found = errors(make_spec(sources=[KEPT], datasets=[math, code]))
    assert found == [("datasets[code].sources", [], "the data set has no source: add one")]


def test_a_limit_on_responses_needs_responses():
    rule = "limits the responses in responsesColumns, which are not set"
    assert errors_with("datasets.0.maxResponsesPerPrompt", 3) == [("datasets[math].maxResponsesPerPrompt", 3, rule)]
    limited = with_kept(sources=ALL, responsesColumns={"kept": "solution"}, maxResponsesPerPrompt=3)
    assert errors(limited) == []


@pytest.mark.parametrize(
    ("server", "sampling"),
    [("sources.0.served", "sources.0.sampling"), ("evaluation.server", "evaluation.sampling")],
    ids=["source", "evaluation"],
)
def test_a_prompt_has_room_beside_the_longest_response(server, sampling):
    spec = changed(changed(SPEC, f"{server}.maxModelLen", 4096), f"{sampling}.maxTokens", 4096)
    rule = "must be less than maxModelLen = 4096 of its server, which includes the prompt"
    assert errors(spec) == [(f"{sampling.replace('.0', '[ada]')}.maxTokens", 4096, rule)]
    assert errors(changed(spec, f"{sampling}.maxTokens", 4095)) == []


def test_sft_only_has_one_sample():
    dataset = {"name": "zh", "uri": f"pvc://{CLAIM}/z", "task": "SftOnly", "samplesPerPrompt": 2}
    assert errors_with("datasets.2", dataset) == [("datasets[zh].samplesPerPrompt", 2, "must be 1 for task SftOnly")]


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_batch_that_is_not_a_multiple_of_the_processes_is_refused(stage):
    training = {"nodes": 2, "processesPerNode": 3, "sft": {"globalBatchSize": 12}, "dpo": {"globalBatchSize": 12}}
    training[stage] = {"globalBatchSize": 128, "microBatchSize": 2}
    rule = "must be a multiple of microBatchSize x nodes x processesPerNode = 12"
    assert errors(make_spec(training=training)) == [(f"training.{stage}.globalBatchSize", 128, rule)]


@pytest.mark.parametrize("name", ["target", "reward", "eval-base", "eval-x"])
def test_reserved_names_are_refused(name):
    rule = "'target', 'reward' and names that start with 'eval-' are reserved"
    assert errors_with("sources.0.name", name) == [("sources[].name", name, rule)]


def test_all_errors_are_reported_together():
    spec = changed(SPEC, "target.model.uri", "pvc://other/x")
    spec["training"] = {"sft": {"globalBatchSize": 7, "microBatchSize": 2}}
    assert [field for field, _, _ in errors(spec)] == ["target.model.uri", "training.sft.globalBatchSize"]


NO_TESTS = "the public data set has no tests, which task Coding requires: use the preset LeetCodeDataset"
SET_TESTS = "task Coding requires tests: set columns.tests, or testsFrom: Prompt if the prompts have them"


@pytest.mark.parametrize(
    ("preset", "fields", "rule"),
    [
        ("leetcode", {}, NO_TESTS),
        ("leetcode", {"columns": {"prompt": "content", "tests": "tests"}}, None),
        ("LeetCodeDataset", {}, None),
        ("LeetCodeDataset", {"columns": {"prompt": "query"}}, SET_TESTS),
        ("self-oss-instruct-sc2-exec-filter-50k", {}, None),
        ("self-oss-instruct-sc2-exec-filter-50k", {"columns": {"prompt": "instruction"}}, None),
        ("self-oss-instruct-sc2-exec-filter-50k", {"columns": {"prompt": "instruction", "tests": "tests"}}, None),
        ("self-oss-instruct-sc2-exec-filter-50k", {"testsFrom": "Column"}, SET_TESTS),
    ],
)
def test_a_preset_for_coding_needs_tests(preset, fields, rule):
    found = errors(make_spec(datasets=[{"name": "d", "preset": preset, "task": "Coding", **fields}]))
    assert found == ([("datasets[d].preset", preset, rule)] if rule else [])


def test_a_preset_has_one_task():
    (found,) = errors(make_spec(datasets=[{"name": "d", "preset": "HelpSteer2", "task": "Mathematics"}]))
    assert found == ("datasets[d].task", "Mathematics", "must be Instruction for preset HelpSteer2")


def test_a_reward_model_has_exactly_one_of_model_and_endpoint():
    """Repeats the rule of admission that scoring depends on."""
    rule = "exactly one of model and endpoint is required"
    assert errors(make_spec(rewardModel=called_reward())) == []
    neither = {k: v for k, v in called_reward().items() if k != "endpoint"}
    for reward in (neither, called_reward() | make_spec()["rewardModel"]):
        assert [(field, text) for field, _, text in errors(make_spec(rewardModel=reward))] == [("rewardModel", rule)]
