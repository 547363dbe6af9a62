"""Turn a resolved spec into a plan: which stages there are, and what each depends on."""

from typing import Any

from fusionrun.api.contract import Contract
from fusionrun.api.data import Benchmark, Dataset, Grader
from fusionrun.api.models import Resources, ServerSettings, Source, SourceType
from fusionrun.api.spec import Family, FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.plan.answers import GRADED_TASKS, SOLUTIONS, answered, checked, judged, responses_stage, solved
from fusionrun.plan.graph import check_order
from fusionrun.plan.references import References, dataset_columns
from fusionrun.plan.stages import Plan, Stage

EVALUATED = ("base", "sft", "final")
GPU_SUFFIX = "/gpu"


def build_plan(spec: FusionRunSpec) -> Plan:
    """Build the plan of a spec whose every field is filled (``plan.defaults.fill``)."""
    references = References(spec)
    stages = [
        Stage("resolve", StageKind.RESOLVE),
        *_fetches(references),
        *_prepares(spec, references),
        *_solutions(spec),
        *_source_stages(spec, references),
        *_training_stages(spec, references),
        *_evaluations(spec, references),
        *_publications(spec),
    ]
    check_order(stages)
    return Plan(tuple(stages), tuple(references.all))


def gpu_count(resources: Resources | None) -> int:
    """Count the GPUs that a container with these resources holds."""
    limits = (resources.limits if resources else None) or {}
    return sum(int(v) for k, v in limits.items() if k.endswith(GPU_SUFFIX))


def _data(value: Contract) -> Any:
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


def _fetches(references: References) -> list[Stage]:
    return [
        Stage(name, StageKind.FETCH, pins=(references.model(name.removeprefix("fetch/")),))
        for name in references.fetches.values()
    ]


def _prepares(spec: FusionRunSpec, references: References) -> list[Stage]:
    shards = spec.generation.shards
    benchmarks = [f"evaluation.benchmarks[{b.name}]" for b in spec.evaluation.benchmarks]
    pins = [f"datasets[{d.name}]" for d in spec.datasets] + benchmarks
    asked = [
        {
            "name": d.name,
            "task": d.task,
            "split": d.split,
            "columns": _data(dataset_columns(d)),
            "maxPrompts": d.max_prompts,
            "responses": d.responses_columns,
            **_dropped(d),
        }
        for d in spec.datasets
    ]
    left_out = [_measured(b, {"split", "grader", "columns"}) for b in spec.evaluation.benchmarks]
    stages = [
        Stage(
            "prepare/prompts",
            StageKind.PREPARE,
            {"datasets": asked, "leftOut": left_out, "shards": shards, "seed": spec.construction.seed},
            pins=tuple(references.indexes[p] for p in pins),
        )
    ]
    if benchmarks:
        fields = set(Benchmark.model_fields) - {"uri", "revision"}
        measured = [_measured(b, fields) for b in spec.evaluation.benchmarks]
        parameters = {"benchmarks": measured, "seed": spec.construction.seed}
        pinned = tuple(references.indexes[p] for p in benchmarks)
        stages.append(Stage("prepare/benchmarks", StageKind.PREPARE, parameters, pins=pinned))
    return stages


def _solutions(spec: FusionRunSpec) -> list[Stage]:
    """Check that reference solutions pass their prompts' tests, before a prompt is asked of anybody (recipe.md)."""
    if not (names := solved(spec)):
        return []
    generation = spec.generation
    parameters = {"grader": Grader.CODING, "datasets": names, "source": "solutions"}
    return [
        Stage(SOLUTIONS, StageKind.VERIFY, parameters, inputs=("prepare/prompts",), shards=generation.shards,
              parallelism=generation.parallelism)
    ]  # fmt: skip


def _measured(benchmark: Benchmark, fields: set[str]) -> dict[str, Any]:
    """Return fields of a benchmark; later columns only where they are given, so that digests stay what they were."""
    data = benchmark.model_dump(mode="json", include=fields)
    columns = data["columns"] or {}
    for name in ("context", "solution", "category"):
        if name in columns and columns[name] is None:
            del columns[name]
    return data


