"""Rules between fields that the CRD cannot express. Each error has the field, the value and the rule."""

import re
import unicodedata
from collections.abc import Iterator

from fusionrun.api.artifacts import claim_path
from fusionrun.api.spec.data import Dataset, Task, TestsFrom
from fusionrun.api.spec.evaluation import JudgeServed
from fusionrun.api.spec.models import Model
from fusionrun.api.spec.resources import Resources
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.sources import SourceType
from fusionrun.errors import SpecError
from fusionrun.plan.evaluation_checks import check_evaluation, check_purpose, too_long
from fusionrun.plan.gpus import gpu_count, gpu_limits, is_whole
from fusionrun.plan.pod_checks import check_pods
from fusionrun.plan.presets import preset_data
from fusionrun.plan.quantities import quantity
from fusionrun.plan.references import JUDGE, REWARD, TARGET, dataset_columns, measured_field
from fusionrun.plan.server_arguments import bad_arguments
from fusionrun.plan.servers import all_servers
from fusionrun.plan.stages import EVALUATION_PREFIX, JUDGE_PREFIX

NOT_SHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of characters that a message would not show as they are. Source: Unicode, "General Category"."""
COMMIT = re.compile(r"[0-9a-f]{40}")
GPU_MEMORY_MIN = 2**30
"""Smallest memory of a GPU, in bytes: ``80`` without a unit is a mistake."""
OUTPUT_LAYER = "lm_head"
PART_OF_GPU = re.compile(r"/(mig-|gpu\.shared$)")
"""Names of resources that are parts of a GPU. Source: NVIDIA's k8s-device-plugin, MIG ``mixed`` and time-slicing."""


def check_spec(spec: FusionRunSpec) -> list[SpecError]:
    """Check a spec that has all defaults; return all errors."""
    return [
        *check_purpose(spec),
        *_reward(spec),
        *check_security(spec),
        *_gpus(spec),
        *_lengths(spec),
        *_sources(spec),
        *_presets(spec),
        *_batches(spec),
        *_training(spec),
        *_names(spec),
        *check_evaluation(spec),
    ]


def check_security(spec: FusionRunSpec) -> list[SpecError]:
    """Check what a pod must never be made from. This is checked for accepted runs as well, whoever accepted them."""
    return [*_models(spec), *_remote_code(spec), *_servers(spec), *check_pods(spec)]


def _reward(spec: FusionRunSpec) -> Iterator[SpecError]:
    """Repeat the rule of admission that scoring depends on."""
    if spec.evaluate_only is None and (spec.reward_model.model is None) == (spec.reward_model.endpoint is None):
        yield SpecError("rewardModel", spec.reward_model.place, "exactly one of model and endpoint is required")


def _models(spec: FusionRunSpec) -> Iterator[SpecError]:
    uris = [(f"{field}.uri", model.uri) for field, model in _evaluated(spec)]
    if spec.reward_model.model:
        uris.append(("rewardModel.model.uri", spec.reward_model.model.uri))
    uris += [(f"sources[{s.name}].served.model.uri", s.served.model.uri) for s in spec.sources if s.served is not None]
    uris += [(f"datasets[{d.name}].uri", d.uri) for d in spec.datasets if d.uri]
    uris += [(f"evaluation.benchmarks[{b.name}].uri", b.uri) for b in spec.evaluation.benchmarks if b.uri]
    if judge := _served_judge(spec):
        uris.append(("evaluation.judge.served.model.uri", judge.model.uri))
    if spec.publish:
        uris.append(("publish.uri", spec.publish.uri))
    claim = spec.storage.claim_name
    for field, uri in uris:
        if any(unicodedata.category(character) in NOT_SHOWN for character in uri):
            yield SpecError(field, uri, "must not contain control characters, line breaks or marks of direction")
        if not uri.startswith("pvc://"):
            continue
        if uri.removeprefix("pvc://").split("/", 1)[0] != claim:
            yield SpecError(field, uri, f"the claim must be storage.claimName, {claim!r}")
        try:
            claim_path(uri)
        except ValueError:
            yield SpecError(field, uri, "the path must not leave the claim ('..')")


