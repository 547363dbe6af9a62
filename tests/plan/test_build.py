"""The plan of a run: its stages and what each needs. tests/golden/tiny/plan.yaml has a complete plan."""

import pytest

from fusionrun.api.published.repositories import dataset_uri
from fusionrun.api.stage import FETCH_TARGET, PREPARE_BENCHMARKS, StageKind
from fusionrun.errors import PlanError
from fusionrun.plan.gpus import gpu_count
from fusionrun.plan.graph import check_order
from fusionrun.plan.references import TARGET, dataset_columns
from fusionrun.plan.stages import FetchedModel, Plan, PromptSet, Stage, stage_name
from support.plans import filled, plan_of
from support.runs import KEPT, called_reward, external_source, make_spec

EARLY_SERVER = [
    Stage(StageKind.RESOLVE),
    Stage(StageKind.PREPARE, PromptSet.PROMPTS),
    Stage(StageKind.SERVE, FetchedModel("a")),
    Stage(StageKind.GENERATE, FetchedModel("a"), inputs=("prepare/prompts",), server="serve/a"),
]


CHECKS = ("preflight/training", "preflight/reward")


def names_of(plan: Plan) -> list[str]:
    return [s.name for s in plan.stages]


def hub(name: str, **more) -> dict:
    return {"uri": f"hf://org/{name}", **more}


def test_publish_and_evaluation_are_optional():
    names = names_of(plan_of(evaluation={}))
    assert names[-1] == "promote"
    assert not {n for n in names if "eval" in n or n in ("prepare/benchmarks", "publish")}


def test_every_stage_but_resolve_waits_for_resolve():
    plan = plan_of()
    assert plan["resolve"].needs == ()
    assert all(s.needs[0] == "resolve" for s in plan.stages[1:])


def test_a_generation_names_its_server_and_an_endpoint_has_none():
    plan = plan_of(sources=[make_spec()["sources"][0], external_source()])
    assert plan["generate/ada"].server == "serve/ada"
    assert plan["generate/far"].server is None
    assert "serve/far" not in names_of(plan)


def test_responses_from_a_data_set_are_judged_but_not_generated():
    math, code = make_spec()["datasets"]
    math |= {"sources": ["ada", "bob", "kept"], "responsesColumns": {"kept": "solution"}}
    plan = plan_of(sources=[*make_spec()["sources"], KEPT], datasets=[math, code])
    assert not {"generate/kept", "verify/kept.coding"} & set(names_of(plan))
    assert plan["verify/kept.mathematics"].inputs == plan["score/kept"].inputs == ("prepare/prompts",)


def test_responses_from_a_data_set_are_judged_for_every_data_set_that_may_keep_their_prompt():
    """gsm keeps a prompt that omi repeats, with the solutions of omi. Data sets after omi keep none of its prompts."""
    math = make_spec()["datasets"][0] | {"sources": ["ada", "bob"]}
    omi = math | {"name": "omi", "sources": ["ada", "bob", "kept"], "responsesColumns": {"kept": "solution"}}
    code = make_spec()["datasets"][1] | {"sources": ["ada"]}
    datasets = [math | {"name": "gsm"}, code, omi, math | {"name": "last"}]
    plan = plan_of(sources=[*make_spec()["sources"], KEPT], datasets=datasets)
    assert plan["verify/kept.mathematics"].parameters["datasets"] == ["gsm", "omi"]
    assert "verify/kept.coding" not in names_of(plan)
    assert plan["verify/ada.mathematics"].parameters["datasets"] == ["gsm", "omi", "last"]
    assert "verify/kept.mathematics" in plan["construct"].inputs


def test_reference_solutions_are_checked_before_generation():
    math, code = make_spec()["datasets"]
    code["columns"] |= {"solution": "completion"}
    plan = plan_of(datasets=[math, code])
    assert plan["verify/solutions"].inputs == ("prepare/prompts",)
    assert plan["verify/solutions"].parameters["datasets"] == ["code"]
    assert plan["verify/solutions"].shards == plan["prepare/prompts"].parameters["shards"]
    assert plan["generate/ada"].inputs == plan["generate/bob"].inputs == ("prepare/prompts", "verify/solutions")
    assert "verify/solutions" in plan["construct"].inputs
    assert "verify/solutions" not in plan["generate/eval-base"].inputs
    assert {r.field: r for r in plan.references}["datasets[code]"].columns == ["prompt", "tests", "completion"]


