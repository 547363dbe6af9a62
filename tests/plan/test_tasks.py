"""The task of each stage: paths on the volume, the numbers of the recipe, all sampling parameters set."""

import json
from dataclasses import replace

import pytest

from fusionrun.api.pod import API_KEY_ENV
from fusionrun.api.spec.mutable import MUTABLE_FIELDS
from fusionrun.api.stage import StageKind
from fusionrun.api.tasks.task import StageTask
from fusionrun.errors import PlanError
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.stages import Stage
from fusionrun.plan.tasks import build_task, served_model
from support import plans
from support.runs import CLAIM, KEPT, called_reward, external_judge, external_source, make_spec, rated


def pinned_of(**changes) -> PinnedPlan:
    return plans.pinned_of("tiny", make_spec(**changes))


def task_of(stage: str, pinned: PinnedPlan | None = None, url: str = "") -> StageTask:
    pinned = pinned or pinned_of()
    return build_task(pinned, pinned.plan[stage], url)


def test_a_generation_leaves_no_sampling_parameter_to_the_server():
    parameters = task_of("generate/ada", url="http://server/v1").parameters
    sampling = {"temperature": 0.8, "top_p": 0.95, "top_k": -1, "repetition_penalty": 1.0, "max_tokens": 4096}
    assert parameters.sampling.model_dump(by_alias=False) == sampling | {"stop": []}
    assert (parameters.base_url, parameters.model) == ("http://server/v1", "ada")
    assert parameters.samples_per_prompt == {"math": 5, "code": 8}


def test_construct_gets_the_limits_of_the_spec():
    assert task_of("construct").parameters.max_kept == {}
    math, code = make_spec()["datasets"]
    pinned = pinned_of(datasets=[math, {**code, "maxKept": 9}])
    assert task_of("construct", pinned).parameters.max_kept == {"code": 9}


def test_an_evaluated_model_is_sampled_once_and_greedily():
    parameters = task_of("generate/eval-final", url="http://server/v1").parameters
    assert parameters.samples_per_prompt == {"math-test": 1, "code-test": 1}
    assert parameters.sampling.temperature == 0
    assert parameters.model == "eval-final"


def test_an_endpoint_is_called_by_its_own_name_with_its_key_by_reference():
    pinned = pinned_of(sources=[external_source(apiKeySecretRef={"name": "s", "key": "k"})])
    parameters = task_of("generate/far", pinned).parameters
    assert (parameters.base_url, parameters.model, parameters.api_key_env) == ("https://far/v1", "big", API_KEY_ENV)
    assert parameters.external
    assert not task_of("generate/ada").parameters.external


def test_each_stage_reads_where_the_one_before_it_wrote():
    pinned = pinned_of()

    def output(stage: str) -> str:
        return task_of(stage, pinned).output_dir

    score = task_of("score/ada", pinned).parameters
    assert score.prompts_dir == f"{output('prepare/prompts')}/prompts"
    assert score.responses_dir == f"{output('generate/ada')}/responses"
    construct = task_of("construct", pinned).parameters
    ada = construct.sources[0]
    assert ada.scores_dir == f"{output('score/ada')}/scores"
    assert ada.verdicts_dirs == [f"{output(f'verify/ada.{g}')}/verdicts" for g in ("mathematics", "coding")]
    assert construct.prepare_manifest == f"{output('prepare/prompts')}/manifest.json"
    assert task_of("sft", pinned).parameters.data_path == f"{output('construct')}/sft.parquet"
    dpo = task_of("dpo", pinned).parameters
    assert dpo.data_path == f"{output('construct')}/pairs.parquet"
    assert dpo.model_path == f"{output('sft')}/model"
    promote = task_of("promote", pinned).parameters
    assert (promote.dpo_dir, promote.held_out_path) == (output("dpo"), f"{output('construct')}/held-out.parquet")
    assert served_model(pinned, pinned.plan["serve/eval-final"]).path == f"{output('promote')}/model"
    evaluate = task_of("evaluate/sft", pinned).parameters
    assert evaluate.verdicts_dir == f"{output('verify/eval-sft.coding')}/verdicts"


