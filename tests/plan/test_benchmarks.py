"""Presets of benchmarks, the protocol of each benchmark, and the digests that depend on them."""

import json
from datetime import date
from typing import Any

import pytest
from pydantic import TypeAdapter

from fusionrun.api.published.paper_scores import GROUPS
from fusionrun.api.spec.evaluation import Benchmark, BenchmarkPreset, Grader
from fusionrun.api.spec.models import Name, Sampling
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.target import Family
from fusionrun.api.tasks.protocol import Aggregation, JudgeRequest, Layout, PromptForm, Protocol, Unit
from fusionrun.errors import PlanError
from fusionrun.plan.benchmarks.protocols import protocol_of, protocols_of, score_digest
from fusionrun.plan.benchmarks.table import PAPER, benchmark_data
from fusionrun.plan.build import build_plan
from fusionrun.plan.checks import check_spec
from fusionrun.plan.defaults import fill
from fusionrun.plan.demand import demand_of
from fusionrun.plan.policy import runs_programs
from fusionrun.plan.tasks import build_task, served_model
from support.plans import filled, pinned_by_uri, pinned_of, read
from support.runs import CLAIM, changed, external_judge, make_spec, rated, served_judge

FOLDER = f"pvc://{CLAIM}/benchmarks"
BOXED = r"Please reason step by step, and put your final answer within \boxed{}."


def of(preset: str, family: str = "Llama3", **fields: Any) -> tuple[Benchmark, FusionRunSpec]:
    """Return one benchmark with a preset, and its spec with all defaults."""
    target = {"family": family, "model": {"uri": f"pvc://{CLAIM}/m"}}
    benchmark = {"name": "b", "preset": preset, "uri": f"{FOLDER}/b", **fields}
    spec = filled(target=target, evaluation={"benchmarks": [benchmark], "judge": external_judge()})
    return spec.evaluation.benchmarks[0], spec


def protocol(preset: str, family: str = "Llama3", **fields: Any) -> Protocol:
    return protocol_of(*of(preset, family, **fields))


# Presets ------------------------------------------------------------------------------------------------------------


def test_the_paper_has_14_benchmarks_in_four_groups():
    sizes = {group: len(presets & set(PAPER)) for group, presets in GROUPS.items()}
    assert list(sizes.values()) == [4, 4, 3, 3, 14]
    assert [preset.value for preset in PAPER] == [
        "AlpacaEval2", "ArenaHard", "MTBench", "AlignBench", "LiveBench", "MMLUPro", "MMLURedux", "GPQADiamond",
        "GSM8K", "MATH", "AMC23", "HumanEval", "MBPP", "LiveCodeBench",
    ]  # fmt: skip


@pytest.mark.parametrize("preset", BenchmarkPreset, ids=str)
def test_a_preset_is_complete(preset):
    known = benchmark_data(preset)
    assert TypeAdapter(Name).validate_python(known.folder)
    assert known.grader.needs_judge is (known.judge is not None)
    for family in Family:
        found = protocol(preset, family)
        assert None not in found.sampling.model_dump().values()
        assert "{prompt}" in found.form.template or "{question}" in found.form.template
        assert ("{options}" in found.form.template) is (found.grader is Grader.CHOICE)
        assert found.name.startswith("FuseEval/")
        assert not found.modified
        assert found.grades_truncated
    assert "SLIT-AI/FuseChat-3.0" in known.source


def test_presets_have_names_and_folders_of_their_own():
    known = [benchmark_data(preset) for preset in BenchmarkPreset]
    assert len({k.folder for k in known}) == len({k.protocol for k in known}) == len(known)


