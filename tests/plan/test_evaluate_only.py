"""A run that only evaluates models: its plan, its digests, and what it must not have."""

from typing import Any

import pytest

from fusionrun.api.artifacts import model_dir
from fusionrun.api.stage import TemplateName
from fusionrun.api.tasks.chat_templates import TEMPLATES
from fusionrun.api.tasks.evaluation import CompareParameters, EvaluateParameters, JudgeParameters
from fusionrun.api.tasks.parameters import PrepareParameters
from fusionrun.api.tasks.responses import GenerateParameters
from fusionrun.objects.render import render
from fusionrun.plan.build import build_plan
from fusionrun.plan.checks import check_spec
from fusionrun.plan.demand import demand_of
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.pod_size import too_large
from fusionrun.plan.pods import parts
from fusionrun.plan.policy import runs_programs
from fusionrun.plan.tasks import build_task, served_model
from support.golden import SETTINGS
from support.plans import pinned_by_uri, pinned_of, read
from support.runs import CLAIM, changed, evaluation_only, external_judge, make_spec, measured, rated, served_judge

HUB = {"uri": "hf://org/bob", "revision": "v1"}
TRUSTED = HUB | {"revision": "a" * 40, "trustRemoteCode": True}
OF_THE_HUB = measured("bob", model=HUB)
BOTH = (measured("ada"), OF_THE_HUB)
FAMILIES = tuple(measured(f"m{n}", family=f) for n, f in enumerate(("Llama3", "Llama3Small", "Qwen2.5", "Gemma2")))
MATH = {"benchmarks": [{"name": "math", "preset": "MATH", "uri": f"pvc://{CLAIM}/math"}]}


def pinned(*models: dict[str, Any], **changes: Any) -> PinnedPlan:
    return pinned_of("eval", evaluation_only(*models, **changes))


def task(run: PinnedPlan, stage: str) -> Any:
    return build_task(run, run.plan[stage], "http://server/v1").parameters


def test_the_plan_has_the_stages_of_evaluation_only():
    assert [s.name for s in pinned(*BOTH).plan.stages] == [
        "resolve", "fetch/eval-bob", "prepare/benchmarks",
        "serve/eval-ada", "generate/eval-ada", "verify/eval-ada.coding", "evaluate/ada",
        "serve/eval-bob", "generate/eval-bob", "verify/eval-bob.coding", "evaluate/bob",
        "compare",
    ]  # fmt: skip


def test_each_server_has_its_model_and_waits_for_the_questions():
    run = pinned(*BOTH)
    served = {name: served_model(run, run.plan[f"serve/eval-{name}"]) for name in ("ada", "bob")}
    assert {name: (s.name, s.path) for name, s in served.items()} == {
        "ada": ("eval-ada", "/data/models/ada"),
        "bob": ("eval-bob", model_dir(run.pin("evaluateOnly.models[bob].model"))),
    }
    assert run.plan["serve/eval-ada"].needs == ("resolve", "prepare/benchmarks")
    assert run.plan["serve/eval-bob"].needs == ("resolve", "fetch/eval-bob", "prepare/benchmarks")


@pytest.mark.parametrize(
    ("baseline", "pairs"),
    [(None, [("bob", "ada"), ("cyd", "ada")]), ("bob", [("ada", "bob"), ("cyd", "bob")])],
)
def test_every_model_is_compared_with_the_baseline(baseline, pairs):
    spec = evaluation_only(*BOTH, measured("cyd"))
    spec["evaluateOnly"] |= {"baseline": baseline} if baseline else {}
    compare = task(pinned_of("eval", spec), "compare")
    assert isinstance(compare, CompareParameters)
    assert compare.pairs == pairs
    assert list(compare.scores) == ["ada", "bob", "cyd"]


@pytest.mark.parametrize("judge", [external_judge(), served_judge()], ids=["endpoint", "served"])
def test_a_judge_rates_each_model_by_its_name(judge):
    run = pinned(*BOTH, evaluation={"benchmarks": [rated()], "judge": judge})
    for name in ("ada", "bob"):
        judged, scored = task(run, f"judge/{name}"), task(run, f"evaluate/{name}")
        assert isinstance(judged, JudgeParameters)
        assert isinstance(scored, EvaluateParameters)
        assert (judged.evaluated, scored.model) == (name, name)
        assert (f"serve/judge-{name}" in {s.name for s in run.plan.stages}) is ("served" in judge)


def test_families_with_the_same_prompts_share_their_questions():
    run = pinned(*FAMILIES, evaluation=MATH)
    prepared = [s.name for s in run.plan.stages if s.kind == "prepare"]
    assert prepared == ["prepare/benchmarks", "prepare/benchmarks-gemma2"]
    folders = {}
    for model in ("m0", "m1", "m2", "m3"):
        generate = task(run, f"generate/eval-{model}")
        assert isinstance(generate, GenerateParameters)
        folders[model] = generate.prompts_dir
    assert folders["m0"] == folders["m1"] == folders["m2"] != folders["m3"]
    systems = {}
    for stage in prepared:
        parameters = task(run, stage)
        assert isinstance(parameters, PrepareParameters)
        systems[stage] = parameters.datasets[0].protocol.form.system
    assert systems["prepare/benchmarks"].startswith("Please reason")
    assert systems["prepare/benchmarks-gemma2"] is None