def test_a_model_on_the_claim_is_read_in_place_and_one_of_a_hub_by_its_pin():
    pinned = pinned_of(target={"family": "Llama3", "model": {"uri": "hf://org/target", "revision": "main"}})
    assert served_model(pinned, pinned.plan["serve/ada"]).path == "/data/models/ada"
    assert pinned.target() == f"/data/fusionrun/models/{pinned.pins[0]}"
    fetch = task_of("fetch/target", pinned).parameters
    assert (fetch.uri, fetch.revision, fetch.destination) == ("hf://org/target", "main", pinned.target())


def test_a_remote_data_set_is_read_by_its_pin_and_never_by_a_branch():
    uris = {"far": "hf://org/set", "near": f"pvc://{CLAIM}/b.jsonl"}
    benchmark = {"grader": "Mathematics", "columns": {"answer": "answer"}}
    pinned = pinned_of(
        datasets=[{"name": "math", "preset": "OpenMathInstruct-2", "task": "Mathematics", "revision": "main"}],
        evaluation={"benchmarks": [{"name": name, "uri": uri, **benchmark} for name, uri in uris.items()]},
    )
    by_field = dict(zip((r.field for r in pinned.plan.references), pinned.pins, strict=True))
    prompts = task_of("prepare/prompts", pinned).parameters
    assert prompts.datasets[0].revision == by_field["datasets[math]"]
    assert [b.revision for b in prompts.benchmarks] == [by_field["evaluation.benchmarks[far]"], None]
    benchmarks = task_of("prepare/benchmarks", pinned).parameters
    assert [d.name for d in benchmarks.datasets] == ["far", "near"]
    assert benchmarks.benchmarks == []


def test_responses_from_a_data_set_come_from_prepare():
    math, code = make_spec()["datasets"]
    math |= {"sources": ["ada", "bob", "kept"], "responsesColumns": {"kept": "solution"}}
    pinned = pinned_of(datasets=[math, code], sources=[*make_spec()["sources"], KEPT])
    prepared = task_of("prepare/prompts", pinned)
    assert prepared.parameters.datasets[0].responses_columns == {"kept": "solution"}
    assert task_of("score/kept", pinned).parameters.responses_dir == f"{prepared.output_dir}/responses/kept"


def test_generate_and_construct_read_the_verdicts_on_the_reference_solutions():
    math, code = make_spec()["datasets"]
    code["columns"] |= {"solution": "completion"}
    pinned = pinned_of(datasets=[math, code])
    verify = task_of("verify/solutions", pinned)
    prepared = task_of("prepare/prompts", pinned).output_dir
    assert verify.parameters.prompts_dir == f"{prepared}/prompts"
    assert verify.parameters.responses_dir == f"{prepared}/solutions"
    found = [task_of(s, pinned).parameters.solutions_verdicts_dir for s in ("generate/ada", "construct")]
    assert found == [f"{verify.output_dir}/verdicts"] * 2
    assert task_of("generate/eval-base", pinned).parameters.solutions_verdicts_dir is None
    assert task_of("generate/ada").parameters.solutions_verdicts_dir is None


def test_resolve_gets_every_reference_and_every_stage():
    pinned = pinned_of()
    parameters = task_of("resolve", pinned).parameters
    assert len(parameters.references) == len(pinned.pins)
    assert {s.name for s in parameters.stages} == {s.name for s in pinned.plan.stages if s.traits.has_artifact}


def test_publish_gets_the_resolved_spec_without_its_mutable_fields():
    pinned = pinned_of(publish={"uri": f"pvc://{CLAIM}/out"}, ttlSecondsAfterFinished=9, hub={"endpoint": "https://h"})
    parameters = task_of("publish", pinned).parameters
    assert parameters.destination == "/data/out"
    spec = json.loads(parameters.run_spec)
    assert spec["training"]["dpo"]["beta"] == 10
    assert not spec.keys() & MUTABLE_FIELDS


