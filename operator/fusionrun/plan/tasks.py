"""What each stage's pod is asked: from the resolved spec, the pins and the digests to a StageTask."""

import json
from collections.abc import Callable
from typing import Literal, cast

from fusionrun.api.artifacts import ROOT, artifact_dir, claim_path, manifest_paths, model_dir
from fusionrun.api.data import Grader
from fusionrun.api.models import Sampling
from fusionrun.api.parameters import (
    BenchmarkParameters,
    ConstructParameters,
    EvaluateParameters,
    FetchParameters,
    GenerateParameters,
    Parameters,
    PublishParameters,
    ResolveParameters,
    RewardEndpointParameters,
    SamplingParameters,
    ScoreParameters,
    SourceInputs,
    VerifyParameters,
)
from fusionrun.api.spec import MUTABLE_FIELDS, FusionRunSpec
from fusionrun.api.stage import StageKind
from fusionrun.api.task import StageTask
from fusionrun.errors import PlanError
from fusionrun.plan import datasets, training
from fusionrun.plan.answers import SOLUTIONS, answered, checked
from fusionrun.plan.build import gpu_count
from fusionrun.plan.layout import Layout
from fusionrun.plan.recipe import CONCURRENCY_GROWTH
from fusionrun.plan.stages import Stage

EVALUATION_SOURCE = "eval-"
API_KEY_ENV = "FUSIONRUN_API_KEY"


def build_task(layout: Layout, stage: Stage, server_url: str = "") -> StageTask:
    """Build the task of a stage.

    Parameters
    ----------
    layout
        The pinned plan; for ``resolve`` the pins may be empty.
    stage
        Any stage but a ``serve`` one, which has no program of ours.
    server_url
        For ``generate``: base URL of the server, with ``/v1``.

    Raises
    ------
    PlanError
        If the stage is a ``serve`` stage.
    """
    if stage.kind is StageKind.SERVE:
        raise PlanError(f"{stage.name}: a serve stage has no task")
    if stage.kind is StageKind.RESOLVE:
        output = f"{ROOT}/runs/{layout.namespace}/{layout.run}-{layout.uid[:8]}"
        digest = layout.uid.replace("-", "")[:20]
    else:
        digest = layout.digests[stage.name]
        output = artifact_dir(stage.kind, digest)
    return StageTask(
        run=layout.run,
        namespace=layout.namespace,
        stage=stage.name,
        digest=digest,
        output_dir=output,
        shards=stage.shards,
        gpus=_gpus_per_pod(layout.spec, stage.kind),
        parameters=_parameters(layout, stage, server_url),
    )


def _parameters(layout: Layout, stage: Stage, server_url: str) -> Parameters:
    if stage.kind is StageKind.GENERATE:
        return _generate(layout, stage, server_url)
    builders: dict[StageKind, Callable[[Layout, Stage], Parameters]] = {
        StageKind.RESOLVE: _resolve,
        StageKind.FETCH: _fetch,
        StageKind.PREPARE: datasets.prepare,
        StageKind.VERIFY: _verify,
        StageKind.SCORE: _score,
        StageKind.CONSTRUCT: _construct,
        StageKind.SFT: lambda layout, _: training.sft(layout),
        StageKind.DPO: lambda layout, _: training.dpo(layout),
        StageKind.PROMOTE: lambda layout, _: training.promote(layout),
        StageKind.EVALUATE: _evaluate,
        StageKind.PUBLISH: _publish,
    }
    return builders[stage.kind](layout, stage)


def _gpus_per_pod(spec: FusionRunSpec, kind: StageKind) -> int:
    if kind in (StageKind.SFT, StageKind.DPO, StageKind.PROMOTE):
        return gpu_count(spec.training.resources)
    if kind is StageKind.SCORE and spec.reward_model.model:
        return gpu_count(spec.reward_model.resources)
    return 0