def _dropped(dataset: Dataset) -> dict[str, Any]:
    """Return what a data set asks to be dropped; empty where it asks for nothing, as before there was such a field."""
    asked = {"excluded": sorted(dataset.excluded_subjects or []), "nearDuplicates": dataset.near_duplicate_threshold}
    return {name: value for name, value in asked.items() if value}


def _kept(spec: FusionRunSpec) -> dict[str, Any]:
    """Return the bounds on rows and pairs; empty where there are none, so that older digests stay what they were."""
    bounds = {d.name: d.max_kept for d in spec.datasets if d.max_kept is not None}
    return {"maxKept": bounds} if bounds else {}


def _served_as(server: ServerSettings) -> dict[str, Any]:
    """Return what of a server's settings may change its answers."""
    return {"dtype": server.dtype, "maxModelLen": server.max_model_len, "extraArgs": server.extra_args}


def _server_gpus(server: ServerSettings) -> int:
    return gpu_count(server.resources) * server.replicas


def _source_stages(spec: FusionRunSpec, references: References) -> list[Stage]:
    stages: list[Stage] = []
    for source in spec.sources:
        stages += _generation(spec, source, references)
    for source in spec.sources:
        stages += _judgement(spec, source, references)
    return stages


def _generation(spec: FusionRunSpec, source: Source, references: References) -> list[Stage]:
    if source.type is SourceType.DATASET:
        return []
    stages: list[Stage] = []
    server: str | None = None
    pins: tuple[int, ...] = ()
    parameters: dict[str, Any] = {
        "source": source.name,
        "systemPrompt": source.system_prompt,
        "sampling": _data(source.sampling) if source.sampling else None,
        "samples": {d.name: d.samples_per_prompt for d in answered(spec, source.name)},
        "seed": spec.construction.seed,
    }
    if source.served:
        server, pins = f"serve/{source.name}", (references.model(source.name),)
        after = (*references.after(source.name), "prepare/prompts")
        stages.append(
            Stage(
                server,
                StageKind.SERVE,
                pins=pins,
                after=after,
                gpus=_server_gpus(source.served),
                pods=source.served.replicas,
            )
        )
        parameters |= _served_as(source.served)
    elif source.endpoint:
        parameters["endpoint"] = {"url": source.endpoint.url, "model": source.endpoint.model}
    stages.append(
        Stage(
            f"generate/{source.name}",
            StageKind.GENERATE,
            parameters,
            pins=pins,
            inputs=("prepare/prompts", *checked(spec)),
            server=server,
            shards=spec.generation.shards,
            parallelism=spec.generation.parallelism,
        )
    )
    return stages


def _judgement(spec: FusionRunSpec, source: Source, references: References) -> list[Stage]:
    responses = responses_stage(source)
    inputs = tuple(dict.fromkeys(("prepare/prompts", responses)))
    shards, parallelism = spec.generation.shards, spec.generation.parallelism
    stages = []
    for task, grader in GRADED_TASKS.items():
        names = judged(spec, source, task)
        if names:
            stages.append(
                Stage(
                    f"verify/{source.name}.{grader.lower()}",
                    StageKind.VERIFY,
                    {"grader": grader, "datasets": names, "source": source.name},
                    inputs=inputs,
                    shards=shards,
                    parallelism=parallelism,
                )
            )
    reward = spec.reward_model
    called = {"endpoint": {"url": reward.endpoint.url, "model": reward.endpoint.model}} if reward.endpoint else {}
    stages.append(
        Stage(
            f"score/{source.name}",
            StageKind.SCORE,
            {
                "source": source.name,
                "maxLength": reward.max_length,
                "calibration": _data(reward.calibration) if reward.calibration else None,
                **called,
            },
            pins=(references.model("reward"),) if reward.model else (),
            inputs=inputs,
            after=references.after("reward"),
            shards=shards,
            parallelism=1,
            gpus=gpu_count(reward.resources) if reward.model else 0,
        )
    )
    return stages