def test_publish_gets_the_licences_of_the_benchmarks_with_a_preset():
    own = make_spec()["evaluation"]["benchmarks"]
    pinned = pinned_of(
        publish={"uri": f"pvc://{CLAIM}/out"}, evaluation={"benchmarks": [*own, {"name": "gsm", "preset": "GSM8K"}]}
    )
    assert task_of("publish", pinned).parameters.benchmark_licences == {"gsm": "MIT"}


@pytest.mark.parametrize("judged", [False, True])
def test_publish_reads_the_evaluation_of_the_final_model_if_a_judge_rates_it(judged):
    more = {"benchmarks": [rated()], "judge": external_judge()} if judged else {}
    evaluation = make_spec()["evaluation"] | more
    pinned = pinned_of(publish={"uri": f"pvc://{CLAIM}/out"}, evaluation=evaluation)
    expected = pinned.artifact("evaluate/final") if judged else None
    assert task_of("publish", pinned).parameters.evaluation_dir == expected


def test_an_s3_destination_is_kept_as_it_is():
    pinned = pinned_of(publish={"uri": "s3://bucket/out"})
    assert task_of("publish", pinned).parameters.destination == "s3://bucket/out"


def test_a_server_has_no_task():
    with pytest.raises(PlanError, match="a serve stage has no task"):
        task_of("serve/ada")


def test_an_unpinned_model_is_an_error():
    pinned = replace(pinned_of(target={"family": "Llama3", "model": {"uri": "hf://o/n"}}), pins=())
    with pytest.raises(PlanError, match=r"target\.model is not pinned"):
        pinned.target()


def test_only_a_served_source_has_a_model_to_serve():
    pinned = pinned_of(sources=[external_source()])
    with pytest.raises(PlanError, match="is not served"):
        served_model(pinned, Stage(StageKind.SERVE, pinned.spec.sources[0]))


def test_every_stage_but_servers_has_a_task():
    pinned = pinned_of(publish={"uri": f"pvc://{CLAIM}/out"})
    for stage in pinned.plan.stages:
        if stage.kind != "serve":
            task = task_of(stage.name, pinned)
            assert (task.stage, task.parameters.kind, task.shards) == (stage.name, stage.kind, stage.shards)


def test_filters_that_are_off_do_not_change_the_digest_of_prepare():
    prompts = {"name": "d", "uri": f"pvc://{CLAIM}/d.jsonl", "task": "Instruction"}
    off = prompts | {"excludedSubjects": [], "nearDuplicateThreshold": 0}
    plain, off = (pinned_of(datasets=[dataset]).digests["prepare/prompts"] for dataset in (prompts, off))
    assert plain == off


def test_construct_names_the_model_of_each_source():
    kept = {
        "name": "m",
        "preset": "OpenMathInstruct-2",
        "task": "Mathematics",
        "sources": ["ada", "bob", "far", "kept"],
    }
    sources = [*make_spec()["sources"], external_source(), KEPT]
    for datasets, name in (
        ([kept], "Llama-3.1-405B-Instruct"),
        (
            [kept, kept | {"name": "n", "preset": None, "uri": f"pvc://{CLAIM}/n", "responsesColumns": {"kept": "r"}}],
            "kept",
        ),
    ):
        given = task_of("construct", pinned_of(sources=sources, datasets=datasets)).parameters.sources
        far = external_source()["endpoint"]["model"].rsplit("/", 1)[-1]
        assert {s.source: s.source_model for s in given} == {"ada": "ada", "bob": "bob", "far": far, "kept": name}


def test_a_reward_endpoint_is_called_with_its_key_by_reference():
    reward = called_reward(apiKeySecretRef={"name": "s", "key": "k"}) | {"batchSize": 7}
    parameters = task_of("score/ada", pinned_of(rewardModel=reward, generation={"stallSeconds": 33})).parameters
    endpoint = parameters.endpoint
    assert (endpoint.base_url, endpoint.model, endpoint.api_key_env) == ("https://judge", "judge-8b", API_KEY_ENV)
    assert (endpoint.concurrency, endpoint.stall_seconds) == (7, 33)
    assert parameters.model_path is None
    assert task_of("score/ada").parameters.endpoint is None