def test_a_model_without_a_family_has_the_prompts_of_the_other_families():
    run = pinned(measured("ada"), FAMILIES[3], evaluation=MATH)
    assert task(run, "evaluate/ada").benchmarks[0].protocol.form.system.startswith("Please reason")
    assert task(run, "evaluate/m3").benchmarks[0].protocol.form.system is None


def test_the_questions_are_those_of_a_run_that_trains():
    family = {"family": "Llama3"}
    alone = pinned_by_uri(evaluation_only(measured("ada", **family)))
    assert alone.digests["prepare/benchmarks"] == pinned_by_uri(make_spec()).digests["prepare/benchmarks"]


def test_two_names_of_one_model_have_artifacts_of_their_own():
    same = measured("ada")["model"]
    run = pinned_by_uri(evaluation_only(measured("ada"), measured("bob", model=same)))
    digests = [run.digests[f"{kind}/{name}"] for kind in ("generate", "evaluate") for name in _names(kind)]
    assert len(set(digests)) == len(digests)


def _names(kind: str) -> tuple[str, ...]:
    return ("eval-ada", "eval-bob") if kind == "generate" else ("ada", "bob")


def test_every_stage_can_be_rendered():
    run = pinned(measured("ada"), measured("bob", model=TRUSTED))
    objects = {stage.name: render(run, stage, 0, SETTINGS) for stage in run.plan.stages}
    assert all(objects.values())
    commands = {
        name: objects[f"serve/eval-{name}"][-1]["spec"]["template"]["spec"]["containers"][0] for name in ("ada", "bob")
    }
    assert ["--trust-remote-code" in str(commands[name]) for name in ("ada", "bob")] == [False, True]


ONE_GPU, FOUR_GPUS = ({"limits": {"nvidia.com/gpu": count}} for count in (1, 4))
LARGE = {"tensorParallelSize": 4, "resources": FOUR_GPUS, "extraArgs": [], "pod": {"nodeSelector": {"pool": "b"}}}
EVERY = {"dtype": "bfloat16", "maxModelLen": 4096, "resources": ONE_GPU, "extraArgs": ["--enforce-eager"]}
EVERY |= {"pod": {"nodeSelector": {"pool": "a"}}}


def test_a_model_has_the_settings_of_its_own_server_and_else_those_of_all():
    run = pinned(
        measured("ada"), measured("bob", server=LARGE), evaluation=make_spec()["evaluation"] | {"server": EVERY}
    )
    ada, bob = (served_model(run, run.plan[f"serve/eval-{name}"]).settings for name in ("ada", "bob"))
    assert (ada.tensor_parallel_size, ada.extra_args) == (1, ["--enforce-eager"])
    assert (bob.tensor_parallel_size, bob.extra_args, bob.dtype, bob.max_model_len) == (4, [], "bfloat16", 4096)
    assert [run.plan[f"serve/eval-{name}"].gpus for name in ("ada", "bob")] == [1, 4]
    assert [s.tensor_parallel_size for s in demand_of(run).served] == [1, 4]
    pools = [
        render(run, run.plan[f"serve/eval-{name}"], 0, SETTINGS)[-1]["spec"]["template"]["spec"]["nodeSelector"]["pool"]
        for name in ("ada", "bob")
    ]
    assert pools == ["a", "b"]
    assert [e.field for e in too_large(run.spec, 2)] == [
        "evaluateOnly.models[bob].server.resources.limits[nvidia.com/gpu]"
    ]


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"server": {"resources": FOUR_GPUS, "tensorParallelSize": 4, "replicas": 2, "pod": {}}}, True),
        ({"server": {"startupTimeoutSeconds": 60}}, True),
        ({"server": {"dtype": "float16"}}, False),
        ({"server": {"maxModelLen": 99}}, False),
        ({"server": {"extraArgs": ["--enforce-eager"]}}, False),
        ({"chatTemplate": "Own"}, True),
        ({"chatTemplate": "Recipe"}, False),
        ({"chatTemplate": "Recipe", "family": "Gemma2"}, True),  # the recipe has no template for it
    ],
    ids=str,
)
def test_what_changes_the_responses_of_a_model_is_in_its_digest_alone(changes, same):
    model = {"family": changes.pop("family", "Llama3")}
    before = pinned_by_uri(evaluation_only(measured("ada", **model), measured("bob", **model)))
    after = pinned_by_uri(evaluation_only(measured("ada", **model), measured("bob", **model, **changes)))
    assert (before.digests["generate/eval-bob"] == after.digests["generate/eval-bob"]) is same
    assert before.digests["generate/eval-ada"] == after.digests["generate/eval-ada"]