def _training_stages(spec: FusionRunSpec, references: References) -> list[Stage]:
    read: list[str] = ["prepare/prompts", *checked(spec)]
    for source in spec.sources:
        read.append(responses_stage(source))
        read += [
            f"verify/{source.name}.{grader.lower()}"
            for task, grader in GRADED_TASKS.items()
            if judged(spec, source, task)
        ]
        read.append(f"score/{source.name}")
    training = spec.training
    shared: dict[str, Any] = {
        "nodes": training.nodes,
        "processesPerNode": training.processes_per_node,
        "precision": training.precision,
        "zeroStage": training.zero_stage,
        "seed": training.seed,
    }
    if spec.target.family is Family.GEMMA_2:
        # Earlier releases trained it without soft-capping: their artifacts must not be reused.
        shared["attention"] = "SoftCapped"
    gpus = gpu_count(training.resources) * training.nodes
    construction = {
        "construction": _data(spec.construction),
        "tasks": {d.name: d.task for d in spec.datasets},
        **_kept(spec),
        "systemPrompts": {s.name: s.system_prompt for s in spec.sources if s.system_prompt},
    }
    dpo = _data(training.dpo)
    return [
        Stage(
            "construct",
            StageKind.CONSTRUCT,
            construction,
            inputs=tuple(dict.fromkeys(read)),
        ),
        Stage(
            "sft",
            StageKind.SFT,
            {"sft": _data(training.sft), **shared},
            pins=(references.model("target"),),
            inputs=("construct",),
            after=references.after("target"),
            gpus=gpus,
            pods=training.nodes,
        ),
        Stage(
            "dpo",
            StageKind.DPO,
            {"dpo": dpo, **shared},
            inputs=("construct", "sft"),
            gpus=gpus,
            pods=training.nodes,
        ),
        Stage(
            "promote",
            StageKind.PROMOTE,
            {"dpo": dpo},
            inputs=("construct", "sft", "dpo"),
            gpus=gpu_count(training.resources),
        ),
    ]


def _evaluations(spec: FusionRunSpec, references: References) -> list[Stage]:
    benchmarks: list[Benchmark] = spec.evaluation.benchmarks
    server = spec.evaluation.server
    if not benchmarks or server is None:
        return []
    coding = [b.name for b in benchmarks if b.grader is Grader.CODING]
    measured_by: dict[str, tuple[str, ...]] = {"base": (), "sft": ("sft",), "final": ("promote",)}
    stages: list[Stage] = []
    for model in EVALUATED:
        made_by = measured_by[model]
        pins = (references.model("target"),) if model == "base" else ()
        # The base model could be served before any source: it waits for the prompts, so that they take the room first.
        after = (*references.after("target"), "prepare/prompts") if model == "base" else ()
        serve, generate, verify = f"serve/eval-{model}", f"generate/eval-{model}", f"verify/eval-{model}.coding"
        asked = {
            "sampling": _data(spec.evaluation.sampling) if spec.evaluation.sampling else None,
            **_served_as(server),
        }
        stages += [
            Stage(serve, StageKind.SERVE, pins=pins, after=(*after, *made_by, "prepare/benchmarks"),
                  gpus=_server_gpus(server), pods=server.replicas),
            Stage(generate, StageKind.GENERATE, asked, pins=pins, inputs=("prepare/benchmarks", *made_by),
                  server=serve, shards=1),
        ]  # fmt: skip
        inputs: tuple[str, ...] = ("prepare/benchmarks", generate)
        if coding:
            parameters = {"grader": Grader.CODING, "datasets": coding, "source": f"eval-{model}"}
            stages.append(Stage(verify, StageKind.VERIFY, parameters, inputs=inputs, shards=1))
            inputs = (*inputs, verify)
        graders = {b.name: b.grader for b in benchmarks}
        stages.append(Stage(f"evaluate/{model}", StageKind.EVALUATE, {"benchmarks": graders}, inputs=inputs))
    return stages


def _publications(spec: FusionRunSpec) -> list[Stage]:
    if spec.publish is None:
        return []
    scores = tuple(f"evaluate/{m}" for m in EVALUATED) if spec.evaluation.benchmarks else ()
    parameters = {"uri": spec.publish.uri}
    return [Stage("publish", StageKind.PUBLISH, parameters, inputs=("promote", "construct"), after=scores)]