def _hub(spec: FusionRunSpec) -> str | None:
    return spec.hub.endpoint if spec.hub else None


def _resolve(layout: Layout, stage: Stage) -> ResolveParameters:  # noqa: ARG001 -- one signature for all builders
    return ResolveParameters(
        references=list(layout.plan.references),
        stages=layout.plan.planned(),
        hub_endpoint=_hub(layout.spec),
    )


def _fetch(layout: Layout, stage: Stage) -> FetchParameters:
    index = stage.pins[0]
    reference = layout.plan.references[index]
    return FetchParameters(
        uri=reference.uri,
        revision=reference.revision,
        destination=model_dir(layout.pins[index]),
        hub_endpoint=_hub(layout.spec),
    )


def _sampling(sampling: Sampling | None) -> SamplingParameters:
    if sampling is None:
        raise PlanError("sampling is not filled in")
    return SamplingParameters.model_validate(sampling.model_dump())


def _generate(layout: Layout, stage: Stage, server_url: str) -> GenerateParameters:
    spec = layout.spec
    name = stage.name.removeprefix("generate/")
    evaluated = name.startswith(EVALUATION_SOURCE)
    source = None if evaluated else next(s for s in spec.sources if s.name == name)
    samples = (
        {b.name: 1 for b in spec.evaluation.benchmarks}
        if source is None
        else {d.name: d.samples_per_prompt or 1 for d in answered(spec, name)}
    )
    endpoint = source.endpoint if source else None
    return GenerateParameters(
        source=name,
        base_url=endpoint.url if endpoint else server_url,
        model=endpoint.model if endpoint else name,
        external=endpoint is not None,
        prices=endpoint.prices if endpoint else None,
        quota=endpoint.quota if endpoint else None,
        api_key_env=API_KEY_ENV if endpoint and endpoint.api_key_secret_ref else None,
        prompts_dir=layout.artifact("prepare/benchmarks" if evaluated else "prepare/prompts", "prompts"),
        solutions_verdicts_dir=None if evaluated else _solutions_verdicts(layout),
        shards=stage.shards or 1,
        samples_per_prompt=samples,
        sampling=_sampling(source.sampling if source else spec.evaluation.sampling),
        system_prompt=source.system_prompt if source else None,
        concurrency=spec.generation.concurrency,
        max_concurrency=spec.generation.max_concurrency or CONCURRENCY_GROWTH * spec.generation.concurrency,
        stall_seconds=spec.generation.stall_seconds,
        seed=spec.construction.seed,
    )


def _solutions_verdicts(layout: Layout) -> str | None:
    return layout.artifact(SOLUTIONS, "verdicts") if checked(layout.spec) else None


def _source_of(stage: Stage) -> str:
    return stage.name.split("/", 1)[1].split(".", 1)[0]


def _prompts_and_responses(layout: Layout, source: str) -> tuple[str, str]:
    if source.startswith(EVALUATION_SOURCE):
        prompts = layout.artifact("prepare/benchmarks", "prompts")
        return prompts, layout.artifact(f"generate/{source}", "responses")
    responses = layout.responses(next(s for s in layout.spec.sources if s.name == source))
    return layout.artifact("prepare/prompts", "prompts"), responses


def _verify(layout: Layout, stage: Stage) -> VerifyParameters:
    if stage.name == SOLUTIONS:
        prompts, responses = (layout.artifact("prepare/prompts", folder) for folder in ("prompts", "solutions"))
    else:
        prompts, responses = _prompts_and_responses(layout, _source_of(stage))
    return VerifyParameters(
        grader=Grader(stage.parameters["grader"]),
        datasets=stage.parameters["datasets"],
        source=_source_of(stage),
        prompts_dir=prompts,
        responses_dir=responses,
        shards=stage.shards or 1,
    )