def _evaluated(spec: FusionRunSpec) -> list[tuple[str, Model]]:
    """Return the target, or the models of ``evaluateOnly``, with their fields."""
    target = [("target.model", spec.target.model)] if spec.target else []
    measured = spec.evaluate_only.models if spec.evaluate_only else []
    return [*target, *((measured_field(each), each.model) for each in measured)]


def _served_judge(spec: FusionRunSpec) -> JudgeServed | None:
    return spec.evaluation.judge.served if spec.evaluation.judge else None


def _remote_code(spec: FusionRunSpec) -> Iterator[SpecError]:
    """Repeat the rules of admission that decide whose code runs."""
    if spec.target and spec.target.model.trust_remote_code:
        yield SpecError(
            "target.model.trustRemoteCode", value=True, rule="must be false: the target runs no custom code"
        )
    models = [(f"sources[{s.name}].served.model", s.served.model) for s in spec.sources if s.served]
    if spec.evaluate_only:
        models += _evaluated(spec)
    if spec.reward_model.model:
        models.append(("rewardModel.model", spec.reward_model.model))
    if judge := _served_judge(spec):
        models.append(("evaluation.judge.served.model", judge.model))
    for field, model in models:
        if model.trust_remote_code and not COMMIT.fullmatch(model.revision or ""):
            rule = "must be a 40-digit commit if trustRemoteCode is true"
            yield SpecError(f"{field}.revision", model.revision or "", rule)


def _servers(spec: FusionRunSpec) -> Iterator[SpecError]:
    for field, server in all_servers(spec):
        for argument, rule in bad_arguments(server.extra_args):
            yield SpecError(f"{field}.extraArgs", argument, rule)


def _gpus(spec: FusionRunSpec) -> Iterator[SpecError]:
    """Check that GPUs are whole and, if set, as many as the processes that use them."""
    for field, server in all_servers(spec):
        required = server.tensor_parallel_size * server.pipeline_parallel_size
        rule = f"must be tensorParallelSize x pipelineParallelSize = {required}, the GPUs per replica"
        yield from _gpu_limit(f"{field}.resources", server.resources, required, rule)
    yield from _gpu_limit("rewardModel.resources", spec.reward_model.resources)
    yield from _gpu_limit("dataStages.resources", spec.data_stages.resources)
    memory = spec.scheduling.gpu_memory
    if memory is not None and quantity(memory) < GPU_MEMORY_MIN:
        yield SpecError("scheduling.gpuMemory", memory, "must be at least 1Gi: the memory of one GPU, such as 80Gi")
    training = spec.training
    rule = f"must be processesPerNode = {training.processes_per_node}, one GPU per process"
    yield from _gpu_limit("training.resources", training.resources, training.processes_per_node, rule)
    yield from _parts_of_gpus("rewardModel.resources", spec.reward_model.resources)
    yield from _parts_of_gpus("training.resources", training.resources)
    yield from _gpu_limit(
        "training.promote.resources", training.promote.resources, 1, "must be 1: promote uses one GPU"
    )
    yield from _parts_of_gpus("training.promote.resources", training.promote.resources)


def _lengths(spec: FusionRunSpec) -> Iterator[SpecError]:
    """Check that prompts have room beside the longest response: vLLM refuses every other request."""
    for source in spec.sources:
        longest = source.sampling.max_tokens if source.sampling else None
        if rule := too_long(longest, source.served):
            yield SpecError(f"sources[{source.name}].sampling.maxTokens", longest, rule)


def _parts_of_gpus(field: str, resources: Resources | None) -> Iterator[SpecError]:
    """Refuse parts of a GPU: the task of the stage has the number of whole GPUs, so the stage would use CPUs."""
    for name, value in ((resources and resources.limits) or {}).items():
        if PART_OF_GPU.search(name):
            rule = "is part of a GPU, which this stage cannot use: request whole GPUs by a resource that ends in /gpu"
            yield SpecError(f"{field}.limits[{name}]", value, rule)


def _gpu_limit(
    field: str, resources: Resources | None, required: int | None = None, rule: str = ""
) -> Iterator[SpecError]:
    limits = gpu_limits(resources.limits if resources else None)
    # CEL's cost limit does not allow a pattern over this map, so admission accepts "1.5".
    broken = {k: v for k, v in limits.items() if not is_whole(v)}
    for name, value in broken.items():
        whole = "the number of GPUs must be a whole number, written in digits"
        yield SpecError(f"{field}.limits[{name}]", value, whole)
    count = 0 if broken else gpu_count(resources)
    if required is not None and count and count != required:
        yield SpecError(f"{field}.limits[{', '.join(limits)}]", count, rule)


