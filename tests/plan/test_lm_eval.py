"""Benchmarks that are tasks of lm-eval: their references, protocols, tasks and digests."""

from typing import Any

import pytest

from fusionrun.api.artifacts import dataset_dir
from fusionrun.api.spec.evaluation import Grader
from fusionrun.api.stage import ReferenceKind
from fusionrun.api.tasks.harness import HarnessTask, task_uri
from fusionrun.plan.benchmarks.protocols import protocols_of
from fusionrun.plan.checks import check_spec
from fusionrun.plan.policy import runs_programs, violations
from fusionrun.plan.tasks import build_task
from fusionrun.settings import Policy
from support.plans import filled, pinned_of, read
from support.runs import evaluation_only, make_spec, measured, rated, served_judge

PRO = {"name": "pro", "harness": "LmEval", "task": "mmlu_pro"}
FIELD = "evaluation.benchmarks[pro]"
ALL = {"fewShot": 0, "metric": "exact_match,strict", "chatTemplate": False, "maxPrompts": 50}
FULL = PRO | ALL | {"sampling": {"maxTokens": 512}}
SETTINGS = {"few_shot": 0, "metric": "exact_match,strict", "chat_template": False, "max_tokens": 512, "max_prompts": 50}
MODELS = ("base", "sft", "final")


