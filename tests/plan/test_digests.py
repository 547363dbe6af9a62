"""A digest changes if and only if the output of its stage may change."""

import copy

import pytest

from fusionrun.api.artifacts import stage_digest
from fusionrun.plan.build import build_plan
from fusionrun.plan.tasks import build_task
from support.plans import pinned_by_uri, pinned_of, plan_of, read
from support.runs import CLAIM, called_reward, changed, make_spec

HUB = {
    "target": {"family": "Llama3", "model": {"uri": "hf://org/target", "revision": "one"}},
    "publish": {"uri": f"pvc://{CLAIM}/out"},
    "hub": {},
    "scheduling": {},
}


def digests_of(spec: dict) -> dict[str, str]:
    return dict(pinned_by_uri(spec).digests)


def difference(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


BASE = make_spec(**copy.deepcopy(HUB))
BEFORE = digests_of(BASE)
FINAL = {"generate/eval-final", "verify/eval-final.coding", "evaluate/final", "compare"}
SFT = {"generate/eval-sft", "verify/eval-sft.coding", "evaluate/sft", "compare"}
MEASURED = {"generate/eval-base", "verify/eval-base.coding", "evaluate/base", "compare"}
FROM_DPO = {"dpo", "promote", "publish"} | FINAL
FROM_SFT = {"sft"} | SFT | FROM_DPO
FROM_CONSTRUCT = {"construct"} | FROM_SFT
ADA = {"generate/ada", "verify/ada.mathematics", "verify/ada.coding", "score/ada"}
BOB = {"generate/bob", "verify/bob.mathematics", "verify/bob.coding", "score/bob"}
CHECKED_REWARD, CHECKED_TRAINING = {"preflight/reward"}, {"preflight/training"}
CHECKED_DESTINATION = {"preflight/publishing"}
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
    ("training.precision", "fp32", FROM_SFT | CHECKED_TRAINING),
    ("training.sft.maxLength", 99, FROM_SFT | CHECKED_TRAINING),
    ("target.model.revision", "two", {"fetch/target"} | MEASURED | FROM_SFT | CHECKED_TRAINING),
    ("target.family", "Qwen2.5", FROM_SFT | CHECKED_TRAINING),
    ("target.chatTemplate", "Own", FROM_SFT | CHECKED_TRAINING),
    ("construction.rewardMargin.max", 6.0, FROM_CONSTRUCT),
    ("construction.sftFraction", 0.5, FROM_CONSTRUCT),
    ("construction.heldOutFraction", 0.1, FROM_CONSTRUCT),
    ("construction.seed", 7, FROM_PROMPTS | FROM_BENCHMARKS),
    ("rewardModel.model.uri", f"pvc://{CLAIM}/other", SCORES | FROM_CONSTRUCT | CHECKED_REWARD),
    ("rewardModel.maxLength", 99, SCORES | FROM_CONSTRUCT | CHECKED_REWARD),
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
    ("evaluation.benchmarks.0.sampling.temperature", 0.5, MEASURED | SFT | FINAL),
    ("evaluation.benchmarks.0.stop", ["Question:"], MEASURED | SFT | FINAL),
    ("evaluation.benchmarks.0.samples", 4, MEASURED | SFT | FINAL),
    ("evaluation.benchmarks.0.promptTemplate", "Solve: {prompt}", FROM_BENCHMARKS),
    ("evaluation.benchmarks.0.systemPrompt", "Be brief.", FROM_BENCHMARKS),
    ("evaluation.benchmarks.0.prefill", "The answer", FROM_BENCHMARKS),
    ("evaluation.benchmarks.0.maxPrompts", 5, FROM_BENCHMARKS),
    ("evaluation.benchmarks.0.columns.prompt", "q", FROM_BENCHMARKS | FROM_PROMPTS),
    ("evaluation.benchmarks.0.split", "validation", FROM_BENCHMARKS | FROM_PROMPTS),
    ("publish.uri", f"pvc://{CLAIM}/elsewhere", {"publish"} | CHECKED_DESTINATION),
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
    ("publish.tokenSecretRef", {"name": "s", "key": "k"}, CHECKED_DESTINATION),
    ("publish.s3SecretRef", {"name": "s"}, CHECKED_DESTINATION),
    ("s3", {"secretRef": {"name": "s"}}, set()),
    ("dataStages.resources", {"limits": {"memory": "8Gi"}}, set()),
    ("scheduling.affinity", {"nodeAffinity": {}}, set()),
    *(
        (f"{part}.pod", {"env": [{"name": "TZ", "value": "UTC"}]}, set())
        for part in ("sources.0.served", "rewardModel", "training", "evaluation.server", "dataStages")
    ),
    ("sandbox.pod", {"labels": {"linkerd.io/inject": "disabled"}}, set()),
]