def _sources(spec: FusionRunSpec) -> Iterator[SpecError]:
    types = {s.name: s.type for s in spec.sources}
    for dataset in spec.datasets:
        yield from _dataset_sources(dataset, types)
    used = {name for d in spec.datasets for name in d.sources or []}
    for source in spec.sources:
        if source.name not in used:
            rule = "no data set uses this source: remove it, or add it to datasets[].sources"
            yield SpecError("sources", source.name, rule)


def _dataset_sources(dataset: Dataset, types: dict[str, SourceType]) -> Iterator[SpecError]:
    """Check the sources of a data set."""
    field = f"datasets[{dataset.name}]"
    columns = dataset.responses_columns or {}
    if dataset.max_responses_per_prompt and not columns:
        rule = "limits the responses in responsesColumns, which are not set"
        yield SpecError(f"{field}.maxResponsesPerPrompt", dataset.max_responses_per_prompt, rule)
    if not dataset.sources:
        yield SpecError(f"{field}.sources", [], "the data set has no source: add one")
    for name in dataset.sources or []:
        if name not in types:
            yield SpecError(f"{field}.sources", name, "must be the name of a source in spec.sources")
        elif types[name] is SourceType.DATASET and name not in columns:
            rule = "responsesColumns must have a column for a source of type Dataset"
            yield SpecError(f"{field}.sources", name, rule)
    for name in columns:
        if types.get(name) is not SourceType.DATASET:
            yield SpecError(f"{field}.responsesColumns", name, "must be the name of a source of type Dataset")
    if dataset.task is Task.SFT_ONLY and dataset.samples_per_prompt != 1:
        yield SpecError(f"{field}.samplesPerPrompt", dataset.samples_per_prompt, "must be 1 for task SftOnly")


def _presets(spec: FusionRunSpec) -> Iterator[SpecError]:
    for dataset in spec.datasets:
        if dataset.preset is None:
            continue
        known, field = preset_data(dataset.preset), f"datasets[{dataset.name}]"
        if dataset.task is not known.task:
            yield SpecError(f"{field}.task", dataset.task.value, f"must be {known.task} for preset {dataset.preset}")
            continue
        if dataset.task is not Task.CODING or dataset_columns(dataset).tests or dataset.tests_from is TestsFrom.PROMPT:
            continue
        rule = "task Coding requires tests: set columns.tests, or testsFrom: Prompt if the prompts have them"
        if known.instead:
            rule = f"the public data set has no tests, which task Coding requires: use the preset {known.instead}"
        yield SpecError(f"{field}.preset", dataset.preset.value, rule)


def _batches(spec: FusionRunSpec) -> Iterator[SpecError]:
    processes = spec.training.nodes * spec.training.processes_per_node
    for field, numbers in (("training.sft", spec.training.sft), ("training.dpo", spec.training.dpo)):
        step = numbers.micro_batch_size * processes
        if (numbers.global_batch_size or 0) % step:
            rule = f"must be a multiple of microBatchSize x nodes x processesPerNode = {step}"
            yield SpecError(f"{field}.globalBatchSize", numbers.global_batch_size, rule)


def _training(spec: FusionRunSpec) -> Iterator[SpecError]:
    lora = spec.training.lora
    for name in (lora and lora.target_modules) or []:
        if name.endswith(OUTPUT_LAYER):
            rule = "the output layer cannot have adapters: the loss is computed from its weights alone"
            yield SpecError("training.lora.targetModules", name, rule)


def _names(spec: FusionRunSpec) -> Iterator[SpecError]:
    for source in spec.sources:
        if source.name.startswith(EVALUATION_PREFIX) or source.name in (TARGET, REWARD):
            rule = "'target', 'reward' and names that start with 'eval-' are reserved"
            yield SpecError("sources[].name", source.name, rule)
        if _served_judge(spec) and (source.name.startswith(JUDGE_PREFIX) or source.name == JUDGE):
            rule = "'judge' and names that start with 'judge-' are reserved in a run that serves a judge"
            yield SpecError("sources[].name", source.name, rule)