@pytest.mark.parametrize(
    ("preset", "family", "sampling"),
    [
        ("AlpacaEval2", "Llama3", (0.6, 0.9, -1, 4096)),
        ("AlpacaEval2", "Llama3Small", (0.6, 0.9, -1, 4096)),
        ("AlpacaEval2", "Qwen2.5", (0.7, 0.8, 20, 4096)),
        ("AlpacaEval2", "Gemma2", (0.5, 1.0, -1, 4096)),
        ("ArenaHard", "Qwen2.5", (0.0, 1.0, -1, 4096)),
        ("MTBench", "Gemma2", (0.7, 1.0, -1, 1024)),
        ("MMLUPro", "Llama3", (0.0, 1.0, -1, 2048)),
        ("MATH", "Llama3", (0.0, 1.0, -1, 2048)),
        ("HumanEval", "Gemma2", (0.0, 1.0, -1, 2048)),
        ("LiveCodeBench", "Qwen2.5", (0.2, 0.95, -1, 2000)),
        ("LiveBench", "Qwen2.5", (0.0, 1.0, -1, 4096)),
    ],
)
def test_the_sampling_of_a_preset(preset, family, sampling):
    found = protocol(preset, family).sampling
    assert (found.temperature, found.top_p, found.top_k, found.max_tokens) == sampling


