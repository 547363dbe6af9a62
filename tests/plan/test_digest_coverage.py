"""Every field of every task is part of a digest, or in the table with the reason why it does not change the result."""

import inspect
from dataclasses import dataclass
from typing import Any

import pytest

from fusionrun.api.artifacts import artifact_dir, claim_path, model_dir
from fusionrun.api.contract import Contract
from fusionrun.api.spec.models import Sampling
from fusionrun.api.spec.training import Dpo, Sft
from fusionrun.api.tasks import evaluation, parameters, responses, training
from fusionrun.api.tasks.evaluation import (
    BenchmarkParameters,
    CompareParameters,
    EvaluateParameters,
    JudgeParameters,
)
from fusionrun.api.tasks.parameters import (
    ConstructParameters,
    DatasetParameters,
    FetchParameters,
    PreflightParameters,
    PrepareParameters,
    PublishingCheckParameters,
    PublishParameters,
    ResolveParameters,
    RewardCheckParameters,
    SourceInputs,
)
from fusionrun.api.tasks.responses import (
    GenerateParameters,
    RewardEndpointParameters,
    SamplingParameters,
    ScoreParameters,
    ServerParameters,
    VerifyParameters,
)
from fusionrun.api.tasks.task import StageTask
from fusionrun.api.tasks.training import (
    DpoParameters,
    MlflowParameters,
    PromoteParameters,
    SftParameters,
    TrainingInputs,
    TrainParameters,
)
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.tasks import build_task
from support.plans import pinned_by_uri
from support.runs import CLAIM, called_reward, changed, external_judge, external_source, make_spec, rated


@dataclass(frozen=True)
class InDigest:
    """A change of the spec changes the field, and the digest of the stage."""

    path: str
    """Field of the spec; empty if two stages of one plan show it."""
    value: Any = None
    stage: str = ""
    after: str = ""
    """Name of the stage after the change, if it is another."""


@dataclass(frozen=True)
class Stored:
    """The place of an artifact, model or data set that the stage reads. Its digest or fingerprint is in the digest."""

    stage: str = ""


@dataclass(frozen=True)
class NoEffect:
    """The field does not change the output of the stage."""

    reason: str
    path: str = ""
    """Field of the spec that changes it, to show that the digest stays the same."""
    value: Any = None
    stage: str = ""


@dataclass(frozen=True)
class Nested:
    """The fields of the field's class are rows of this table."""


Row = InDigest | Stored | NoEffect | Nested

ADA, FAR, MATH, EVAL = "generate/ada", "generate/far", "verify/ada.mathematics", "generate/eval-sft"
EXAMPLES: dict[type[Contract], tuple[str, str]] = {
    StageTask: (ADA, ""),
    ResolveParameters: ("resolve", "parameters"),
    FetchParameters: ("fetch/target", "parameters"),
    PrepareParameters: ("prepare/prompts", "parameters"),
    DatasetParameters: ("prepare/prompts", "parameters.datasets.0"),
    PreflightParameters: ("preflight/training", "parameters"),
    PublishingCheckParameters: ("preflight/publishing", "parameters.publishing"),
    RewardCheckParameters: ("preflight/reward", "parameters.reward"),
    GenerateParameters: (ADA, "parameters"),
    SamplingParameters: (ADA, "parameters.sampling"),
    VerifyParameters: (MATH, "parameters"),
    ScoreParameters: ("score/ada", "parameters"),
    RewardEndpointParameters: ("score/ada", "parameters.endpoint"),
    ConstructParameters: ("construct", "parameters"),
    SourceInputs: ("construct", "parameters.sources.0"),
    SftParameters: ("sft", "parameters"),
    MlflowParameters: ("sft", "parameters.mlflow"),
    DpoParameters: ("dpo", "parameters"),
    PromoteParameters: ("promote", "parameters"),
    JudgeParameters: ("judge/base", "parameters"),
    EvaluateParameters: ("evaluate/base", "parameters"),
    CompareParameters: ("compare", "parameters"),
    BenchmarkParameters: ("evaluate/base", "parameters.benchmarks.0"),
    PublishParameters: ("publish", "parameters"),
}
"""By class: a stage whose task has one, and where it is in the task."""

RENAMED = {"path": "sources.0.name", "value": "cyd"}
ALWAYS_RUNS = "resolve runs in every run, and its artifact is not reused"
CREDENTIAL = "a credential"
SPEED = "only the speed of the stage depends on it"
SHOWN = "where the numbers of a training are shown"
CARD = "only the model card shows it"
JUDGE = "evaluation.judge"


