"""Stages that measure the base, SFT and final model on the benchmarks: ``serve`` to ``evaluate``."""

from fusionrun.api import artifacts
from fusionrun.api.evaluation import Grader
from fusionrun.api.evaluation_tasks import BenchmarkParameters, EvaluateParameters
from fusionrun.api.models import ServerSettings
from fusionrun.api.parameters import GenerateParameters, VerifyParameters
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.stage import EvaluatedModel, StageKind
from fusionrun.plan.families.judging import verify_parameters, verify_stage
from fusionrun.plan.families.prompts import BENCHMARKS, PROMPTS
from fusionrun.plan.families.responses import (
    ServedModel,
    max_concurrency,
    sampling_task,
    serve_stage,
    server_digest,
    server_key_env,
)
from fusionrun.plan.families.training import PROMOTE, SFT
from fusionrun.plan.pinned import PinnedPlan
from fusionrun.plan.references import TARGET, References
from fusionrun.plan.stages import Stage, digest_data, stage_name, subject_name


def evaluation_stages(spec: FusionRunSpec, references: References) -> list[Stage]:
    """Plan the stages of every evaluated model, if there are benchmarks."""
    server = spec.evaluation.server
    if not spec.evaluation.benchmarks or server is None:
        return []
    stages: list[Stage] = []
    for model in EvaluatedModel:
        stages += [_serve(server, model, references), _generate(spec, server, model, references)]
        if coding := _coding_benchmarks(spec):
            inputs = (BENCHMARKS, _responses_stage(model))
            stages.append(verify_stage(model, Grader.CODING, coding, inputs))
        stages.append(_evaluate(spec, model))
    return stages


def _trained_by(model: EvaluatedModel) -> tuple[str, ...]:
    """Return the stage whose artifact is the model; none for the base model."""
    match model:
        case EvaluatedModel.BASE:
            return ()
        case EvaluatedModel.SFT:
            return (SFT,)
        case EvaluatedModel.FINAL:
            return (PROMOTE,)


def _pins(model: EvaluatedModel, references: References) -> tuple[int, ...]:
    return (references.model(TARGET),) if model is EvaluatedModel.BASE else ()


def _serve(server: ServerSettings, model: EvaluatedModel, references: References) -> Stage:
    # The base model could be served before any source. It waits for the prompts, so that the sources get GPUs first.
    after = (*references.after(TARGET), PROMPTS) if model is EvaluatedModel.BASE else _trained_by(model)
    return serve_stage(model, server, _pins(model, references), (*after, BENCHMARKS))


def served_model(pinned: PinnedPlan, model: EvaluatedModel) -> ServedModel:
    """Return an evaluated model with the settings of its server."""
    path = next((pinned.artifact(stage, artifacts.MODEL) for stage in _trained_by(model)), None) or pinned.target()
    return ServedModel(subject_name(model), path, pinned.spec.evaluation.server or ServerSettings())


def _generate(spec: FusionRunSpec, server: ServerSettings, model: EvaluatedModel, references: References) -> Stage:
    return Stage(
        StageKind.GENERATE,
        model,
        parameters={"sampling": digest_data(spec.evaluation.sampling), **server_digest(server)},
        pins=_pins(model, references),
        inputs=(BENCHMARKS, *_trained_by(model)),
        server=stage_name(StageKind.SERVE, model),
        shards=1,
    )


def generate_task(pinned: PinnedPlan, stage: Stage, model: EvaluatedModel, server_url: str) -> GenerateParameters:
    """Return the task of ``generate``: request one response per prompt of the benchmarks."""
    spec, name = pinned.spec, subject_name(model)
    return GenerateParameters(
        source=name,
        base_url=server_url,
        model=name,
        api_key_env=server_key_env(pinned),
        prompts_dir=pinned.artifact(BENCHMARKS, artifacts.PROMPTS),
        shards=stage.shards or 1,
        samples_per_prompt={b.name: 1 for b in spec.evaluation.benchmarks},
        sampling=sampling_task(spec.evaluation.sampling),
        concurrency=spec.generation.concurrency,
        max_concurrency=max_concurrency(spec),
        stall_seconds=spec.generation.stall_seconds,
        seed=spec.construction.seed,
    )


def _responses_stage(model: EvaluatedModel) -> str:
    return stage_name(StageKind.GENERATE, model)


def _verify_stage(model: EvaluatedModel) -> str:
    return stage_name(StageKind.VERIFY, model, Grader.CODING)


def _coding_benchmarks(spec: FusionRunSpec) -> list[str]:
    return [b.name for b in spec.evaluation.benchmarks if b.grader is Grader.CODING]


def verify_task(pinned: PinnedPlan, stage: Stage, model: EvaluatedModel) -> VerifyParameters:
    """Return the task of ``verify``: run the responses to the coding benchmarks against their tests."""
    responses_dir = pinned.artifact(_responses_stage(model), artifacts.RESPONSES)
    return verify_parameters(pinned, stage, _coding_benchmarks(pinned.spec), BENCHMARKS, responses_dir)


def evaluate_stage(model: EvaluatedModel) -> str:
    """Return the stage that computes the scores of a model."""
    return stage_name(StageKind.EVALUATE, model)


def _evaluate(spec: FusionRunSpec, model: EvaluatedModel) -> Stage:
    verdicts = (_verify_stage(model),) if _coding_benchmarks(spec) else ()
    return Stage(
        StageKind.EVALUATE,
        model,
        parameters={"benchmarks": {b.name: b.grader for b in spec.evaluation.benchmarks}},
        inputs=(BENCHMARKS, _responses_stage(model), *verdicts),
    )


def evaluate_task(pinned: PinnedPlan, stage: Stage, model: EvaluatedModel) -> EvaluateParameters:
    """Return the task of ``evaluate``: grade the responses of a model."""
    spec, verdicts = pinned.spec, _verify_stage(model)
    return EvaluateParameters(
        model=model,
        benchmarks=[BenchmarkParameters(name=b.name, grader=b.grader) for b in spec.evaluation.benchmarks],
        prompts_dir=pinned.artifact(BENCHMARKS, artifacts.PROMPTS),
        responses_dir=pinned.artifact(_responses_stage(model), artifacts.RESPONSES),
        verdicts_dir=pinned.artifact(verdicts, artifacts.VERDICTS) if verdicts in stage.inputs else None,
        shards=1,
    )