@pytest.mark.parametrize(
    ("preset", "family", "system", "start", "prefill"),
    [
        ("AlpacaEval2", "Llama3", None, "{prompt}", None),
        ("AlpacaEval2", "Qwen2.5", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", "{p", None),
        ("MTBench", "Qwen2.5", None, "{prompt}", None),
        ("GSM8K", "Llama3Small", BOXED, "{prompt}", None),
        ("GSM8K", "Qwen2.5", BOXED, "{prompt}", None),
        ("AMC23", "Gemma2", None, f"{{prompt}}\n{BOXED}", None),
        ("MBPP", "Llama3", None, "Please provide a self-contained Python script", "Below is a Python script"),
        ("MBPP", "Qwen2.5", "You are an intelligent programming assistant", "Can you complete", "```python\n"),
        ("LiveCodeBench", "Llama3", "You are an expert Python programmer.", "{prompt}", None),
        ("LiveCodeBench", "Gemma2", None, "You are an expert Python programmer.", None),
        ("LiveCodeBench", "Qwen2.5", "You are a helpful assistant.", "\nYou will be given a question", None),
    ],
)
def test_the_messages_of_a_preset(preset, family, system, start, prefill):
    form = protocol(preset, family).form
    assert (form.system or "").startswith(system or "")
    assert (form.system is None) is (system is None)
    assert form.template.startswith(start)
    assert (form.prefill or "").startswith(prefill or "")
    assert (form.prefill is None) is (prefill is None)


def test_only_the_questions_of_gpqa_are_hidden():
    hidden = [preset for preset in BenchmarkPreset if not protocol(preset).shows_examples]
    assert hidden == [BenchmarkPreset.GPQA_DIAMOND]


# What a benchmark changes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"systemPrompt": "Be brief."}, {"form": PromptForm(system="Be brief.")}),
        ({"systemPrompt": ""}, {"form": PromptForm()}),
        ({"promptTemplate": "Q: {prompt}"}, {"form": PromptForm(system=BOXED, template="Q: {prompt}")}),
        ({"prefill": "So"}, {"form": PromptForm(system=BOXED, prefill="So")}),
        ({"stop": ["\n\n"]}, {"stop": ["\n\n"]}),
        ({"samples": 4}, {"samples": 4}),
        ({"sampling": {"maxTokens": 99}}, {}),
        ({"maxPrompts": 10}, {}),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_a_field_of_the_benchmark_replaces_that_of_the_preset_and_is_marked(fields, found):
    changed_ = protocol("GSM8K", **fields)
    assert changed_.modified
    for name, value in found.items():
        assert getattr(changed_, name) == value
    assert changed_.sampling.max_tokens == fields.get("sampling", {}).get("maxTokens", 2048)
    assert changed_.sampling.temperature == 0


def test_a_field_with_the_value_of_the_preset_is_no_change():
    assert not protocol("GSM8K", systemPrompt=BOXED, samples=1, stop=[], sampling={"temperature": 0}).modified
    window = {"start": "2024-08-01", "end": "2024-11-30"}
    assert not protocol("LiveCodeBench", window=window).modified


def test_the_window_of_live_code_bench_is_that_of_the_papers_table():
    found = protocol("LiveCodeBench")
    assert (found.window_start, found.window_end, found.samples) == (date(2024, 8, 1), date(2024, 11, 30), 10)
    assert protocol("LiveCodeBench", window={"start": "2024-07-01", "end": "2024-11-01"}).modified


def test_a_temperature_of_the_user_is_that_of_every_category():
    assert protocol("MTBench").temperatures["writing"] == 0.7
    found = protocol("MTBench", sampling={"temperature": 0.3})
    assert (found.temperatures, found.sampling.temperature, found.modified) == ({}, 0.3, True)


@pytest.mark.parametrize("grader", ["Mathematics", "Coding", "ExactMatch", "Choice", "Rubric"])
def test_a_benchmark_without_a_preset_has_the_protocol_of_its_grader(grader):
    columns = {"answer": "a", "tests": "t", "options": "o"}
    fields = {"grader": grader, "columns": columns, "rubric": "Rate {response}" if grader == "Rubric" else None}
    spec = filled(evaluation={"benchmarks": [rated(**fields)], "judge": served_judge()})
    found = protocols_of(spec)["rated"]
    assert (found.name, found.layout, found.columns.options) == (f"FusionRun/{grader}", Layout.TABLE, "o")
    assert found.sampling == spec.evaluation.sampling
    assert (found.samples, found.stop, found.modified, found.grades_truncated) == (1, [], False, False)
    assert found.unit is (Unit.RATING if grader == "Rubric" else Unit.PERCENT)
    assert (found.judge and found.judge.model) == (f"pvc://{CLAIM}/models/judge" if grader == "Rubric" else None)
    assert ("{options}" in found.form.template) is (grader == "Choice")


def test_a_grader_of_a_preset_alone_is_no_protocol():
    with pytest.raises(PlanError, match="no protocol for grader LiveBench"):
        protocols_of(filled(evaluation={"benchmarks": [rated(grader="LiveBench")]}))


# The set of the paper -----------------------------------------------------------------------------------------------


def test_the_set_adds_the_benchmarks_that_are_not_listed():
    listed = [{"name": "sums", "preset": "GSM8K", "uri": f"{FOLDER}/sums"}, {"name": "plain", "preset": "MMLU"}]
    evaluation = {"preset": "FuseChat-3.0", "uri": FOLDER, "benchmarks": listed, "judge": external_judge()}
    spec = filled(evaluation=evaluation)
    benchmarks = {b.name: b for b in spec.evaluation.benchmarks}
    assert len(benchmarks) == 15
    assert [*benchmarks][:3] == ["sums", "plain", "alpaca-eval-2"]
    assert "gsm8k" not in benchmarks
    assert benchmarks["arena-hard"].uri == f"{FOLDER}/arena-hard"
    assert benchmarks["plain"].uri == f"{FOLDER}/mmlu"
    assert benchmarks["sums"].uri == f"{FOLDER}/sums"
    assert benchmarks["mmlu-pro"].grader is Grader.CHOICE
    assert check_spec(spec) == []
    assert fill(spec) == spec
    assert fill(FusionRunSpec.model_validate_json(spec.model_dump_json(exclude_none=True))) == spec


def test_benchmarks_of_the_hub_need_no_folder():
    spec = filled(evaluation={"preset": "FuseChat-3.0", "judge": external_judge()})
    found = {b.preset: b.uri for b in spec.evaluation.benchmarks if b.uri}
    assert found == {
        "MMLUPro": "hf://TIGER-Lab/MMLU-Pro",
        "MMLURedux": "hf://edinburgh-dawg/mmlu-redux",
        "GSM8K": "hf://openai/gsm8k",
        "LiveCodeBench": "hf://livecodebench/code_generation_lite",
    }
    errors = [str(error) for error in check_spec(spec)]
    assert len(errors) == 10
    assert errors[0].startswith(
        "evaluation.benchmarks[alpaca-eval-2].uri: None: is required for preset AlpacaEval2, whose files are not a "
        "data set of the hub: set it, or set evaluation.uri to a folder with the subfolder alpaca-eval-2. It needs: "
    )


# Rules --------------------------------------------------------------------------------------------------------------

ARENA = {"name": "arena", "preset": "ArenaHard", "uri": f"{FOLDER}/a"}


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"benchmarks": [ARENA]}, "evaluation.judge: None: is required for the benchmarks arena"),
        (
            {"benchmarks": [ARENA], "judge": {}},
            "evaluation.judge: None: exactly one of endpoint and served is required",
        ),
        (
            {"benchmarks": [ARENA | {"grader": "Choice"}], "judge": external_judge()},
            "evaluation.benchmarks[arena].grader: 'Choice': must be ArenaHard for preset ArenaHard",
        ),
        (
            {"benchmarks": [rated(grader="EvalPlus")]},
            "evaluation.benchmarks[rated].grader: 'EvalPlus': must be Mathematics, Coding, ExactMatch, Choice or "
            "Rubric without a preset",
        ),
        (
            {"benchmarks": [rated(rubric=None)], "judge": external_judge()},
            "evaluation.benchmarks[rated].rubric: None: is required for grader Rubric and forbidden otherwise",
        ),
        (
            {"benchmarks": [rated(promptTemplate="Answer.")], "judge": external_judge()},
            "evaluation.benchmarks[rated].promptTemplate: 'Answer.': must contain {prompt}",
        ),
        (
            {"benchmarks": [{"name": "m", "preset": "MMLUPro", "promptTemplate": "{prompt}"}]},
            "evaluation.benchmarks[m].promptTemplate: '{prompt}': must contain {options} for grader Choice",
        ),
        (
            {
                "benchmarks": [
                    {"name": "l", "preset": "LiveCodeBench", "window": {"start": "2024-12-01", "end": "2024-11-30"}}
                ]
            },
            "evaluation.benchmarks[l].window.start: '2024-12-01': must not be after end, 2024-11-30",
        ),
        (
            {
                "benchmarks": [rated(name="math")],
                "preset": "FuseChat-3.0",
                "uri": FOLDER,
                "judge": external_judge(),
            },
            "evaluation.benchmarks[].name: 'math': must be unique: evaluation.preset FuseChat-3.0 adds a benchmark",
        ),
        (
            {"benchmarks": [ARENA], "judge": external_judge(), "gate": [{"benchmark": "math"}]},
            "evaluation.gate[].benchmark: 'math': must be the name of a benchmark: arena",
        ),
        (
            {"benchmarks": [ARENA], "judge": external_judge(), "uri": "hf://org/all"},
            "evaluation.uri: 'hf://org/all': must start with pvc:// or s3://",
        ),
        (
            {"benchmarks": [ARENA], "judge": external_judge(), "server": {"maxModelLen": 4096}},
            "evaluation.benchmarks[arena].sampling.maxTokens: 4096: must be less than maxModelLen = 4096",
        ),
        (
            {"benchmarks": [ARENA], "judge": served_judge(maxModelLen=4096)},
            "evaluation.judge.served.maxModelLen: 4096: must be more than 4096, the tokens of a judgement of arena",
        ),
        (
            {"benchmarks": [rated()], "judge": served_judge(extraArgs=["--trust-remote-code"])},
            "evaluation.judge.served.extraArgs: '--trust-remote-code': is not allowed",
        ),
        (
            {"benchmarks": [rated()], "judge": {"served": {"model": {"uri": "pvc://elsewhere/judge"}}}},
            "evaluation.judge.served.model.uri: 'pvc://elsewhere/judge': the claim must be storage.claimName",
        ),
        (
            {"benchmarks": [rated()], "judge": {"served": {"model": {"uri": "hf://a/b", "trustRemoteCode": True}}}},
            "evaluation.judge.served.model.revision: '': must be a 40-digit commit if trustRemoteCode is true",
        ),
    ],
)
def test_a_broken_rule_is_reported_with_the_field_and_the_value(evaluation, message):
    errors = [str(error) for error in check_spec(filled(evaluation=evaluation))]
    assert len([error for error in errors if error.startswith(message)]) == 1, errors


