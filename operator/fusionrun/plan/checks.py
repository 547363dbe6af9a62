"""Rules between fields that the CRD cannot say; each names the field, the value and the rule."""

import re
from collections.abc import Iterator

from fusionrun.api.artifacts import claim_path
from fusionrun.api.data import Dataset, Task
from fusionrun.api.models import ALLOWED_VLLM_ARGS, Resources, ServerSettings, SourceType
from fusionrun.api.spec import FusionRunSpec
from fusionrun.errors import SpecError
from fusionrun.plan.build import GPU_SUFFIX, gpu_count
from fusionrun.plan.presets import preset_data

PART_OF_GPU = re.compile(r"/(mig-|gpu\.shared$)")
"""Names of resources that are a part of a GPU. Source: NVIDIA's k8s-device-plugin, MIG ``mixed`` and time-slicing."""


def check_spec(spec: FusionRunSpec) -> list[SpecError]:
    """Check a filled spec; return every error, in the order of the fields."""
    return [
        *_reward(spec),
        *_models(spec),
        *_servers(spec),
        *_gpus(spec),
        *_sources(spec),
        *_presets(spec),
        *_batches(spec),
        *_names(spec),
    ]


def _reward(spec: FusionRunSpec) -> Iterator[SpecError]:
    """Repeat the one rule of admission without which there is nothing to score with."""
    if (spec.reward_model.model is None) == (spec.reward_model.endpoint is None):
        yield SpecError("rewardModel", spec.reward_model.place, "exactly one of model and endpoint is required")


def _models(spec: FusionRunSpec) -> Iterator[SpecError]:
    uris = [("target.model.uri", spec.target.model.uri)]
    if spec.reward_model.model:
        uris.append(("rewardModel.model.uri", spec.reward_model.model.uri))
    uris += [(f"sources[{s.name}].served.model.uri", s.served.model.uri) for s in spec.sources if s.served is not None]
    uris += [(f"datasets[{d.name}].uri", d.uri) for d in spec.datasets if d.uri]
    uris += [(f"evaluation.benchmarks[{b.name}].uri", b.uri) for b in spec.evaluation.benchmarks]
    if spec.publish:
        uris.append(("publish.uri", spec.publish.uri))
    claim = spec.storage.claim_name
    for field, uri in uris:
        if not uri.startswith("pvc://"):
            continue
        if uri.removeprefix("pvc://").split("/", 1)[0] != claim:
            yield SpecError(field, uri, f"the claim must be the run's own: storage.claimName is {claim!r}")
        try:
            claim_path(uri)
        except ValueError:
            yield SpecError(field, uri, "the path must not leave the claim ('..')")


def _all_servers(spec: FusionRunSpec) -> Iterator[tuple[str, ServerSettings]]:
    """Yield how each model is served, with its field."""
    for source in spec.sources:
        if source.served is not None:
            yield f"sources[{source.name}].served", source.served
    if spec.evaluation.server:
        yield "evaluation.server", spec.evaluation.server


def _servers(spec: FusionRunSpec) -> Iterator[SpecError]:
    for field, server in _all_servers(spec):
        for argument in server.extra_args:
            name = argument.split("=", 1)[0]
            if name.startswith("-") and name not in ALLOWED_VLLM_ARGS:
                yield SpecError(f"{field}.extraArgs", argument, "not one of the allowed: docs/reference.md lists them")


def _gpus(spec: FusionRunSpec) -> Iterator[SpecError]:
    """Check that GPUs are whole, and as many as the processes that are to run on them, where they are given at all."""
    for field, server in _all_servers(spec):
        wanted = server.tensor_parallel_size * server.pipeline_parallel_size
        rule = f"must be tensorParallelSize x pipelineParallelSize = {wanted}, the GPUs of one replica"
        yield from _gpu_limit(f"{field}.resources", server.resources, wanted, rule)
    yield from _gpu_limit("rewardModel.resources", spec.reward_model.resources)
    yield from _gpu_limit("dataStages.resources", spec.data_stages.resources)
    training = spec.training
    rule = f"must be processesPerNode = {training.processes_per_node}, one GPU for each process of a node"
    yield from _gpu_limit("training.resources", training.resources, training.processes_per_node, rule)
    yield from _parts_of_gpus("rewardModel.resources", spec.reward_model.resources)
    yield from _parts_of_gpus("training.resources", training.resources)


