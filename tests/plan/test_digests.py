"""A digest changes if and only if the output of its stage may change."""

import copy

import pytest

from fusionrun.api.artifacts import digests, stage_digest
from fusionrun.api.spec import FusionRunSpec
from fusionrun.names import digest_of
from fusionrun.plan.build import build_plan
from fusionrun.plan.defaults import fill
from support.runs import CLAIM, called_reward, make_spec

HUB = {
    "target": {"family": "Llama3", "model": {"uri": "hf://org/target", "revision": "one"}},
    "publish": {"uri": f"pvc://{CLAIM}/out"},
    "hub": {},
    "scheduling": {},
}


def digests_of(spec: dict) -> dict[str, str]:
    """Return the digests, with pins that depend only on URI and revision."""
    plan = build_plan(fill(FusionRunSpec.model_validate(spec)))
    pins = [digest_of(r.uri, r.revision or "", length=12) for r in plan.references]
    return digests(plan.planned(), pins)


BASE = make_spec(**copy.deepcopy(HUB))
BEFORE = digests_of(BASE)
FINAL = {"generate/eval-final", "verify/eval-final.coding", "evaluate/final"}
SFT = {"generate/eval-sft", "verify/eval-sft.coding", "evaluate/sft"}
MEASURED = {"generate/eval-base", "verify/eval-base.coding", "evaluate/base"}
FROM_DPO = {"dpo", "promote", "publish"} | FINAL
FROM_SFT = {"sft"} | SFT | FROM_DPO
FROM_CONSTRUCT = {"construct"} | FROM_SFT
ADA = {"generate/ada", "verify/ada.mathematics", "verify/ada.coding", "score/ada"}
BOB = {"generate/bob", "verify/bob.mathematics", "verify/bob.coding", "score/bob"}
SCORES = {"score/ada", "score/bob"}
FROM_PROMPTS = {"prepare/prompts"} | ADA | BOB | FROM_CONSTRUCT
FROM_BENCHMARKS = {"prepare/benchmarks"} | MEASURED | SFT | FINAL

CHANGES = [
    ("training.dpo.beta", 1.0, FROM_DPO),
    ("training.dpo.lengthNormalized", False, FROM_DPO),
    ("training.dpo.learningRate", 1e-6, FROM_DPO),
    ("training.sft.learningRate", 1e-6, FROM_SFT),
    ("training.sft.epochs", 2, FROM_SFT),
    ("training.seed", 7, FROM_SFT),
    ("training.precision", "fp32", FROM_SFT),
    ("target.model.revision", "two", {"fetch/target"} | MEASURED | FROM_SFT),
    ("target.family", "Qwen2.5", FROM_SFT),
    ("construction.rewardMargin.max", 6.0, FROM_CONSTRUCT),
    ("construction.sftFraction", 0.5, FROM_CONSTRUCT),
    ("construction.heldOutFraction", 0.1, FROM_CONSTRUCT),
    ("construction.seed", 7, FROM_PROMPTS | FROM_BENCHMARKS),
    ("rewardModel.model.uri", f"pvc://{CLAIM}/other", SCORES | FROM_CONSTRUCT),
    ("rewardModel.maxLength", 99, SCORES | FROM_CONSTRUCT),
    ("sources.0.sampling.temperature", 0.1, ADA | FROM_CONSTRUCT),
    ("sources.0.systemPrompt", "Be brief.", ADA | FROM_CONSTRUCT),
    ("sources.0.served.dtype", "float32", ADA | FROM_CONSTRUCT),
    ("sources.0.served.maxModelLen", 512, ADA | FROM_CONSTRUCT),
    ("sources.0.served.extraArgs", ["--quantization=fp8"], ADA | FROM_CONSTRUCT),
    ("sources.0.served.model.uri", f"pvc://{CLAIM}/other", ADA | FROM_CONSTRUCT),
    ("datasets.0.uri", f"pvc://{CLAIM}/other", FROM_PROMPTS),
    ("datasets.0.split", "validation", FROM_PROMPTS),
    ("datasets.0.maxPrompts", 5, FROM_PROMPTS),
    ("datasets.0.maxKept", 5, FROM_CONSTRUCT),
    ("datasets.0.columns.answer", "gold", FROM_PROMPTS),
    ("generation.shards", 3, FROM_PROMPTS),
    ("datasets.0.samplesPerPrompt", 2, ADA | BOB | FROM_CONSTRUCT),
    ("evaluation.sampling.maxTokens", 9, MEASURED | SFT | FINAL),
    ("evaluation.server.dtype", "float32", MEASURED | SFT | FINAL),
    ("evaluation.benchmarks.0.maxPrompts", 5, FROM_BENCHMARKS),
    ("evaluation.benchmarks.0.columns.prompt", "q", FROM_BENCHMARKS | FROM_PROMPTS),
    ("evaluation.benchmarks.0.split", "validation", FROM_BENCHMARKS | FROM_PROMPTS),
    ("publish.uri", f"pvc://{CLAIM}/elsewhere", {"publish"}),
    # Fields that change only where, when and how fast a stage runs.
    ("scheduling.gpuBudget", 8, set()),
    ("scheduling.queueName", "q", set()),
    ("scheduling.sandboxRuntimeClassName", "gvisor", set()),
    ("scheduling.gpuRuntimeClassName", "nvidia", set()),
    ("budget", {"maxGpuHours": 1}, set()),
    ("suspend", True, set()),
    ("backoffLimit", 0, set()),
    ("activeDeadlineSeconds", 60, set()),
    ("hub.tokenSecretRef", {"name": "s", "key": "k"}, set()),
    ("generation.parallelism", 9, set()),
    ("generation.concurrency", 9, set()),
    ("generation.stallSeconds", 99, set()),
    ("rewardModel.batchSize", 9, set()),
    ("rewardModel.resources", {"limits": {"nvidia.com/gpu": 1}}, set()),
    ("sources.0.served.replicas", 2, set()),
    ("sources.0.served.tensorParallelSize", 2, set()),
    ("sources.0.served.startupTimeoutSeconds", 60, set()),
    ("training.resources", {"limits": {"nvidia.com/gpu": 1}}, set()),
    ("training.gradientCheckpointing", False, set()),
    ("evaluation.gate", [{"benchmark": "math-test"}], set()),
    ("publish.evenIfGateFailed", True, set()),
    ("publish.tokenSecretRef", {"name": "s", "key": "k"}, set()),
    ("publish.s3SecretRef", {"name": "s"}, set()),
    ("s3", {"secretRef": {"name": "s"}}, set()),
    ("dataStages.resources", {"limits": {"memory": "8Gi"}}, set()),
]