@pytest.mark.parametrize("name", ["judge", "judge-base"])
def test_a_served_judge_reserves_the_names_of_its_stages(name):
    def errors(judge: dict[str, Any]) -> list[str]:
        spec = changed(make_spec(), "sources.0.name", name)
        return [str(e) for e in check_spec(read(spec | {"evaluation": {"benchmarks": [rated()], "judge": judge}}))]

    assert errors(external_judge()) == []
    rule = "'judge' and names that start with 'judge-' are reserved in a run that serves a judge"
    assert errors(served_judge()) == [f"sources[].name: {name!r}: {rule}"]


def test_benchmarks_of_programs_run_in_the_sandbox():
    for preset, runs in (("HumanEval", True), ("LiveCodeBench", True), ("LiveBench", True), ("MATH", False)):
        evaluation = {"benchmarks": [{"name": "b", "preset": preset, "uri": f"{FOLDER}/b"}]}
        math = make_spec()["datasets"][0]
        spec = filled(datasets=[math], evaluation=evaluation)
        assert runs_programs(spec) is runs
        assert ("verify/eval-base.coding" in {s.name for s in build_plan(spec).stages}) is runs


# The plan and its digests -------------------------------------------------------------------------------------------


def test_a_benchmark_without_a_preset_keeps_the_digests_of_release_0_2():
    plan = build_plan(filled())
    answer = {"answer": "answer", "tests": None, "entryPoint": None, "prompt": "prompt"}
    tests = {"answer": None, "tests": "tests", "entryPoint": None, "prompt": "prompt"}
    mathematics = {"split": "test", "grader": "Mathematics", "columns": answer}
    coding = {"split": "test", "grader": "Coding", "columns": tests}
    assert plan["prepare/prompts"].parameters["leftOut"] == [mathematics, coding]
    assert plan["prepare/benchmarks"].parameters["benchmarks"] == [
        {"name": "math-test", **mathematics, "maxPrompts": None},
        {"name": "code-test", **coding, "maxPrompts": None},
    ]
    assert set(plan["generate/eval-base"].parameters) == {"sampling", "dtype", "maxModelLen", "extraArgs"}
    assert build_task(pinned_of("tiny", make_spec()), plan["generate/eval-base"]).parameters.sampling_by_dataset == {}