def test_only_models_on_a_hub_are_fetched_each_once():
    sources = [{"name": n, "served": {"model": hub("big")}} for n in ("ada", "bob")]
    plan = plan_of(sources=sources, target={"family": "Llama3", "model": hub("small")})
    fetches = [s.name for s in plan.stages if s.kind is StageKind.FETCH]
    assert fetches == ["fetch/target", "fetch/ada"]
    assert plan["serve/ada"].after == plan["serve/bob"].after == ("fetch/ada", "prepare/prompts", *CHECKS)
    assert plan["sft"].after == ("fetch/target",)
    assert plan["serve/eval-base"].after == ("fetch/target", "prepare/prompts", "prepare/benchmarks", *CHECKS)
    assert plan["preflight/training"].after == ("fetch/target",)


def test_two_revisions_of_one_model_are_two_fetches():
    models = {"ada": hub("big"), "bob": hub("big", revision="v2")}
    plan = plan_of(sources=[{"name": name, "served": {"model": model}} for name, model in models.items()])
    assert "fetch/bob" in names_of(plan)


def test_references_name_the_fields_and_columns_that_resolve_checks():
    references = {r.field: r for r in plan_of().references}
    models = ["target.model", "rewardModel.model", "sources[ada].served.model", "sources[bob].served.model"]
    benchmarks = ["evaluation.benchmarks[math-test]", "evaluation.benchmarks[code-test]"]
    assert list(references) == [*models, "datasets[math]", "datasets[code]", *benchmarks]
    assert references["datasets[math]"].columns == ["prompt", "answer"]
    assert references["evaluation.benchmarks[code-test]"].columns == ["prompt", "tests"]
    assert references["evaluation.benchmarks[code-test]"].split == "test"


def test_a_preset_provides_its_uri_and_its_columns():
    (dataset,) = filled(datasets=[{"name": "math", "preset": "OpenMathInstruct-2", "task": "Mathematics"}]).datasets
    assert dataset_uri(dataset) == "hf://nvidia/OpenMathInstruct-2"
    assert dataset_columns(dataset).answer == "expected_answer"


def test_gpus_are_counted_over_replicas_and_nodes():
    gpus = {"limits": {"nvidia.com/gpu": 4, "memory": "1Gi"}}
    sources = make_spec()["sources"]
    sources[0]["served"] |= {"replicas": 2, "resources": gpus}
    plan = plan_of(sources=sources, training={"nodes": 3, "resources": gpus})
    found = [plan[stage].gpus for stage in ("serve/ada", "serve/bob", "sft", "dpo", "promote")]
    assert found == [8, 0, 12, 12, 1]
    reward = make_spec()["rewardModel"] | {"replicas": 3, "resources": {"limits": {"nvidia.com/gpu": 2}}}
    assert plan_of(rewardModel=reward, generation={"shards": 8})["score/ada"].gpus == 6
    assert plan_of(rewardModel=reward, generation={"shards": 2})["score/ada"].gpus == 4
    assert gpu_count(None) == 0


def test_shards_of_generation_verification_and_scoring_agree():
    kinds = ("generate/{}", "score/{}", "verify/{}.mathematics", "verify/{}.coding")
    sharded = {s.name: s.shards for s in plan_of(generation={"shards": 7, "parallelism": 3}).stages if s.shards}
    assert {n for n, shards in sharded.items() if shards == 7} == {k.format(s) for k in kinds for s in ("ada", "bob")}
    assert {shards for n, shards in sharded.items() if "eval-" in n} == {1}


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([Stage(StageKind.SFT, after=("dpo",)), Stage(StageKind.DPO)], "'sft' needs"),
        ([Stage(StageKind.RESOLVE), Stage(StageKind.RESOLVE)], "planned twice"),
        ([Stage(StageKind.RESOLVE), Stage(StageKind.SFT, server="serve/a")], "needs 'serve/a'"),
        (EARLY_SERVER, "'generate/a' needs .'prepare/prompts'., which its server does not wait for"),
    ],
    ids=["later", "twice", "server", "early server"],
)
def test_an_inconsistent_plan_is_an_error(stages, message):
    with pytest.raises(PlanError, match=message):
        check_order(stages)


def test_an_unknown_stage_is_an_error():
    with pytest.raises(PlanError, match="no stage 'distil'"):
        plan_of()["distil"]


def test_a_reward_model_behind_an_endpoint_is_neither_resolved_nor_fetched():
    plan = plan_of(rewardModel=called_reward())
    assert "rewardModel.model" not in [r.field for r in plan.references]
    assert names_of(plan) == names_of(plan_of())
    score = plan["score/ada"]
    assert (score.pins, score.after, score.gpus) == ((), CHECKS, 0)
    assert score.parameters["endpoint"] == {"url": "https://judge", "model": "judge-8b"}
    assert "endpoint" not in plan_of()["score/ada"].parameters


def test_programs_compare_the_names_of_the_plan():
    assert stage_name(StageKind.PREPARE, PromptSet.BENCHMARKS) == PREPARE_BENCHMARKS
    assert stage_name(StageKind.FETCH, FetchedModel(TARGET)) == FETCH_TARGET