def _parts_of_gpus(field: str, resources: Resources | None) -> Iterator[SpecError]:
    """Refuse a part of a GPU for stages of ours: it does not count as one, so they would use CPUs beside it."""
    for name, value in ((resources and resources.limits) or {}).items():
        if PART_OF_GPU.search(name):
            rule = "is a part of a GPU, which this stage does not use: request GPUs, by a resource that ends in /gpu"
            yield SpecError(f"{field}.limits[{name}]", value, rule)


def _gpu_limit(
    field: str, resources: Resources | None, wanted: int | None = None, rule: str = ""
) -> Iterator[SpecError]:
    limits = {k: v for k, v in ((resources and resources.limits) or {}).items() if k.endswith(GPU_SUFFIX)}
    # The cost of a pattern over a map of unbounded strings is more than CEL may spend, so admission lets "1.5" pass.
    broken = {k: v for k, v in limits.items() if not (isinstance(v, int) or v.isdecimal())}
    for name, value in broken.items():
        yield SpecError(f"{field}.limits[{name}]", value, "GPUs are whole: must be a number of digits alone")
    held = 0 if broken else gpu_count(resources)
    if wanted is not None and held and held != wanted:
        yield SpecError(f"{field}.limits[{', '.join(limits)}]", held, rule)


def _sources(spec: FusionRunSpec) -> Iterator[SpecError]:
    types = {s.name: s.type for s in spec.sources}
    for dataset in spec.datasets:
        yield from _answers(dataset, types)
    used = {name for d in spec.datasets for name in d.sources or []}
    for source in spec.sources:
        if source.name not in used:
            yield SpecError("sources", source.name, "no data set is answered by this source: remove it, or name it")


def _answers(dataset: Dataset, types: dict[str, SourceType]) -> Iterator[SpecError]:
    """Check who answers a data set."""
    field = f"datasets[{dataset.name}]"
    held = dataset.responses_columns or {}
    if not dataset.sources:
        yield SpecError(f"{field}.sources", [], "no source answers this data set: name one")
    for name in dataset.sources or []:
        if name not in types:
            yield SpecError(f"{field}.sources", name, "must be the name of one of spec.sources")
        elif types[name] is SourceType.DATASET and name not in held:
            yield SpecError(f"{field}.sources", name, "a source of type Dataset needs a column in responsesColumns")
    for name in held:
        if types.get(name) is not SourceType.DATASET:
            yield SpecError(f"{field}.responsesColumns", name, "must name a source of type Dataset")
    if dataset.task is Task.SFT_ONLY and dataset.samples_per_prompt != 1:
        yield SpecError(f"{field}.samplesPerPrompt", dataset.samples_per_prompt, "task SftOnly takes 1")


def _presets(spec: FusionRunSpec) -> Iterator[SpecError]:
    for dataset in spec.datasets:
        if dataset.preset is None:
            continue
        known, field = preset_data(dataset.preset), f"datasets[{dataset.name}]"
        if dataset.task is not known.task:
            yield SpecError(f"{field}.task", dataset.task, f"preset {dataset.preset} is of task {known.task}")
        elif known.lacks_tests and not (dataset.columns and dataset.columns.tests):
            yield SpecError(
                f"{field}.preset",
                dataset.preset,
                "its public form has no tests, by which task Coding judges: give a data set of your own by uri, with "
                f"columns.tests; {known.lacks_tests}",
            )


def _batches(spec: FusionRunSpec) -> Iterator[SpecError]:
    processes = spec.training.nodes * spec.training.processes_per_node
    for field, numbers in (("training.sft", spec.training.sft), ("training.dpo", spec.training.dpo)):
        step = numbers.micro_batch_size * processes
        if (numbers.global_batch_size or 0) % step:
            yield SpecError(
                f"{field}.globalBatchSize",
                numbers.global_batch_size,
                f"must be a multiple of microBatchSize x nodes x processesPerNode = {step}",
            )


def _names(spec: FusionRunSpec) -> Iterator[SpecError]:
    for source in spec.sources:
        if source.name.startswith("eval-") or source.name in ("target", "reward"):
            yield SpecError(
                "sources[].name", source.name, "'target', 'reward' and 'eval-…' are kept for the run itself"
            )