WHOLE = Protocol(
    name="n",
    version=1,
    sampling=Sampling(temperature=0.5),
    grader=Grader.RUBRIC,
    judge=JudgeRequest(temperature=0, model="m"),
)
OTHER = {
    "name": "other", "version": 2, "modified": True, "layout": Layout.MATH, "columns": {"prompt": "q"},
    "form": {"system": "s"}, "sampling": {"temperature": 0.1}, "temperatures": {"a": 0.1}, "stop": ["x"], "samples": 2,
    "grader": Grader.CHOICE, "grades_truncated": True, "metrics": ["m"], "aggregation": Aggregation.GROUP_MEANS,
    "unit": Unit.RATING, "judge": {"temperature": 1, "model": "m"}, "rubric": "r", "window_start": "2024-01-01",
    "window_end": "2024-01-01", "shows_examples": False, "licence": "MIT",
}  # fmt: skip


@pytest.mark.parametrize("field", Protocol.model_fields)
def test_every_field_of_a_protocol_is_in_the_digest_of_the_scores(field):
    changed_ = Protocol.model_validate(WHOLE.model_dump(by_alias=False) | {field: OTHER[field]})
    assert score_digest(changed_) != score_digest(WHOLE)


PREPARE, GENERATE = "prepare/benchmarks", "generate/eval-base"