def training_rows(kind: str) -> dict[str, Row]:
    return {
        "model_path": Stored(),
        "data_path": Stored(),
        "epochs": InDigest(f"training.{kind}.epochs", 2.0),
        "learning_rate": InDigest(f"training.{kind}.learningRate", 1e-4),
        "global_batch_size": InDigest(f"training.{kind}.globalBatchSize", 64),
        "micro_batch_size": InDigest(f"training.{kind}.microBatchSize", 2),
        "max_length": InDigest(f"training.{kind}.maxLength", 99),
        "warmup_ratio": InDigest(f"training.{kind}.warmupRatio", 0.5),
        "save_steps": InDigest(f"training.{kind}.saveSteps", 7),
        "zero_stage": InDigest("training.zeroStage", 1),
        "precision": InDigest("training.precision", "fp32"),
        "seed": InDigest("training.seed", 7),
        "gradient_checkpointing": NoEffect("trades memory for speed", "training.gradientCheckpointing", False),
        "trial_steps": NoEffect("only preflight sets it"),
        "offload": NoEffect("trades memory for speed", "training.offload", "Optimizer"),
        "lora": InDigest("training.lora", {"rank": 8}),
        "report_to": NoEffect(SHOWN, "training.reportTo", ["TensorBoard"]),
        "mlflow": Nested(),
    }


DPO_ROWS: dict[str, Row] = {
    "beta": InDigest("training.dpo.beta", 1.0),
    "length_normalized": InDigest("training.dpo.lengthNormalized", False),
}