@pytest.mark.parametrize(("path", "value", "stages"), CHANGES, ids=[c[0] for c in CHANGES])
def test_a_change_affects_only_the_stages_that_depend_on_it(path, value, stages):
    spec = copy.deepcopy(BASE)
    *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    node = spec
    for part in parents:
        node = node[part] if isinstance(part, int) else node.setdefault(part, {})
    node[last] = value
    after = digests_of(spec)
    assert {name for name in BEFORE if BEFORE[name] != after[name]} == stages


def test_the_same_content_at_another_path_is_the_same():
    moved = copy.deepcopy(BASE)
    moved["sources"][0]["served"]["model"]["uri"] = f"pvc://{CLAIM}/moved"
    moved["datasets"][0]["uri"] = f"pvc://{CLAIM}/moved.jsonl"
    moved["evaluation"]["benchmarks"][0]["uri"] = f"pvc://{CLAIM}/moved-too.jsonl"
    plans = [build_plan(fill(FusionRunSpec.model_validate(s))) for s in (BASE, moved)]
    pins = [f"{i:012x}" for i, _ in enumerate(plans[0].references)]
    assert digests(plans[0].planned(), pins) == digests(plans[1].planned(), pins)


def test_an_explicit_default_does_not_change_a_digest():
    spec = copy.deepcopy(BASE)
    spec["training"]["dpo"] = {"beta": 10.0, "learningRate": 8e-7, "lengthNormalized": True}
    spec["recipe"] = "FuseChat-3.0"
    assert digests_of(spec) == BEFORE


def test_a_new_source_does_not_affect_the_other_sources():
    spec = copy.deepcopy(BASE)
    spec["sources"].append({"name": "cyd", "served": {"model": {"uri": f"pvc://{CLAIM}/models/cyd"}}})
    after = digests_of(spec)
    assert {n for n in BEFORE if BEFORE[n] != after[n]} == FROM_CONSTRUCT


def test_stages_of_a_kind_have_different_digests():
    assert len({(n.split("/")[0], d) for n, d in BEFORE.items()}) == len(BEFORE)


def test_resolve_computes_what_the_operator_computes():
    plan = build_plan(fill(FusionRunSpec.model_validate(BASE)))
    pins = ["0" * 12] * len(plan.references)
    found = digests(plan.planned(), pins)
    sft = next(s for s in plan.planned() if s.name == "sft")
    assert found["sft"] == stage_digest(sft.parameters_digest, ["0" * 12], [found["construct"]])


def test_url_and_model_of_a_reward_endpoint_are_in_the_digest_and_its_key_is_not():
    def of(**more) -> dict[str, str]:
        return digests_of(make_spec(**copy.deepcopy(HUB), rewardModel=called_reward(**more)))

    before = of()
    for more in ({"url": "https://other"}, {"model": "other"}):
        after = of(**more)
        assert {name for name in before if before[name] != after[name]} == SCORES | FROM_CONSTRUCT
    assert of(apiKeySecretRef={"name": "s", "key": "k"}) == before


def test_a_spec_without_bounds_has_the_parameters_of_earlier_versions():
    construct = build_plan(fill(FusionRunSpec.model_validate(BASE)))["construct"].parameters
    assert set(construct) == {"construction", "tasks", "systemPrompts"}


def test_gemma_2_reuses_no_model_that_an_earlier_release_trained_without_soft_capping():
    numbers = {
        "sft": {"learningRate": 1e-6},
        "dpo": {"learningRate": 1e-7, "beta": 10.0, "lengthNormalized": True},
    }

    def of(family: str) -> dict[str, str]:
        spec = copy.deepcopy(BASE) | {"training": numbers}
        spec["target"]["family"] = family
        return digests_of(spec)

    llama, qwen, gemma = of("Llama3"), of("Qwen2.5"), of("Gemma2")
    assert llama == qwen
    assert {name for name in llama if llama[name] != gemma[name]} == FROM_SFT