def test_a_model_with_the_template_of_the_recipe_is_served_with_its_text():
    recipe = measured("ada", family="Llama3", chatTemplate="Recipe")
    run = pinned(recipe, measured("bob", family="Llama3"))
    commands = [
        render(run, run.plan[f"serve/eval-{name}"], 0, SETTINGS)[-1]["spec"]["template"]["spec"]["containers"][0][
            "command"
        ]
        for name in ("ada", "bob")
    ]
    assert commands[0][commands[0].index("--chat-template") + 1] == TEMPLATES[TemplateName.LLAMA_3]
    assert "--chat-template" not in commands[1]
    assert [r.chat_template for r in run.plan.references[:2]] == [TemplateName.LLAMA_3, None]


def test_a_response_must_fit_the_server_of_every_model():
    spec = evaluation_only(measured("ada"), measured("bob", server={"maxModelLen": 512}))
    spec["evaluation"] = spec["evaluation"] | {"server": {"maxModelLen": 4096}}
    assert [e.field for e in check_spec(read(spec))] == ["evaluation.sampling.maxTokens"]


def test_settings_of_servers_with_remote_code_are_checked_like_those_of_a_source():
    server = {"server": {"pod": {"serviceAccountName": "reader"}}}
    spec = evaluation_only(measured("bob", model=TRUSTED), evaluation=make_spec()["evaluation"] | server)
    assert [p.isolated for p in parts(read(spec)) if p.field == "evaluation.server.pod"] == [True]
    assert [e.field for e in check_spec(read(spec))] == ["evaluation.server.pod.serviceAccountName"]
    own = read(evaluation_only(measured("bob", model=TRUSTED, **server)))
    assert [e.field for e in check_spec(own)] == ["evaluateOnly.models[bob].server.pod.serviceAccountName"]


def test_the_memory_of_every_model_is_checked_and_no_training():
    server = {"server": {"resources": {"limits": {"nvidia.com/gpu": 1}}}}
    demand = demand_of(pinned(*BOTH, evaluation=make_spec()["evaluation"] | server))
    assert [s.field for s in demand.served] == ["evaluateOnly.models[ada].model", "evaluateOnly.models[bob].model"]
    assert (demand.training, demand.reward, demand.responses) == (None, None, None)


def test_programs_of_benchmarks_run_in_the_sandbox():
    assert runs_programs(read(evaluation_only(*BOTH)))


TRAINS = "is forbidden with evaluateOnly: the run trains no model"


@pytest.mark.parametrize(
    ("path", "value", "field", "rule"),
    [
        ("target", make_spec()["target"], "target", TRAINS),
        ("sources", make_spec()["sources"], "sources", TRAINS),
        ("datasets", make_spec()["datasets"], "datasets", TRAINS),
        ("rewardModel", make_spec()["rewardModel"], "rewardModel", TRAINS),
        ("publish", {"uri": f"pvc://{CLAIM}/out"}, "publish", TRAINS),
        ("evaluation.gate", [{"benchmark": "math-test"}], "evaluation.gate", TRAINS),
        ("evaluation", {}, "evaluation.benchmarks", "is required with evaluateOnly: add one"),
        ("evaluateOnly.models[2]", measured("ada"), "evaluateOnly.models[].name", "must be unique"),
        ("evaluateOnly.models[2]", measured("final"), "evaluateOnly.models[].name", "is reserved"),
        ("evaluateOnly.baseline", "zed", "evaluateOnly.baseline", "must be the name of a model"),
        (
            "evaluateOnly.models[1].model",
            {"uri": "hf://org/bob", "trustRemoteCode": True},
            "evaluateOnly.models[bob].model.revision",
            "must be a 40-digit commit",
        ),
        ("evaluateOnly.models[0].chatTemplate", "Recipe", "evaluateOnly.models[ada].family", "it selects the template"),
        (
            "evaluateOnly.models[0].server",
            {"extraArgs": ["--port", "80"]},
            "evaluateOnly.models[ada].server.extraArgs",
            "is not allowed",
        ),
    ],
)
def test_a_broken_spec_is_refused(path, value, field, rule):
    """The API server refuses it, too; the CRD may be that of another release."""
    errors = check_spec(read(changed(evaluation_only(*BOTH), path, value)))
    assert [e for e in errors if e.field == field and rule in e.rule]


@pytest.mark.parametrize("name", ["target", "sources", "datasets", "rewardModel"])
def test_a_run_that_trains_needs_what_it_needed(name):
    spec = make_spec()
    del spec[name]
    assert name in {e.field for e in check_spec(read(spec))}


def test_a_valid_spec_has_no_error():
    spec = read(evaluation_only(*BOTH, *FAMILIES))
    assert check_spec(spec) == []
    assert build_plan(spec).planned()