TABLE: dict[type[Contract], dict[str, Row]] = {
    StageTask: {
        "version": NoEffect("the version of the format"),
        "run": NoEffect("runs share artifacts"),
        "namespace": NoEffect("runs share artifacts"),
        "stage": NoEffect("the name of the stage"),
        "digest": NoEffect("the digest itself"),
        "output_dir": NoEffect("has the digest in it"),
        "shards": InDigest("generation.shards", 3),
        "workers": NoEffect(SPEED, "rewardModel.replicas", 2, "score/ada"),
        "gpus": NoEffect(SPEED, "training.resources", {"limits": {"nvidia.com/gpu": 1}}, "sft"),
        "parameters": Nested(),
    },
    ResolveParameters: dict.fromkeys(("references", "stages", "hub_endpoint", "demand"), NoEffect(ALWAYS_RUNS)),
    FetchParameters: {
        "uri": Stored(),
        "revision": InDigest("target.model.revision", "two"),
        "destination": Stored(),
        "hub_endpoint": NoEffect("the fingerprint identifies the download", "hub.endpoint", "https://mirror"),
    },
    PrepareParameters: {
        "datasets": Nested(),
        "benchmarks": Nested(),
        "harness_data": InDigest("evaluation.benchmarks.3.name", "other"),
        "shards": InDigest("generation.shards", 3),
        "seed": InDigest("construction.seed", 7),
    },
    DatasetParameters: {
        "name": InDigest("datasets.0.name", "sums"),
        "task": InDigest("datasets.0.task", "Instruction"),
        "uri": Stored(),
        "revision": Stored(),
        "split": InDigest("datasets.0.split", "validation"),
        "columns": InDigest("datasets.0.columns.answer", "gold"),
        "turns": InDigest("datasets.0.turns", "All"),
        "max_responses_per_prompt": InDigest("datasets.0.maxResponsesPerPrompt", 3),
        "responses_columns": InDigest("datasets.0.responsesColumns", {"kept": "solution"}),
        "max_prompts": InDigest("datasets.0.maxPrompts", 5),
        "excluded_subjects": InDigest("datasets.0.excludedSubjects", ["Code"]),
        "near_duplicate_threshold": InDigest("datasets.0.nearDuplicateThreshold", 0.7),
        "preset": NoEffect("prepare does not read it; the other fields have what a preset decides"),
        "tests_from": InDigest("datasets.0.testsFrom", "Prompt"),
        "protocol": NoEffect("only benchmarks have one: test_benchmarks.py changes each of its fields"),
    },
    GenerateParameters: {
        "source": InDigest(**RENAMED, after="generate/cyd"),
        "base_url": InDigest("sources.2.endpoint.url", "https://other/v1", FAR),
        "model": InDigest("sources.2.endpoint.model", "other", FAR),
        "api_key_env": NoEffect(CREDENTIAL, "sources.2.endpoint.apiKeySecretRef", {"name": "s", "key": "k"}, FAR),
        "external": InDigest("sources.2", {"name": "far", "served": {"model": {"uri": f"pvc://{CLAIM}/m"}}}, FAR),
        "prices": NoEffect("counts costs", "sources.2.endpoint.prices", {"prompt": 1.0, "completion": 1.0}, FAR),
        "quota": NoEffect("a stage that reaches it fails", "sources.2.endpoint.quota", {"maxRequests": 9}, FAR),
        "prompts_dir": Stored(),
        "solutions_verdicts_dir": Stored(),
        "shards": InDigest("generation.shards", 3),
        "samples_per_prompt": InDigest("datasets.0.samplesPerPrompt", 2),
        "sampling": Nested(),
        "sampling_by_dataset": InDigest("evaluation.benchmarks.0.sampling.maxTokens", 9, EVAL),
        "harness": InDigest("evaluation.benchmarks.3.maxPrompts", 9, EVAL),
        "system_prompt": InDigest("sources.0.systemPrompt", "Be brief."),
        "concurrency": NoEffect(SPEED, "generation.concurrency", 9),
        "max_concurrency": NoEffect(SPEED, "generation.maxConcurrency", 9),
        "stall_seconds": NoEffect("a stage whose server hangs is retried", "generation.stallSeconds", 99),
        "seed": InDigest("construction.seed", 7),
    },
    SamplingParameters: {
        "temperature": InDigest("sources.0.sampling.temperature", 0.1),
        "top_p": InDigest("sources.0.sampling.topP", 0.1),
        "top_k": InDigest("sources.0.sampling.topK", 9),
        "repetition_penalty": InDigest("sources.0.sampling.repetitionPenalty", 1.5),
        "max_tokens": InDigest("evaluation.sampling.maxTokens", 9, EVAL),
        "stop": NoEffect("only benchmarks have some: test_digests.py changes them"),
    },
    VerifyParameters: {
        "grader": InDigest("datasets.0.task", "Coding", after="verify/ada.coding"),
        "datasets": InDigest("datasets.0.name", "sums"),
        "source": InDigest(**RENAMED, after="verify/cyd.mathematics"),
        "prompts_dir": Stored(),
        "responses_dir": Stored(),
        "shards": InDigest("generation.shards", 3),
    },
    ScoreParameters: {
        "source": InDigest(**RENAMED, after="score/cyd"),
        "model_path": Stored(),
        "trust_remote_code": NoEffect(
            "the fingerprint includes the code of the model", "rewardModel.model.trustRemoteCode", True
        ),
        "endpoint": Nested(),
        "prompts_dir": Stored(),
        "responses_dir": Stored(),
        "shards": InDigest("generation.shards", 3),
        "batch_size": NoEffect(SPEED, "rewardModel.batchSize", 9),
        "max_batch_tokens": NoEffect(SPEED, "rewardModel.maxBatchTokens", 99),
        "max_length": InDigest("rewardModel.maxLength", 99),
        "calibration": InDigest("rewardModel.calibration.scoreRange.max", 9.0),
    },
    RewardEndpointParameters: {
        "base_url": InDigest("rewardModel.endpoint.url", "https://other"),
        "model": InDigest("rewardModel.endpoint.model", "other"),
        "api_key_env": NoEffect(CREDENTIAL, "rewardModel.endpoint.apiKeySecretRef", {"name": "s", "key": "k"}),
        "concurrency": NoEffect(SPEED, "rewardModel.batchSize", 9),
        "stall_seconds": NoEffect("a stage whose server hangs is retried", "generation.stallSeconds", 99),
    },
    PublishingCheckParameters: {
        "destination": InDigest("publish.uri", f"pvc://{CLAIM}/elsewhere"),
        "hub_endpoint": NoEffect("the destination names the repository", "hub.endpoint", "https://mirror"),
    },
    PreflightParameters: {
        "subject": InDigest("", after="preflight/reward"),
        "sft": InDigest("training.sft.maxLength", 99),
        "dpo": InDigest("training.dpo.microBatchSize", 2),
        "publishing": Nested(),
        "reward": Nested(),
    },
    RewardCheckParameters: {
        "model_path": Stored(),
        "trust_remote_code": NoEffect(
            "the fingerprint includes the code of the model", "rewardModel.model.trustRemoteCode", True
        ),
        "endpoint": Nested(),
        "max_length": InDigest("rewardModel.maxLength", 99),
        "calibration": InDigest("rewardModel.calibration.scoreRange.max", 9.0),
    },
    ConstructParameters: {
        "prompts_dir": Stored(),
        "prepare_manifest": Stored(),
        "solutions_verdicts_dir": Stored(),
        "tasks": InDigest("datasets.0.task", "Coding"),
        "sources": Nested(),
        "reward_margin": InDigest("construction.rewardMargin.max", 6.0),
        "sft_fraction": InDigest("construction.sftFraction", 0.5),
        "held_out_fraction": InDigest("construction.heldOutFraction", 0.1),
        "max_kept": InDigest("datasets.0.maxKept", 5),
        "system_prompts": InDigest("sources.0.systemPrompt", "Be brief."),
        "seed": InDigest("construction.seed", 7),
    },
    SourceInputs: {
        "source": InDigest(**RENAMED),
        "source_model": NoEffect("a name: the digest has the content of the model"),
        "responses_dir": Stored(),
        "verdicts_dirs": Stored(),
        "scores_dir": Stored(),
    },
    MlflowParameters: {
        "tracking_uri": NoEffect(SHOWN, "training.mlflow.trackingUri", "http://other"),
        "experiment": NoEffect(SHOWN, "training.mlflow.experiment", "other"),
    },
    SftParameters: training_rows("sft") | {"chat_template": InDigest("target.chatTemplate", "Own")},
    DpoParameters: training_rows("dpo") | DPO_ROWS | {"chat_template": NoEffect("only preflight sets it")},
    PromoteParameters: {
        "dpo_dir": Stored(),
        "reference_model_path": Stored(),
        "held_out_path": Stored(),
        "save_steps": InDigest("training.dpo.saveSteps", 7),
        "max_length": InDigest("training.dpo.maxLength", 99),
        **DPO_ROWS,
    },
    JudgeParameters: {
        "evaluated": InDigest("", after="judge/sft"),
        "benchmarks": Nested(),
        "prompts_dir": Stored(),
        "responses_dir": Stored(),
        "materials_dir": Stored(),
        "shards": NoEffect("always 1"),
        "base_url": InDigest(f"{JUDGE}.endpoint.url", "https://other/v1"),
        "model": InDigest(f"{JUDGE}.endpoint.model", "other"),
        "api_key_env": NoEffect(CREDENTIAL, f"{JUDGE}.endpoint.apiKeySecretRef", {"name": "s", "key": "k"}),
        "external": InDigest(JUDGE, {"served": {"model": {"uri": f"pvc://{CLAIM}/m"}}}),
        "prices": NoEffect("counts costs", f"{JUDGE}.endpoint.prices", {"prompt": 1.0, "completion": 1.0}),
        "quota": NoEffect("a stage that reaches it fails", f"{JUDGE}.endpoint.quota", {"maxRequests": 9}),
        "concurrency": NoEffect(SPEED, "generation.concurrency", 9),
        "max_concurrency": NoEffect(SPEED, "generation.maxConcurrency", 9),
        "stall_seconds": NoEffect("a stage whose server hangs is retried", "generation.stallSeconds", 99),
    },
    EvaluateParameters: {
        "model": InDigest("", after="evaluate/sft"),
        "benchmarks": Nested(),
        "prompts_dir": Stored(),
        "responses_dir": Stored(),
        "verdicts_dir": Stored(),
        "judgements_dir": Stored(),
        "materials_dir": Stored(),
        "harness_dir": Stored(),
        "judge": InDigest(f"{JUDGE}.endpoint.model", "other"),
        "shards": NoEffect("always 1"),
        "seed": InDigest("construction.seed", 7),
    },
    BenchmarkParameters: {
        "name": InDigest("evaluation.benchmarks.0.name", "sums"),
        "grader": InDigest("evaluation.benchmarks.0.grader", "ExactMatch"),
        "protocol": InDigest("evaluation.benchmarks.0.samples", 3),
    },
    CompareParameters: {
        "benchmarks": Nested(),
        "scores": Stored(),
        "pairs": NoEffect("the same in every run"),
        "seed": InDigest("construction.seed", 7),
    },
    PublishParameters: {
        "model_path": Stored(),
        "dataset_dir": Stored(),
        "destination": InDigest("publish.uri", f"pvc://{CLAIM}/elsewhere"),
        "hub_endpoint": NoEffect("the destination names the repository", "hub.endpoint", "https://mirror"),
        "private": InDigest("publish.private", False),
        "run_spec": NoEffect(CARD, "generation.concurrency", 9),
        "scores": NoEffect(CARD),
        "results": NoEffect(CARD),
        "groups": NoEffect(CARD),
        "pins": NoEffect(CARD),
        "source_models": NoEffect(CARD),
        "benchmark_licences": NoEffect(CARD),
        "evaluation_dir": NoEffect(CARD),
    },
}
ROWS = [(cls, field, row) for cls, rows in TABLE.items() for field, row in rows.items()]