@pytest.mark.parametrize(("path", "value", "stages"), CHANGES, ids=[c[0] for c in CHANGES])
def test_a_change_affects_only_the_stages_that_depend_on_it(path, value, stages):
    assert difference(BEFORE, digests_of(changed(BASE, path, value))) == stages


def test_the_same_content_at_another_path_is_the_same():
    moved = BASE
    for path in ("sources.0.served.model.uri", "datasets.0.uri", "evaluation.benchmarks.0.uri"):
        moved = changed(moved, path, f"pvc://{CLAIM}/moved")
    assert pinned_of("tiny", moved).digests == pinned_of("tiny", BASE).digests


def test_an_explicit_default_does_not_change_a_digest():
    spec = changed(BASE, "training.dpo", {"beta": 10.0, "learningRate": 8e-7, "lengthNormalized": True})
    assert digests_of(spec | {"recipe": "FuseChat-3.0"}) == BEFORE


def test_a_new_source_does_not_affect_the_other_sources():
    added = {"name": "cyd", "served": {"model": {"uri": f"pvc://{CLAIM}/models/cyd"}}}
    assert difference(BEFORE, digests_of(changed(BASE, "sources.2", added))) == FROM_CONSTRUCT


def test_stages_of_a_kind_have_different_digests():
    assert len({(n.split("/")[0], d) for n, d in BEFORE.items()}) == len(BEFORE)


def test_resolve_computes_what_the_operator_computes():
    pinned = pinned_of("tiny", BASE, ["0" * 12] * len(build_plan(read(BASE)).references))
    sft = next(s for s in pinned.plan.planned() if s.name == "sft")
    found = pinned.digests
    assert found["sft"] == stage_digest(sft.parameters_digest, ["0" * 12], [found["construct"]])


def test_url_and_model_of_a_reward_endpoint_are_in_the_digest_and_its_key_is_not():
    def of(**more) -> dict[str, str]:
        return digests_of(make_spec(**copy.deepcopy(HUB), rewardModel=called_reward(**more)))

    before = of()
    for more in ({"url": "https://other"}, {"model": "other"}):
        assert difference(before, of(**more)) == SCORES | FROM_CONSTRUCT | CHECKED_REWARD
    assert of(apiKeySecretRef={"name": "s", "key": "k"}) == before


def test_a_spec_without_bounds_has_the_parameters_of_earlier_versions():
    assert set(plan_of()["construct"].parameters) == {"construction", "tasks", "systemPrompts"}


def test_gemma_2_reuses_no_model_that_an_earlier_release_trained_without_soft_capping():
    dpo = {"learningRate": 1e-7, "beta": 10.0, "lengthNormalized": True}
    spec = BASE | {"training": {"sft": {"learningRate": 1e-6}, "dpo": dpo}}
    spec = changed(spec, "target.chatTemplate", "Own")
    families = ("Llama3", "Qwen2.5", "Gemma2")
    llama, qwen, gemma = (digests_of(changed(spec, "target.family", family)) for family in families)
    assert llama == qwen
    assert difference(llama, gemma) == FROM_SFT | CHECKED_TRAINING


def test_only_the_llama_families_get_another_template():
    for family, template in {"Llama3": "llama3", "Llama3Small": "llama3", "Qwen2.5": None, "Gemma2": None}.items():
        spec = changed(BASE, "target.family", family)
        own = changed(spec, "target.chatTemplate", "Own")
        assert (digests_of(spec) == digests_of(own)) is (template is None)
        pinned = pinned_of("tiny", spec)
        assert build_task(pinned, pinned.plan["sft"]).parameters.chat_template == template
        assert pinned.plan.references[0].chat_template == template
        assert not any(reference.chat_template for reference in pinned.plan.references[1:])