def spec_of(*benchmarks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return make_spec(evaluation={"benchmarks": [*benchmarks], **fields})


def mixed() -> dict[str, Any]:
    """Return a spec with a task of lm-eval between benchmarks of this project."""
    first, *others = make_spec()["evaluation"]["benchmarks"]
    return spec_of(first, FULL, *others)


def pinned(spec: dict[str, Any]):
    return pinned_of("tiny", spec)


def test_a_task_is_a_reference_by_its_name_and_the_settings_that_resolve_checks():
    plan = pinned(mixed()).plan
    (reference,) = [r for r in plan.references if r.field == FIELD]
    assert reference.kind is ReferenceKind.DATASET
    assert reference.uri == task_uri(HarnessTask(name="pro", task="mmlu_pro", **SETTINGS))
    assert (reference.columns, reference.all_files) == ([], False)
    index = plan.references.index(reference)
    pinned_by = {stage.name for stage in plan.stages if index in stage.pins}
    assert pinned_by == {"prepare/prompts", *(f"generate/eval-{model}" for model in MODELS)}


def test_generate_measures_the_task_and_asks_the_questions_of_the_other_benchmarks():
    run = pinned(mixed())
    task = build_task(run, run.plan["generate/eval-sft"], "http://server/v1").parameters
    assert task.harness.tasks == [HarnessTask(name="pro", task="mmlu_pro", **SETTINGS)]
    assert task.harness.data == {"pro": dataset_dir(run.pin(FIELD))}
    assert [*task.samples_per_prompt] == ["math-test", "code-test"]
    assert "pro" not in task.sampling_by_dataset
    for name in ("prepare/prompts", "prepare/benchmarks"):
        prepare = build_task(run, run.plan[name]).parameters
        read_there = prepare.benchmarks or prepare.datasets
        assert [d.name for d in read_there] == ["math-test", "code-test"]
        assert prepare.harness_data == (task.harness.data if name == "prepare/prompts" else {})


def test_evaluate_scores_the_task_from_the_artifact_of_generate():
    run = pinned(mixed())
    task = build_task(run, run.plan["evaluate/final"]).parameters
    assert task.harness_dir == run.artifact("generate/eval-final")
    assert [b.name for b in task.benchmarks] == ["math-test", "pro", "code-test"]
    assert [b.name for b in build_task(run, run.plan["compare"]).parameters.benchmarks] == [
        "math-test", "pro", "code-test",
    ]  # fmt: skip
    assert build_task(pinned(make_spec()), run.plan["evaluate/final"]).parameters.harness_dir is None


@pytest.mark.parametrize(
    ("fields", "modified"),
    [
        ({}, False),
        ({"chatTemplate": True}, False),
        *(({name: value}, True) for name, value in ALL.items()),
        ({"sampling": {"maxTokens": 9}}, True),
    ],
)
def test_the_protocol_is_that_of_the_task_and_marked_if_it_is_changed(fields, modified):
    (found,) = protocols_of(filled(evaluation={"benchmarks": [PRO | fields]})).values()
    assert (found.name, found.version, found.modified) == ("lm-eval/mmlu_pro", 1, modified)
    assert found.grader is Grader.LM_EVAL
    assert None not in found.sampling.model_dump().values()


@pytest.mark.parametrize("change", [{name: value} for name, value in ALL.items()] + [{"sampling": {"maxTokens": 9}}])
def test_a_setting_of_the_task_makes_responses_and_scores_again_but_no_prompts(change):
    before, after = pinned(spec_of(PRO)), pinned(spec_of(PRO | change))
    assert before.pins == after.pins
    for stage in ("generate/eval-base", "evaluate/base", "compare"):
        assert before.digests[stage] != after.digests[stage]
    for stage in ("prepare/prompts", "prepare/benchmarks", "sft"):
        assert before.digests[stage] == after.digests[stage]


def test_new_questions_of_the_task_make_training_prompts_and_responses_again():
    plan = pinned(spec_of(PRO)).plan
    index = next(i for i, r in enumerate(plan.references) if r.field == FIELD)
    pins = [f"{i:012x}" for i, _ in enumerate(plan.references)]
    before = pinned_of("tiny", spec_of(PRO), pins)
    pins[index] = "f" * 12
    after = pinned_of("tiny", spec_of(PRO), pins)
    assert {stage for stage, digest in before.digests.items() if digest == after.digests[stage]} == {
        "prepare/benchmarks", *(name for name in before.digests if name.startswith("preflight/")),
    }  # fmt: skip


def test_a_task_may_be_the_only_benchmark_and_needs_neither_a_judge_nor_the_sandbox():
    run = pinned(spec_of(PRO))
    task = build_task(run, run.plan["prepare/benchmarks"]).parameters
    assert (task.datasets, task.benchmarks) == ([], [])
    generate = build_task(run, run.plan["generate/eval-base"], "http://server/v1").parameters
    assert (generate.samples_per_prompt, len(generate.harness.tasks)) == ({}, 1)
    names = [stage.name for stage in run.plan.stages]
    assert not [name for name in names if name.startswith(("judge/", "verify/eval"))]
    math, _ = make_spec()["datasets"]
    assert not runs_programs(read(spec_of(PRO) | {"datasets": [math]}))


def test_published_models_are_measured_by_a_task():
    models = [measured("ours", family="Llama3"), measured("theirs", family="Qwen2.5")]
    run = pinned(evaluation_only(*models, evaluation={"benchmarks": [PRO]}))
    names = [stage.name for stage in run.plan.stages]
    assert [name for name in names if name.startswith("prepare")] == ["prepare/benchmarks"]
    for name in ("ours", "theirs"):
        stage = run.plan[f"generate/eval-{name}"]
        task = build_task(run, stage, "http://server/v1").parameters
        assert task.harness.data == {"pro": dataset_dir(run.pin(FIELD))}
        assert run.plan.references[stage.pins[-1]].field == FIELD
        assert build_task(run, run.plan[f"evaluate/{name}"]).parameters.harness_dir == run.artifact(stage.name)


def test_only_the_questions_of_other_benchmarks_are_judged():
    run = pinned(spec_of(PRO, rated(), judge=served_judge()))
    judge = build_task(run, run.plan["judge/base"], "http://judge/v1").parameters
    assert [b.name for b in judge.benchmarks] == ["rated"]


def test_the_data_of_a_task_comes_from_the_hub():
    policy = Policy(hubs=("https://mirror.example",))
    assert [str(e) for e in violations(read(spec_of(PRO)), policy) if e.field == "hub.endpoint"]
    assert not [e for e in violations(filled(), policy) if e.field == "hub.endpoint"]


@pytest.mark.parametrize(
    ("fields", "server", "message"),
    [
        ({"task": None}, {}, f"{FIELD}.task: None: is required with harness"),
        ({"preset": "MMLUPro"}, {}, f"{FIELD}.preset: 'MMLUPro': is forbidden with harness: lm-eval reads"),
        ({"uri": "hf://org/set"}, {}, f"{FIELD}.uri: 'hf://org/set': is forbidden with harness: lm-eval reads"),
        ({"grader": "Choice"}, {}, f"{FIELD}.grader: 'Choice': is forbidden with harness: lm-eval grades"),
        (
            {"sampling": {"maxTokens": 256}},
            {"maxModelLen": 256},
            f"{FIELD}.sampling.maxTokens: 256: must be less than maxModelLen = 256 of its server",
        ),
        ({}, {"maxModelLen": 256}, None),
    ],
)
def test_a_broken_task_is_refused(fields, server, message):
    evaluation = {"server": server, "sampling": {"maxTokens": 16}}
    messages = [str(error) for error in check_spec(read(spec_of(PRO | fields, **evaluation)))]
    if message is None:
        assert messages == []
    else:
        assert [m for m in messages if m.startswith(message)], messages