def spec_for(cls: type[Contract]) -> dict[str, Any]:
    """Return a spec whose plan has every kind of stage, and a reward model behind an endpoint for its parameters."""
    math, code = make_spec()["datasets"]
    code["columns"]["solution"] = "solution"
    spec = make_spec(
        target={"family": "Llama3", "model": {"uri": "hf://org/target", "revision": "one"}},
        datasets=[math | {"uri": "hf://org/math"}, code],
        publish={"uri": f"pvc://{CLAIM}/out"},
        hub={},
    )
    spec["training"] |= {"reportTo": ["MLflow"], "mlflow": {"trackingUri": "http://mlflow:5000"}}
    spec["sources"].append(external_source())
    spec["evaluation"]["benchmarks"] += [rated(), {"name": "task", "harness": "LmEval", "task": "mmlu_pro"}]
    spec["evaluation"]["judge"] = external_judge()
    return spec | ({"rewardModel": called_reward()} if cls is RewardEndpointParameters else {})


def field_of(cls: type[Contract], field: str, plan: PinnedPlan, stage: str) -> Any:
    found: Any = build_task(plan, plan.plan[stage], "http://server/v1")
    for part in filter(None, EXAMPLES[cls][1].split(".")):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    assert isinstance(found, cls)
    return getattr(found, field)