@pytest.mark.parametrize(
    ("field", "value", "stages"),
    [
        ("systemPrompt", "s", {PREPARE}),
        ("promptTemplate", "Q {prompt}", {PREPARE}),
        ("prefill", "So", {PREPARE}),
        ("window", {"start": "2024-01-01", "end": "2024-02-01"}, {PREPARE, "prepare/prompts"}),
        ("samples", 3, {GENERATE}),
        ("stop", ["x"], {GENERATE}),
        ("sampling", {"maxTokens": 9}, {GENERATE}),
        # By category, temperatures are in the questions.
        ("sampling", {"temperature": 0.9}, {GENERATE}),
    ],
)
def test_a_field_of_a_preset_changes_the_parameters_of_the_stages_that_use_it(field, value, stages):
    def parameters(**fields: Any) -> dict[str, Any]:
        return {s.name: s.parameters for s in build_plan(of("LiveCodeBench", **fields)[1]).stages}

    before, after = parameters(), parameters(**{field: value})
    assert {name for name in before if before[name] != after[name]} == {*stages, *(
        f"{kind}{model}" for model in ("base", "sft", "final") for kind in ("evaluate/", "generate/eval-")
        if kind == "evaluate/" or GENERATE in stages
    )}  # fmt: skip


def test_the_family_of_the_target_changes_the_messages():
    digests = {}
    for family in Family:
        evaluation = {"benchmarks": [{"name": "b", "preset": "GSM8K", "uri": f"{FOLDER}/b"}]}
        target = {"family": family, "model": {"uri": f"pvc://{CLAIM}/m"}}
        digests[family] = pinned_by_uri(make_spec(target=target, evaluation=evaluation)).digests["prepare/benchmarks"]
    assert digests[Family.LLAMA_3_1] == digests[Family.QWEN_2_5] != digests[Family.GEMMA_2]