def _score(layout: Layout, stage: Stage) -> ScoreParameters:
    reward = layout.spec.reward_model
    source = _source_of(stage)
    prompts, responses = _prompts_and_responses(layout, source)
    return ScoreParameters(
        source=source,
        model_path=layout.model(reward.model, "rewardModel.model") if reward.model else None,
        trust_remote_code=bool(reward.model and reward.model.trust_remote_code),
        endpoint=RewardEndpointParameters(
            base_url=reward.endpoint.url,
            model=reward.endpoint.model,
            api_key_env=API_KEY_ENV if reward.endpoint.api_key_secret_ref else None,
            concurrency=reward.batch_size,
            stall_seconds=layout.spec.generation.stall_seconds,
        )
        if reward.endpoint
        else None,
        prompts_dir=prompts,
        responses_dir=responses,
        shards=stage.shards or 1,
        batch_size=reward.batch_size,
        max_length=reward.max_length,
        calibration=reward.calibration,
    )


def _construct(layout: Layout, stage: Stage) -> ConstructParameters:
    spec = layout.spec
    construction = spec.construction
    if construction.reward_margin is None or construction.sft_fraction is None:
        raise PlanError("construction is not filled in")
    return ConstructParameters(
        prompts_dir=layout.artifact("prepare/prompts", "prompts"),
        prepare_manifest=manifest_paths(layout.artifact("prepare/prompts"), None)[0],
        solutions_verdicts_dir=_solutions_verdicts(layout),
        tasks={d.name: d.task for d in spec.datasets},
        sources=[
            SourceInputs(
                source=s.name,
                responses_dir=layout.responses(s),
                verdicts_dirs=[
                    layout.artifact(n, "verdicts") for n in stage.inputs if n.startswith(f"verify/{s.name}.")
                ],
                scores_dir=layout.artifact(f"score/{s.name}", "scores"),
            )
            for s in spec.sources
        ],
        reward_margin=construction.reward_margin,
        sft_fraction=construction.sft_fraction,
        held_out_fraction=construction.held_out_fraction,
        max_kept={d.name: d.max_kept for d in spec.datasets if d.max_kept is not None},
        system_prompts={s.name: s.system_prompt for s in spec.sources if s.system_prompt},
        seed=construction.seed,
    )


def _evaluate(layout: Layout, stage: Stage) -> EvaluateParameters:
    model = cast("Literal['base', 'sft', 'final']", stage.name.removeprefix("evaluate/"))
    verify = f"verify/eval-{model}.coding"
    return EvaluateParameters(
        model=model,
        benchmarks=[BenchmarkParameters(name=b.name, grader=b.grader) for b in layout.spec.evaluation.benchmarks],
        prompts_dir=layout.artifact("prepare/benchmarks", "prompts"),
        responses_dir=layout.artifact(f"generate/eval-{model}", "responses"),
        verdicts_dir=layout.artifact(verify, "verdicts") if verify in stage.inputs else None,
        shards=1,
    )


def _publish(layout: Layout, stage: Stage) -> PublishParameters:  # noqa: ARG001
    publish = layout.spec.publish
    if publish is None:
        raise PlanError("publish is not asked for")
    # Fields that may change during a run made nothing of the model, and an older image may not know them.
    spec = layout.spec.model_dump(mode="json", exclude_none=True)
    recipe = {name: value for name, value in spec.items() if name not in MUTABLE_FIELDS}
    return PublishParameters(
        model_path=layout.artifact("promote", "model"),
        dataset_dir=layout.artifact("construct"),
        destination=claim_path(publish.uri) if publish.uri.startswith("pvc://") else publish.uri,
        hub_endpoint=_hub(layout.spec),
        run_spec=json.dumps(recipe, sort_keys=True),
        scores=layout.scores,
        pins={r.field: pin for r, pin in zip(layout.plan.references, layout.pins, strict=False)},
        source_models={
            s.name: layout.model(s.served.model, f"sources[{s.name}].served.model")
            for s in layout.spec.sources
            if s.served is not None
        },
    )