def readable(plan: PinnedPlan, stage: str) -> list[str]:
    """Return the places of the artifacts and references whose digest or fingerprint is in the digest of a stage."""
    node = plan.plan[stage]
    references = [plan.plan.references[i] for i in node.pins]
    return [
        *(artifact_dir(plan.plan[name].kind, plan.digests[name]) for name in node.inputs),
        *(plan.pins[i] for i in node.pins),
        *(model_dir(plan.pins[i]) for i in node.pins),
        *(r.uri for r in references),
        *(claim_path(r.uri) for r in references if r.uri.startswith("pvc://")),
    ]


def of_type(row_type: type[Row], *, shown: bool = True) -> list[Any]:
    rows = [r for r in ROWS if isinstance(r[2], row_type) and (shown or r[2].path)]
    return [pytest.param(*r, id=f"{r[0].__name__}.{r[1]}") for r in rows]


@pytest.mark.parametrize(("cls", "field", "row"), of_type(InDigest))
def test_a_field_is_part_of_the_digest(cls, field, row):
    base = spec_for(cls)
    before, after = pinned_by_uri(base), pinned_by_uri(changed(base, row.path, row.value) if row.path else base)
    old = row.stage or EXAMPLES[cls][0]
    new = row.after or old
    assert field_of(cls, field, before, old) != field_of(cls, field, after, new)
    assert before.digests[old] != after.digests[new]


@pytest.mark.parametrize(("cls", "field", "row"), of_type(Stored))
def test_a_place_is_that_of_an_input_or_of_a_pin(cls, field, row):
    plan, stage = pinned_by_uri(spec_for(cls)), row.stage or EXAMPLES[cls][0]
    value = field_of(cls, field, plan, stage)
    places = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    assert places
    for place in places:
        assert place.startswith(tuple(readable(plan, stage)))


@pytest.mark.parametrize(("cls", "field", "row"), of_type(NoEffect, shown=False))
def test_a_field_without_effect_changes_no_digest(cls, field, row):
    base, stage = spec_for(cls), row.stage or EXAMPLES[cls][0]
    before, after = pinned_by_uri(base), pinned_by_uri(changed(base, row.path, row.value))
    assert field_of(cls, field, before, stage) != field_of(cls, field, after, stage)
    assert before.digests[stage] == after.digests[stage]


def test_every_field_of_every_task_has_a_row():
    classes = {StageTask} | {
        cls
        for module in (evaluation, parameters, responses, training)
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and cls not in (ServerParameters, TrainParameters, TrainingInputs)
    }
    assert {cls: set(rows) for cls, rows in TABLE.items()} == {cls: set(cls.model_fields) - {"kind"} for cls in classes}


def test_every_setting_of_training_in_the_spec_is_in_the_task():
    assert set(Sft.model_fields) <= set(SftParameters.model_fields)
    assert set(Dpo.model_fields) <= set(DpoParameters.model_fields)


def test_every_setting_of_sampling_in_the_spec_is_in_the_task():
    assert set(Sampling.model_fields) == set(SamplingParameters.model_fields) - {"stop"}