def judged(judge: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return make_spec(evaluation={"benchmarks": [rated(), {"name": "m", "preset": "MMLUPro"}], "judge": judge, **fields})


def test_a_judge_behind_an_endpoint_is_called_after_the_responses_and_before_the_scores():
    pinned = pinned_of("tiny", judged(external_judge(
        apiKeySecretRef={"name": "s", "key": "k"}, prices={"prompt": 1.0, "completion": 2.0}, quota={"maxCost": 3.0}
    )))  # fmt: skip
    plan = pinned.plan
    for model in ("base", "sft", "final"):
        assert plan[f"judge/{model}"].inputs == ("prepare/benchmarks", f"generate/eval-{model}")
        assert f"judge/{model}" in plan[f"evaluate/{model}"].inputs
        assert plan[f"judge/{model}"].server is None
    assert not [s for s in plan.stages if s.name.startswith("serve/judge")]
    task = build_task(pinned, plan["judge/sft"]).parameters
    assert [b.name for b in task.benchmarks] == ["rated"]
    assert (task.base_url, task.model, task.external) == ("https://judge/v1", "judge-70b", True)
    assert (task.api_key_env, task.prices.completion, task.quota.max_cost) == ("FUSIONRUN_API_KEY", 2.0, 3.0)
    output = {name: build_task(pinned, plan[name]).output_dir for name in ("prepare/benchmarks", "generate/eval-sft")}
    assert task.prompts_dir == f"{output['prepare/benchmarks']}/prompts"
    assert task.materials_dir == f"{output['prepare/benchmarks']}/materials"
    assert task.responses_dir == f"{output['generate/eval-sft']}/responses"
    evaluate = build_task(pinned, plan["evaluate/sft"]).parameters
    assert evaluate.judgements_dir == f"{build_task(pinned, plan['judge/sft']).output_dir}/judgements"
    assert (evaluate.model, evaluate.judge) == ("sft", "judge-70b")


def test_a_served_judge_has_a_server_for_each_evaluated_model():
    gpus = {"tensorParallelSize": 2, "resources": {"limits": {"nvidia.com/gpu": 2}}}
    spec = judged({"served": {"model": {"uri": "hf://org/judge"}, **gpus}})
    pinned = pinned_of("tiny", spec)
    plan = pinned.plan
    server = plan["serve/judge-final"]
    assert server.gpus == 2
    assert set(server.after) == {"fetch/judge", "prepare/benchmarks", "generate/eval-final"}
    assert plan.client_of(server).name == "judge/final"
    assert plan["judge/final"].server == "serve/judge-final"
    served = served_model(pinned, server)
    assert (served.name, served.path) == ("judge", pinned.model(served.settings.model, "evaluation.judge.served.model"))
    task = build_task(pinned, plan["judge/final"], "http://server/v1").parameters
    assert (task.base_url, task.model, task.external) == ("http://server/v1", "judge", False)
    assert build_task(pinned, plan["evaluate/final"]).parameters.judge == "hf://org/judge"
    assert [s.field for s in demand_of(pinned).served] == ["evaluation.judge.served"]


def test_another_judge_judges_again_and_generates_nothing():
    base = judged(served_judge())
    before = pinned_by_uri(base)
    for path, value in (("served.model.uri", f"pvc://{CLAIM}/other"), ("served.dtype", "float32")):
        after = pinned_by_uri(changed(base, f"evaluation.judge.{path}", value))
        assert {n for n in before.digests if before.digests[n] != after.digests[n]} == {
            "judge/base", "judge/sft", "judge/final", "evaluate/base", "evaluate/sft", "evaluate/final", "compare"
        }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "again"),
    [
        ({"rubric": "Rate this as [[5]]: {response}"}, {"judge/base", "evaluate/base"}),
        ({"samples": 2}, {"generate/eval-base", "evaluate/base"}),
        ({"stop": ["x"]}, {"generate/eval-base", "evaluate/base"}),
    ],
    ids=["rubric", "samples", "stop"],
)
def test_only_what_is_asked_of_the_judge_is_in_the_parameters_of_its_stage(fields, again):
    def parameters(**more: Any) -> dict[str, Any]:
        evaluation = {"benchmarks": [rated(**more)], "judge": external_judge()}
        return {s.name: s.parameters for s in build_plan(filled(evaluation=evaluation)).stages}

    before, after = parameters(), parameters(**fields)
    assert {n for n in before if before[n] != after[n] and n.endswith("base")} == again


def test_a_judge_without_a_benchmark_to_judge_has_no_stage():
    spec = make_spec(evaluation={"benchmarks": [{"name": "m", "preset": "MMLUPro"}], "judge": served_judge()})
    plan = build_plan(read(spec))
    assert not [s.name for s in plan.stages if "judge" in s.name]
    assert "evaluation.judge.served.model" not in {r.field for r in plan.references}


def test_the_models_are_compared_before_the_model_is_published():
    pinned = pinned_of("tiny", make_spec(publish={"uri": f"pvc://{CLAIM}/out"}))
    assert pinned.plan["publish"].after == ("evaluate/base", "evaluate/sft", "evaluate/final", "compare")
    task = build_task(pinned, pinned.plan["compare"]).parameters
    assert task.pairs == [("sft", "base"), ("final", "base"), ("final", "sft")]
    places = {m: f"{build_task(pinned, pinned.plan[f'evaluate/{m}']).output_dir}/scores.parquet" for m in task.scores}
    assert task.scores == places
    assert [*places] == ["base", "sft", "final"]


def test_the_files_of_a_preset_all_belong_to_it():
    plan = build_plan(of("MTBench")[1])
    (reference,) = [r for r in plan.references if r.field == "evaluation.benchmarks[b]"]
    assert (reference.all_files, reference.columns) == (True, [])
    own = build_plan(filled()).references[-1]
    assert (own.all_files, own.columns) == (False, ["prompt", "tests"])


def test_a_recorded_spec_has_plain_days():
    _, spec = of("LiveCodeBench")
    text = json.dumps(spec.model_dump(mode="json", exclude_none=True))
    assert '"window": {"start": "2024-08-01", "end": "2024-11-30"}' in text
